package fleettest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/caller"
)

// Identity is a fleet.Identity of which a test decides.
type Identity struct {
	Root []byte // DER

	mu      sync.Mutex
	revoked map[string]bool
	bundle  [][]byte
}

// Valid implements fleet.Identity.
func (i *Identity) Valid(c caller.Caller) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.revoked[c.Name]
}

// TrustBundle implements fleet.Identity.
func (i *Identity) TrustBundle() ([][]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.bundle, nil
}

// Revoke makes a host's key invalid.
func (i *Identity) Revoke(host string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.revoked[host] = true
}

// AddRoot adds a root to the bundle.
func (i *Identity) AddRoot(der []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.bundle = append(append([][]byte(nil), i.bundle...), der)
}

// NewRoot makes a self-signed certificate authority, DER.
func NewRoot(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return der
}
