package pad

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sallyport.dev/sallyport/services/identity/pad/ipseckey"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// byDNS is RFC 4025: the identity names the record, the record has the key.
func (d *Database) byDNS(ctx context.Context, c Claim, s signature) (proof, *Refusal) {
	owner, err := ownerOf(c.Remote)
	if err != nil {
		return proof{}, refuse(NoKeyInDNS, "give the peer a name or an address as identity", "%v", err)
	}
	answer, err := d.resolver.Lookup(ctx, owner)
	if err != nil {
		return proof{}, dnsRefusal(err)
	}
	var wrong []string
	code := NoKeyInDNS
	for _, r := range answer.Records {
		if !isForPeer(r, c.Remote, owner, c.Source) {
			wrong = append(wrong, "one is for the gateway "+gateway(r))
			code = OtherGateway
			continue
		}
		key, err := r.Key()
		if err != nil {
			wrong = append(wrong, err.Error())
			continue
		}
		refusal := s.verify(key, c.SignedOctets)
		if refusal == nil {
			return proof{words: fmt.Sprintf("IPSECKEY record of %s, key of %s %s", owner, KeyName(key), Fingerprint(key))}, nil
		}
		if wrong = append(wrong, refusal.Reason); code != OtherGateway {
			code = refusal.Code
		}
	}
	if answer.Broken > 0 {
		wrong = append(wrong, fmt.Sprintf("%d cannot be read", answer.Broken))
	}
	return proof{}, refuse(code, "publish the peer's public key there", "none of the %d IPSECKEY records of %s counts: %s",
		len(answer.Records)+answer.Broken, owner, strings.Join(wrong, "; "))
}

func dnsRefusal(err error) *Refusal {
	switch {
	case errors.Is(err, ipseckey.ErrInsecure):
		return refuse(InsecureDNS, "", "%v", err)
	case errors.Is(err, ipseckey.ErrNoRecord):
		return refuse(NoKeyInDNS, "publish the peer's public key in an IPSECKEY record of that name", "%v", err)
	}
	return refuse(DNSFailed, "see that the resolver runs and that the zone's signatures are in time", "%v", err)
}

func ownerOf(id ikewire.Identification) (string, error) {
	if a, ok := id.Addr(); ok {
		return ipseckey.OwnerOfAddr(a)
	}
	if id.Type != ikewire.IDFQDN {
		return "", fmt.Errorf("the identity %s has no IPSECKEY record", FormatIdentity(id))
	}
	return ipseckey.OwnerOfName(string(id.Data))
}

// isForPeer: see package pad, "Raw keys".
func isForPeer(r ipseckey.Record, id ikewire.Identification, owner string, source netip.Addr) bool {
	switch r.Type {
	case ipseckey.NoGateway:
		return true
	case ipseckey.NameGateway:
		return r.Name == owner
	}
	own, isAddr := id.Addr()
	return r.Addr == source.Unmap() || isAddr && r.Addr == own
}

func gateway(r ipseckey.Record) string {
	if r.Type == ipseckey.NameGateway {
		return r.Name
	}
	return r.Addr.String()
}
