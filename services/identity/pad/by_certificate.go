package pad

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"sallyport.dev/sallyport/services/identity/pad/revocation"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// byCertificate: signature, chain, name, revocation, in that order.
func (d *Database) byCertificate(ctx context.Context, e *entry, c Claim, s signature, shown certs) (proof, *Refusal) {
	if len(shown.certs) == 0 {
		reason := "the peer sent no certificate"
		if len(shown.ignored) > 0 {
			reason += " but " + strings.Join(shown.ignored, ", ")
		}
		return proof{}, refuse(NoCertificate, "let the peer send its certificate (send_cert = always, leftsendcert=always)", "%s", reason)
	}
	leaf := shown.certs[0]
	if r := s.verify(leaf.PublicKey, c.SignedOctets); r != nil {
		r.Reason = fmt.Sprintf("certificate %q: %s", leaf.Subject, r.Reason)
		return proof{}, r
	}
	chain, refusal := e.chain(leaf, shown.certs[1:], c)
	if refusal != nil {
		return proof{}, refusal
	}
	if err := matchName(leaf, c.Remote); err != nil {
		return proof{}, refuse(WrongName, "give the peer that identity, or a certificate with the other one",
			"the peer says that it is %s: %v", FormatIdentity(c.Remote), err)
	}
	notes, err := d.revocation.Check(ctx, revocation.Query{
		Chain: chain, Now: c.Now, Policy: e.Accept.Certificate.Revocation, CRLs: e.crls,
		Evidence: revocation.Evidence{CRLs: shown.crls, OCSP: shown.ocsp},
	})
	switch {
	case errors.Is(err, revocation.ErrRevoked):
		return proof{}, refuse(RevokedCertificate, "give the peer a new certificate", "%v", err)
	case err != nil:
		return proof{}, refuse(RevocationUnknown, "see that the controller can fetch CRL or OCSP, give it a current CRL, or set the policy to if-available", "%v", err)
	}
	words := fmt.Sprintf("certificate %q, serial number %x, of %q, %s", leaf.Subject, leaf.SerialNumber, chain[len(chain)-1].Subject, s)
	return proof{words: words, notes: notes, expires: earliestEnd(chain).UTC()}, nil
}

// matchName reports how the identity is not in the certificate, RFC 4945 section 3.1.
func matchName(leaf *x509.Certificate, id ikewire.Identification) error {
	p, err := exactly(id)
	if err != nil {
		return err
	}
	names := certNames(leaf)
	for _, n := range names {
		if n.equal(p) {
			return nil
		}
	}
	if id.Type == ikewire.IDKeyID {
		return errors.New("a certificate cannot prove a key ID")
	}
	var all []string
	for _, n := range names {
		all = append(all, n.String())
	}
	return fmt.Errorf("the certificate is for %s", strings.Join(all, ", "))
}

// certNames are the identities that a certificate proves. Names that are not well-formed prove none.
func certNames(leaf *x509.Certificate) []Pattern {
	var ids []ikewire.Identification
	for _, ip := range leaf.IPAddresses {
		kind := ikewire.IDIPv6Addr
		if len(ip) == 4 {
			kind = ikewire.IDIPv4Addr
		}
		ids = append(ids, ikewire.Identification{Type: kind, Data: ip})
	}
	for _, n := range leaf.DNSNames {
		ids = append(ids, ikewire.Identification{Type: ikewire.IDFQDN, Data: []byte(n)})
	}
	for _, n := range leaf.EmailAddresses {
		ids = append(ids, ikewire.Identification{Type: ikewire.IDRFC822Addr, Data: []byte(n)})
	}
	ids = append(ids, ikewire.Identification{Type: ikewire.IDDERASN1DN, Data: leaf.RawSubject})
	var names []Pattern
	for _, id := range ids {
		if p, err := exactly(id); err == nil {
			names = append(names, p)
		}
	}
	return names
}
