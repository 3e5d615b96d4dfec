package pad

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// ErrProof: we cannot prove to the peer who we are.
var ErrProof = errors.New("pad: no proof of our identity")

// Proof asks for our AUTH payload.
type Proof struct {
	// Entry is the peer's name.
	Entry string
	// SignedOctets are ours, RFC 7296 section 2.15: they cover the entry's Local.ID.
	SignedOctets []byte
	// PRF is the IKE SA's.
	PRF transform.PRF
	// NullKey is our SK_pi or SK_pr, for NULL authentication only.
	NullKey []byte
	// PeerHashes are those of the peer's SIGNATURE_HASH_ALGORITHMS; nil when it sent none.
	PeerHashes []ikewire.HashAlgorithm
	// Requests are the peer's CERTREQ payloads. None means that any certificate will do.
	Requests []ikewire.CERTREQ
	// Methods are those of the peer's SUPPORTED_AUTH_METHODS (RFC 9593), if it sent it: wishes, not conditions.
	Methods []ikewire.AuthAnnouncement
}

// AUTH is what goes into our IKE_AUTH message.
type AUTH struct {
	Payload ikewire.AUTH
	Certs   []ikewire.CERT // the certificate first
}

// Prove makes our AUTH by the first credential of the entry that the peer can verify. It may wait for the
// signer. Error: ErrProof, with what to change.
func (d *Database) Prove(p Proof) (AUTH, error) {
	e := d.find(p.Entry)
	switch {
	case e == nil:
		return AUTH{}, fmt.Errorf("%w: there is no peer %q", ErrProof, p.Entry)
	case len(p.SignedOctets) == 0:
		return AUTH{}, fmt.Errorf("%w: peer %q: nothing to sign", ErrProof, p.Entry)
	case p.PRF.Check() != nil:
		return AUTH{}, fmt.Errorf("%w: peer %q: %w", ErrProof, p.Entry, p.PRF.Check())
	case len(e.Local.Credentials) == 0:
		return AUTH{}, fmt.Errorf("%w: peer %q: we have no credential; give one", ErrProof, p.Entry)
	}
	var wrong error
	for _, c := range p.order(e.Local.Credentials) {
		a, err := c.prove(p)
		if err == nil {
			return a, nil
		}
		wrong = errors.Join(wrong, err)
	}
	return AUTH{}, fmt.Errorf("%w: peer %q: %w", ErrProof, p.Entry, wrong)
}

// order puts credentials first whose chain leads to an authority that the peer asks for. A request is a hint
// (RFC 7296 section 3.7): the others stay.
func (p Proof) order(all []Credential) []Credential {
	var wanted, rest []Credential
	for _, c := range all {
		if slices.ContainsFunc(c.Chain, p.asksFor) {
			wanted = append(wanted, c)
		} else {
			rest = append(rest, c)
		}
	}
	return append(wanted, rest...)
}

func (c Credential) prove(p Proof) (AUTH, error) {
	switch {
	case !c.Secret.IsZero():
		data := ikekeys.SharedKeyAUTH(p.PRF, c.Secret.bytes, p.SignedOctets)
		return AUTH{Payload: ikewire.AUTH{Method: ikewire.AuthSharedKey, Data: data}}, nil
	case c.Null:
		if len(p.NullKey) == 0 {
			return AUTH{}, errors.New("NULL authentication needs SK_p")
		}
		data := ikekeys.SharedKeyAUTH(p.PRF, p.NullKey, p.SignedOctets)
		return AUTH{Payload: ikewire.AUTH{Method: ikewire.AuthNull, Data: data}}, nil
	}
	s, err := c.scheme(p)
	if err != nil {
		return AUTH{}, err
	}
	payload, err := s.sign(rand.Reader, c.Signer, p.SignedOctets)
	if err != nil {
		return AUTH{}, fmt.Errorf("%s: %w", s, err)
	}
	certs, err := c.certs(p)
	return AUTH{Payload: payload, Certs: certs}, err
}

// certs are the CERT payloads that go with a signature. A raw key goes to peers that ask for one (RFC 7670):
// others know it, or find it in DNS.
func (c Credential) certs(p Proof) ([]ikewire.CERT, error) {
	asked := func(e ikewire.CertEncoding) bool {
		return slices.ContainsFunc(p.Requests, func(r ikewire.CERTREQ) bool { return r.Encoding == e })
	}
	if len(c.Chain) == 0 {
		if !asked(ikewire.CertRawPublicKey) {
			return nil, nil
		}
		der, err := publicKeyInfo(c.Signer.Public())
		return []ikewire.CERT{{Encoding: ikewire.CertRawPublicKey, Data: der}}, err
	}
	var all []ikewire.CERT
	for i, x := range c.Chain {
		if i == 0 || !bytes.Equal(x.RawIssuer, x.RawSubject) {
			all = append(all, ikewire.CERT{Encoding: ikewire.CertX509Signature, Data: x.Raw})
		}
	}
	if len(c.Staple) > 0 && asked(ikewire.CertOCSPContent) {
		all = append(all, ikewire.CERT{Encoding: ikewire.CertOCSPContent, Data: c.Staple})
	}
	return all, nil
}
