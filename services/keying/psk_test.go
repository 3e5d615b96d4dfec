package keying

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikeid"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
	"sallyport.dev/sallyport/services/store"
)

// PSK is the Authenticator of pre-shared keys alone (RFC 7296 section 2.15).
type PSK struct {
	Store *store.Store
	View  *store.View
}

// Verify implements Authenticator. The first candidate whose identities fit decides: a peer is not tried as another.
func (p PSK) Verify(_ context.Context, c Claim) Verdict {
	id, own := c.Question.IDi, c.Question.IDr
	if !c.Question.Initiator {
		id, own = own, id
	}
	for _, candidate := range c.Candidates {
		if !fits(candidate.Spec, id, own, c.Question) {
			continue
		}
		if err := p.check(candidate, c.Question); err != nil {
			return Verdict{Reason: fmt.Sprintf("peer %s: %v", candidate.Name, err)}
		}
		return Verdict{Peer: candidate.Name}
	}
	return Verdict{Reason: fmt.Sprintf("no peer at %v has the identity %v towards %v", c.Question.Path.Remote.Addr(), id, own)}
}

// fits compares the identities of both ends with a spec. own has Type 0 where the peer did not ask for one.
func fits(s *operatorv1.PeerSpec, id, own ikewire.Identification, q ike.VerifyPeer) bool {
	if text := s.GetRemote().GetId(); text != anyone {
		want, err := parseID(text)
		if text == "" {
			want, err = ikeid.OfAddr(q.Path.Remote.Addr())
		}
		if err != nil || !ikeid.Equal(want, id) {
			return false
		}
	}
	if own.Type == 0 {
		return true
	}
	want, err := ikeid.OfAddr(q.Path.Local.Addr())
	if text := s.GetLocal().GetId(); text != "" {
		want, err = parseID(text)
	}
	return err == nil && ikeid.Equal(want, own)
}

var (
	errMethod = errors.New("its proof is of another method than spec.remote wants")
	errProof  = errors.New("its proof is wrong: the secrets differ")
)

func (p PSK) check(c Candidate, q ike.VerifyPeer) error {
	if c.Spec.GetRemote().GetMethod() != "psk" || q.AUTH.Method != ikewire.AuthSharedKey {
		return errMethod
	}
	want, err := p.prove(c.Spec.GetRemote().GetCredential(), q.PRF, q.SignedOctets)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(want, q.AUTH.Data) != 1 {
		return errProof
	}
	return nil
}

// Sign implements Authenticator.
func (p PSK) Sign(_ context.Context, proof Proof) ike.AUTHSigned {
	q, spec := proof.Question, proof.Peer.Spec
	signed := ike.AUTHSigned{ID: q.ID}
	if spec.GetLocal().GetMethod() != "psk" {
		signed.Failed = fmt.Sprintf("spec.local.method %s is not to be had", spec.GetLocal().GetMethod())
		return signed
	}
	data, err := p.prove(spec.GetLocal().GetCredential(), q.PRF, q.SignedOctets)
	if err != nil {
		signed.Failed = err.Error()
		return signed
	}
	signed.AUTH = ikewire.AUTH{Method: ikewire.AuthSharedKey, Data: data}
	return signed
}

// parseID reads an address or a name.
func parseID(text string) (ikewire.Identification, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return ikeid.OfAddr(a)
	}
	return ikewire.Identification{Type: ikewire.IDFQDN, Data: []byte(text)}, nil
}

// CertRequests implements Authenticator.
func (PSK) CertRequests(string, string) []ikewire.CERTREQ { return nil }

// ParseIdentity implements Authenticator.
func (PSK) ParseIdentity(text string) (ikewire.Identification, error) { return parseID(text) }

// prove is prf(prf(Shared Secret, "Key Pad for IKEv2"), octets).
func (p PSK) prove(credential string, prf uint16, octets []byte) ([]byte, error) {
	secret, err := p.secret(credential)
	if err != nil {
		return nil, err
	}
	return proveWith(secret, prf, octets)
}

func proveWith(secret []byte, prf uint16, octets []byte) ([]byte, error) {
	f, err := transform.PRFByID(prf)
	if err != nil {
		return nil, err
	}
	pad := f.Sum(nil, secret, []byte("Key Pad for IKEv2"))
	return f.Sum(nil, pad, octets), nil
}

// secret opens a Credential's.
func (p PSK) secret(name string) ([]byte, error) {
	var c operatorv1.Credential
	kv, ok := p.View.Get(store.SpecPrefix + string(store.KindCredential) + "/" + name)
	if !ok || store.Decode(kv, &c) != nil || c.GetSpec().GetType() != "psk" {
		return nil, fmt.Errorf("there is no Credential %q of type psk", name)
	}
	key := store.CredentialPrefix + name
	kv, ok = p.View.Get(key)
	if !ok {
		return nil, fmt.Errorf("the secret of Credential %q is missing: apply it again", name)
	}
	plain, err := p.Store.Unseal(key, kv.Value)
	if err != nil {
		return nil, fmt.Errorf("the secret of Credential %q cannot be opened: %w", name, err)
	}
	defer clear(plain)
	var record controllerv1.CredentialSecret
	if err := proto.Unmarshal(plain, &record); err != nil {
		return nil, fmt.Errorf("the secret of Credential %q cannot be read", name)
	}
	return record.GetSecret(), nil
}
