package uplink

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// Bounds of an identity; they are the contract's (enrolment.proto).
const (
	maxChain = 8
	maxRoots = 16
)

// Key is the host's identity key, ECDSA on P-256. It does not print.
type Key struct{ private *ecdsa.PrivateKey }

// Signer is the key to sign with.
func (k *Key) Signer() crypto.Signer { return k.private }

// String hides the key.
func (k *Key) String() string { return "[redacted]" }

// GoString hides the key.
func (k *Key) GoString() string { return "[redacted]" }

// LogValue hides the key.
func (k *Key) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// Identity is what a host needs to speak to the fleet: its key, its certificate and the fleet's roots.
// It is immutable.
type Identity struct {
	key         *Key
	chain       [][]byte
	roots       [][]byte
	leaf        *x509.Certificate
	authorities []*x509.Certificate // roots, parsed
	trustDomain string
	host        string
}

// newIdentity checks that the parts fit together. Certificates are DER.
func newIdentity(key *Key, chain, roots [][]byte) (*Identity, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, fmt.Errorf("a chain of %d certificates", len(chain))
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	public, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || !key.private.PublicKey.Equal(public) {
		return nil, errors.New("the certificate is for another key")
	}
	id := &Identity{key: key, chain: chain, leaf: leaf}
	who, err := enrol.NameOf(leaf)
	if err != nil {
		return nil, err
	}
	if who.Kind != enrol.KindHost {
		return nil, fmt.Errorf("the certificate names %v, which is no host", who)
	}
	id.trustDomain, id.host = who.TrustDomain, who.Name
	return id.withRoots(roots)
}

// withRoots is the identity with other roots.
func (id *Identity) withRoots(roots [][]byte) (*Identity, error) {
	if len(roots) == 0 || len(roots) > maxRoots {
		return nil, fmt.Errorf("a trust bundle of %d roots: want 1 to %d", len(roots), maxRoots)
	}
	authorities := make([]*x509.Certificate, 0, len(roots))
	for i, der := range roots {
		root, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("root %d of the trust bundle: %w", i+1, err)
		}
		if !root.IsCA {
			return nil, fmt.Errorf("root %d of the trust bundle, %v, is no certificate authority", i+1, root.Subject)
		}
		authorities = append(authorities, root)
	}
	out := *id
	out.roots, out.authorities = roots, authorities
	return &out, nil
}

// Host is the host's name.
func (id *Identity) Host() string { return id.host }

// TrustDomain is the fleet's SPIFFE trust domain.
func (id *Identity) TrustDomain() string { return id.trustDomain }

// Roots are the fleet's roots. They are not to be changed.
func (id *Identity) Roots() []*x509.Certificate { return id.authorities }

// NotAfter is the end of the certificate's life.
func (id *Identity) NotAfter() time.Time { return id.leaf.NotAfter }

// RenewAt is half of the certificate's life.
func (id *Identity) RenewAt() time.Time {
	return id.leaf.NotBefore.Add(id.leaf.NotAfter.Sub(id.leaf.NotBefore) / 2)
}

// Certificate is the certificate as TLS takes it.
func (id *Identity) Certificate() *tls.Certificate {
	return &tls.Certificate{Certificate: id.chain, PrivateKey: id.key.private, Leaf: id.leaf}
}

// sameRoots says whether the bundle is the one in use.
func (id *Identity) sameRoots(roots [][]byte) bool {
	if len(roots) != len(id.roots) {
		return false
	}
	for i := range roots {
		if !bytes.Equal(roots[i], id.roots[i]) {
			return false
		}
	}
	return true
}

// received makes the identity that a controller has issued.
func received(key *Key, m *fleetv1.Identity) (*Identity, error) {
	id, err := newIdentity(key, m.GetCertificateChain(), m.GetTrustBundle())
	if err != nil {
		return nil, fmt.Errorf("uplink: the controller issued an identity that is not usable: %w", err)
	}
	if id.host != m.GetHost() {
		return nil, fmt.Errorf("uplink: the controller issued a certificate for %q to host %q", id.host, m.GetHost())
	}
	return id, nil
}
