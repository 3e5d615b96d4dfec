package spec

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/ipam"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/protocol/ikeproposal"
)

// What a peer says when its operator does not; stored.
const (
	DefaultDPD        = 30 * time.Second
	DefaultIKERekey   = 4 * time.Hour
	DefaultChildRekey = time.Hour

	// AnyPeer is any address, and any identity.
	AnyPeer = "any"
)

// DefaultIKEProposals are offered when an operator names none, best first.
func DefaultIKEProposals() []string {
	return []string{
		"aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp384-ecp256-modp3072",
		"aes256-aes128-sha384-sha256-prfsha384-prfsha256-x25519-ecp384-ecp256-modp3072-modp2048",
	}
}

// DefaultESPProposals are those of children. The ones without a key exchange are for peers that want none in rekeying.
func DefaultESPProposals() []string {
	return []string{
		"aes256gcm16-aes128gcm16-x25519-ecp384-ecp256-modp3072", "aes256gcm16-aes128gcm16",
		"aes256-aes128-sha256-x25519-ecp384-ecp256-modp3072-modp2048", "aes256-aes128-sha256",
	}
}

// Callable is the one address at which a peer can be called; invalid when there is none.
func Callable(s *operatorv1.PeerSpec) netip.Addr {
	if all := s.GetRemoteAddresses(); len(all) == 1 {
		if a, err := netip.ParseAddr(all[0]); err == nil {
			return a
		}
	}
	return netip.Addr{}
}

// Identities reads identities as the PAD does.
type Identities interface {
	// CheckIdentity says what is wrong with an identity; of a peer it may be a pattern of them.
	CheckIdentity(text string, pattern bool) error
}

// CheckPeer checks a complete peer by itself and against the pools.
func CheckPeer(p *operatorv1.Peer, pools ipam.Pools, identities Identities) Report {
	var r Report
	s := p.GetSpec()
	if len(s.GetHosts()) == 0 {
		r.problem("spec.hosts", "is empty: name the host that serves the peer")
	}
	for i, h := range s.GetHosts() {
		if !enrol.ValidName(h) {
			r.problem(fmt.Sprintf("spec.hosts[%d]", i), "%s is not a name of a host", quote(h))
		}
	}
	checkRemotes(s, pools, &r)
	checkOuter("spec.local_address", s.GetLocalAddress(), false, &r)
	checkAuthentication("spec.local", s.GetLocal(), false, identities, &r)
	checkAuthentication("spec.remote", s.GetRemote(), true, identities, &r)
	if s.GetRemote().GetId() == "" && s.GetRemote().GetMethod() != "null" && !Callable(s).IsValid() {
		r.problem("spec.remote.id", "is missing: without just one remote address nobody can tell who the peer is")
	}
	for i, text := range s.GetProposals() {
		if _, err := ikeproposal.Parse(ikeproposal.IKE, text, s.GetInsecure()); err != nil {
			r.problem(fmt.Sprintf("spec.proposals[%d]", i), "%s: %s", quote(text), after(err))
		}
	}
	checkPeerLifetime("spec.lifetime", s.GetLifetime(), &r)
	if !Callable(s).IsValid() && (s.GetStart() != "never" || s.GetLost() == "restart") {
		r.problem("spec.start", "nobody can call a peer that has not just one address: write start: never, and lost: clear")
	}
	checkChildren(s, pools, &r)
	return r
}

// after is an error's text without the name of the package that it is from.
func after(err error) string {
	_, text, _ := strings.Cut(err.Error(), ": ")
	return text
}

func checkRemotes(s *operatorv1.PeerSpec, pools ipam.Pools, r *Report) {
	for i, text := range s.GetRemoteAddresses() {
		field := fmt.Sprintf("spec.remote_addresses[%d]", i)
		first, _, err := ParseRemote(text)
		switch {
		case err != nil:
			r.problem(field, "%s is not an address, a prefix, a range of addresses, or any; names are not resolved", quote(text))
		case first.IsValid() && pools.Contains(first):
			r.problem(field, "%s lies in the fleet's own address pool: give an address of the underlay", quote(text))
		}
	}
}

// ParseRemote reads where a peer may be: both ends of a range, invalid for any address.
func ParseRemote(text string) (first, last netip.Addr, err error) {
	if text == AnyPeer {
		return netip.Addr{}, netip.Addr{}, nil
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return a, a, nil
	}
	if p, err := netip.ParsePrefix(text); err == nil && p == p.Masked() {
		b := p.Addr().AsSlice()
		for bit := p.Bits(); bit < 8*len(b); bit++ {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
		last, _ := netip.AddrFromSlice(b)
		return p.Addr(), last, nil
	}
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return first, last, fmt.Errorf("%q is no address", text)
	}
	if first, err = netip.ParseAddr(from); err != nil {
		return first, last, err
	}
	if last, err = netip.ParseAddr(to); err != nil {
		return first, last, err
	}
	if first.BitLen() != last.BitLen() || last.Less(first) {
		return first, last, fmt.Errorf("%q is no range", text)
	}
	return first, last, nil
}

func checkAuthentication(field string, a *operatorv1.PeerAuthentication, remote bool, identities Identities, r *Report) {
	if id := a.GetId(); id != "" {
		if err := identities.CheckIdentity(id, remote); err != nil {
			r.problem(field+".id", "%s", after(err))
		}
	}
	needs := a.GetMethod() != "null" && a.GetMethod() != "ipseckey" || a.GetMethod() == "ipseckey" && !remote
	switch {
	case needs && a.GetCredential() == "":
		r.problem(field+".credential", "is missing: name the Credential for %s", a.GetMethod())
	case a.GetCredential() != "" && !enrol.ValidName(a.GetCredential()):
		r.problem(field+".credential", "%s is not a name of a Credential", quote(a.GetCredential()))
	}
}

func checkPeerLifetime(field string, l *operatorv1.PeerLifetime, r *Report) {
	rekey, hard := l.GetRekeyTime().AsDuration(), l.GetHardTime().AsDuration()
	if hard <= rekey {
		r.problem(field+".hard_time", "%v is not more than rekey_time, %v", hard, rekey)
	}
	if l.GetHardBytes() > 0 && l.GetRekeyBytes() >= l.GetHardBytes() {
		r.problem(field+".hard_bytes", "%d is not more than rekey_bytes, %d", l.GetHardBytes(), l.GetRekeyBytes())
	}
	if l.GetHardPackets() > 0 && l.GetRekeyPackets() >= l.GetHardPackets() {
		r.problem(field+".hard_packets", "%d is not more than rekey_packets, %d", l.GetHardPackets(), l.GetRekeyPackets())
	}
}

func checkChildren(s *operatorv1.PeerSpec, pools ipam.Pools, r *Report) {
	names := make(map[string]bool)
	if len(s.GetChildren()) == 0 {
		r.problem("spec.children", "is empty: say what traffic is protected")
	}
	for i, c := range s.GetChildren() {
		field := fmt.Sprintf("spec.children[%d].", i)
		switch {
		case !enrol.ValidName(c.GetName()):
			r.problem(field+"name", "%s is not a name: lower-case letters, digits, '-' and '.'", quote(c.GetName()))
		case names[c.GetName()]:
			r.problem(field+"name", "%s is there twice", quote(c.GetName()))
		}
		names[c.GetName()] = true
		checkSelectors(field+"local", c.GetLocal(), r)
		for _, sel := range checkSelectors(field+"remote", c.GetRemote(), r) {
			if pools.Contains(sel.First) || pools.Contains(sel.Last) {
				r.warn("%sremote reaches into the fleet's address pool: with an order it comes before what the fleet's policies protect", field)
				break
			}
		}
		for j, text := range c.GetProposals() {
			if _, err := ikeproposal.Parse(ikeproposal.ESP, text, s.GetInsecure()); err != nil {
				r.problem(fmt.Sprintf("%sproposals[%d]", field, j), "%s: %s", quote(text), after(err))
			}
		}
		if w := c.GetReplayWindow(); w < 32 {
			r.problem(field+"replay_window", "%d is too small: at least 32 (RFC 4303 section 3.4.3)", w)
		}
		checkPeerLifetime(field+"lifetime", c.GetLifetime(), r)
	}
}
