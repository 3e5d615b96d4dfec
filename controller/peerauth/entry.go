package peerauth

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/store"
)

// reader makes entries of what the store has.
type reader struct {
	store    *store.Store
	snapshot *store.Snapshot
	local    netip.Addr // our identity where a spec has none
}

// peers reads all peers.
func (r *reader) peers() (all []*operatorv1.Peer) {
	r.snapshot.Range(store.SpecPrefix+string(store.KindPeer)+"/", func(kv store.KV) bool {
		p := &operatorv1.Peer{}
		if store.Decode(kv, p) == nil {
			all = append(all, p)
		}
		return true
	})
	return all
}

// authorities reads the Credentials that are CAs.
func (r *reader) authorities() (all []pad.Authority) {
	r.snapshot.Range(store.SpecPrefix+string(store.KindCredential)+"/", func(kv store.KV) bool {
		var c operatorv1.Credential
		if store.Decode(kv, &c) != nil || c.GetSpec().GetType() != "ca" {
			return true
		}
		if certificates, err := parseCertificates(c.GetSpec().GetCertificates()); err == nil && len(certificates) > 0 {
			all = append(all, pad.Authority{Name: c.GetMetadata().GetName(), Certificates: certificates})
		}
		return true
	})
	return all
}

// entry makes the PAD's entry of a peer.
func (r *reader) entry(p *operatorv1.Peer) (e pad.Entry, err error) {
	s := p.GetSpec()
	e = pad.Entry{Name: p.GetMetadata().GetName(), Hosts: s.GetHosts()}
	if e.Remote, err = remotePattern(s); err != nil {
		return e, err
	}
	if e.Accept, err = r.accept(s.GetRemote()); err != nil {
		return e, err
	}
	if e.Local.ID, err = r.localID(s); err != nil {
		return e, err
	}
	credential, err := r.credential(s.GetLocal())
	if err != nil {
		return e, err
	}
	e.Local.Credentials = []pad.Credential{credential}
	for _, c := range s.GetChildren() {
		for _, text := range c.GetRemote() {
			selectors, err := spd.ParseSelectors(text)
			if err != nil {
				return e, err
			}
			e.Selectors = append(e.Selectors, selectors...)
		}
	}
	return e, nil
}

// remotePattern is who the peer may be: without a word about it, its address.
func remotePattern(s *operatorv1.PeerSpec) (pad.Pattern, error) {
	if s.GetRemote().GetMethod() == "null" {
		return pad.NullIdentity(), nil
	}
	if text := s.GetRemote().GetId(); text != "" {
		return pad.ParsePattern(text)
	}
	if all := s.GetRemoteAddresses(); len(all) == 1 {
		if p, err := pad.ParsePattern(all[0]); err == nil {
			return p, nil
		}
	}
	return pad.Pattern{}, errors.New("spec.remote.id is missing: without one address or prefix nobody can tell who it is")
}

func (r *reader) localID(s *operatorv1.PeerSpec) (ikewire.Identification, error) {
	switch {
	case s.GetLocal().GetId() != "":
		return pad.ParseIdentity(s.GetLocal().GetId())
	case s.GetLocalAddress() != "":
		return pad.ParseIdentity(s.GetLocalAddress())
	case r.local.IsValid():
		return pad.ParseIdentity(r.local.String())
	}
	// Nobody has asked for it: it only has to be none of a peer's.
	return ikewire.Identification{Type: ikewire.IDKeyID, Data: []byte("our outer address")}, nil
}

// accept is what counts as the peer's proof.
func (r *reader) accept(a *operatorv1.PeerAuthentication) (accept pad.Accept, err error) {
	name := a.GetCredential()
	switch a.GetMethod() {
	case "psk":
		var secret pad.Secret
		secret, err = r.secret(name)
		accept.Secrets = []pad.Secret{secret}
	case "certificate":
		accept.Certificate = &pad.CertificatePolicy{Authorities: []string{name}}
	case "public-key":
		var key crypto.PublicKey
		key, err = r.publicKey(name)
		accept.Keys = []crypto.PublicKey{key}
	case "ipseckey":
		accept.IPSECKEY = true
	case "null":
		accept.Null = true
	default:
		err = fmt.Errorf("spec.remote.method is %q", a.GetMethod())
	}
	return accept, err
}

// credential is what proves us.
func (r *reader) credential(a *operatorv1.PeerAuthentication) (c pad.Credential, err error) {
	switch a.GetMethod() {
	case "psk":
		c.Secret, err = r.secret(a.GetCredential())
	case "null":
		c.Null = true
	case "certificate", "public-key", "ipseckey":
		c.Signer, c.Chain, err = r.signer(a.GetCredential())
		if a.GetMethod() != "certificate" {
			c.Chain = nil
		} else if err == nil && len(c.Chain) == 0 {
			err = fmt.Errorf("the Credential %q has no certificate", a.GetCredential())
		}
	default:
		err = fmt.Errorf("spec.local.method is %q", a.GetMethod())
	}
	return c, err
}

// find reads a Credential of a type.
func (r *reader) find(name, kind string) (*operatorv1.CredentialSpec, error) {
	var c operatorv1.Credential
	kv, ok := r.snapshot.Get(store.SpecPrefix + string(store.KindCredential) + "/" + name)
	if !ok {
		return nil, fmt.Errorf("there is no Credential %q", name)
	}
	if err := store.Decode(kv, &c); err != nil {
		return nil, err
	}
	if c.GetSpec().GetType() != kind {
		return nil, fmt.Errorf("the Credential %q is of type %s, not %s", name, c.GetSpec().GetType(), kind)
	}
	return c.GetSpec(), nil
}

// open opens the secret of a Credential; whoever has it clears it.
func (r *reader) open(name string) ([]byte, error) {
	key := store.CredentialPrefix + name
	kv, ok := r.snapshot.Get(key)
	if !ok {
		return nil, fmt.Errorf("the secret of Credential %q is missing: apply it again", name)
	}
	plain, err := r.store.Unseal(key, kv.Value)
	if err != nil {
		return nil, fmt.Errorf("the secret of Credential %q cannot be opened: %w", name, err)
	}
	defer clear(plain)
	var record controllerv1.CredentialSecret
	if proto.Unmarshal(plain, &record) != nil {
		return nil, fmt.Errorf("the secret of Credential %q cannot be read", name)
	}
	return record.GetSecret(), nil
}

func (r *reader) secret(name string) (pad.Secret, error) {
	if _, err := r.find(name, "psk"); err != nil {
		return pad.Secret{}, err
	}
	b, err := r.open(name)
	if err != nil {
		return pad.Secret{}, err
	}
	defer clear(b)
	return pad.NewSecret(b)
}

func (r *reader) signer(name string) (crypto.Signer, []*x509.Certificate, error) {
	s, err := r.find(name, "key")
	if err != nil {
		return nil, nil, err
	}
	der, err := r.open(name)
	if err != nil {
		return nil, nil, err
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, nil, fmt.Errorf("the private key of Credential %q cannot be used", name)
	}
	chain, err := parseCertificates(s.GetCertificates())
	return signer, chain, err
}

func (r *reader) publicKey(name string) (crypto.PublicKey, error) {
	s, err := r.find(name, "public-key")
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(s.GetPublicKey()))
	if block == nil {
		return nil, fmt.Errorf("the Credential %q has no public key", name)
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

func parseCertificates(text string) (all []*x509.Certificate, err error) {
	for rest := []byte(text); len(strings.TrimSpace(string(rest))) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("a certificate is not PEM")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
