package pad

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// bySignature finds the key that the signature is of among those that the entry accepts: pinned ones, the
// certificate's, those in DNS. It is the only user of a public key, and each is verified to be the peer's by
// its own way before the identity counts as proven.
func (d *Database) bySignature(ctx context.Context, e *entry, c Claim) (proof, *Refusal) {
	if !e.Accept.signatures() {
		return proof{}, e.notAccepted("a signature")
	}
	s, refusal := readSignature(c)
	if refusal != nil {
		return proof{}, refusal
	}
	shown, refusal := readCerts(c.Certs)
	if refusal != nil {
		return proof{}, refusal
	}
	for _, way := range []struct {
		accepted bool
		prove    func() (proof, *Refusal)
	}{
		{len(e.Accept.Keys) > 0, func() (proof, *Refusal) { return byPinned(e, c, s, shown) }},
		{e.Accept.Certificate != nil, func() (proof, *Refusal) { return d.byCertificate(ctx, e, c, s, shown) }},
		{e.Accept.IPSECKEY, func() (proof, *Refusal) { return d.byDNS(ctx, c, s) }},
	} {
		if !way.accepted {
			continue
		}
		p, r := way.prove()
		if r == nil {
			p.notes = append(shown.ignored, p.notes...)
			return p, nil
		}
		refusal = either(refusal, r, len(shown.certs) > 0)
	}
	return proof{}, refusal
}

// either picks the refusal that tells the operator more: with a certificate what is wrong with it, else the last.
func either(first, second *Refusal, certificate bool) *Refusal {
	if first == nil || first.Code == KeyNotPinned || !certificate {
		return second
	}
	return first
}

// byPinned tries the entry's keys.
func byPinned(e *entry, c Claim, s signature, shown certs) (proof, *Refusal) {
	for _, k := range e.Accept.Keys {
		if s.verify(k, c.SignedOctets) == nil {
			return proof{words: "pinned key of " + KeyName(k) + " " + Fingerprint(k)}, nil
		}
	}
	sent := "it sent no key"
	if k := shown.key(); k != nil {
		sent = "the key that it sent is " + KeyName(k) + " " + Fingerprint(k)
	}
	return proof{}, refuse(KeyNotPinned, "if that is the peer's key, pin it", "the signature by %s is of none of the %d pinned keys; %s",
		s, len(e.Accept.Keys), sent)
}

// Fingerprint is the SHA-256 of the key's SubjectPublicKeyInfo, in hexadecimal; "" for what is no key.
func Fingerprint(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(der))
}

// certs are the CERT payloads, parsed: the first certificate is the peer's own (RFC 7296 section 3.6).
type certs struct {
	certs   []*x509.Certificate
	raw     []crypto.PublicKey // encoding 15
	crls    [][]byte
	ocsp    [][]byte
	ignored []string
}

// key returns the one that the peer says is its own, for messages.
func (s certs) key() crypto.PublicKey {
	switch {
	case len(s.certs) > 0:
		return s.certs[0].PublicKey
	case len(s.raw) > 0:
		return s.raw[0]
	}
	return nil
}

// Bounds of what a peer may send.
const (
	maxCerts     = 16 // payloads
	maxCertBytes = 16 << 10
)

func readCerts(all []ikewire.CERT) (certs, *Refusal) {
	var s certs
	if len(all) > maxCerts {
		return s, refuse(TooManyCertificates, "send the certificate and the CAs between only", "the peer sent %d CERT payloads, at most %d are read", len(all), maxCerts)
	}
	for _, p := range all {
		if r := s.add(p); r != nil {
			return s, r
		}
	}
	return s, nil
}

func (s *certs) add(p ikewire.CERT) *Refusal {
	switch p.Encoding {
	case ikewire.CertX509Signature:
		if len(p.Data) > maxCertBytes {
			return refuse(TooManyCertificates, "", "the peer sent a certificate of %d bytes, at most %d are read", len(p.Data), maxCertBytes)
		}
		c, err := x509.ParseCertificate(p.Data)
		switch {
		case err == nil:
			s.certs = append(s.certs, c)
		case len(s.certs) == 0: // the next one must not stand for it
			return refuse(BadCertificate, "make the peer a new certificate", "the peer's certificate cannot be read: %v", err)
		default:
			s.ignored = append(s.ignored, fmt.Sprintf("a CA certificate that the peer sent cannot be read: %v", err))
		}
	case ikewire.CertRawPublicKey:
		if k, err := x509.ParsePKIXPublicKey(p.Data); err == nil {
			s.raw = append(s.raw, k)
		}
	case ikewire.CertCRL:
		s.crls = append(s.crls, p.Data)
	case ikewire.CertOCSPContent:
		s.ocsp = append(s.ocsp, p.Data)
	default:
		note := fmt.Sprintf("a CERT payload that is not used: %s", p.Encoding)
		if !slices.Contains(s.ignored, note) {
			s.ignored = append(s.ignored, note)
		}
	}
	return nil
}
