//go:build linux

package strongswan

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Names of the two ends in their certificates.
const (
	ourName   = "gw.example.org"
	theirName = "branch.example.org"
)

// Certificates are a CA's and those of both ends, PEM.
type Certificates struct {
	CA           string
	Ours, Theirs Identity
}

// Identity is a certificate and its key.
type Identity struct{ Certificate, Key string }

// MakeCertificates makes keys of a kind, rsa, ecdsa-256, ecdsa-384 or ed25519, and certificates for them. With
// misnamed, strongSwan's is of another name than its identity.
func MakeCertificates(kind string, misnamed bool) (c Certificates, err error) {
	authority, ca, err := makeAuthority()
	if err != nil {
		return c, err
	}
	c.CA = encode("CERTIFICATE", ca.Raw)
	name := theirName
	if misnamed {
		name = "another.example.org"
	}
	if c.Ours, err = makeIdentity(kind, ourName, authority, ca); err != nil {
		return c, err
	}
	c.Theirs, err = makeIdentity(kind, name, authority, ca)
	return c, err
}

func makeAuthority() (crypto.Signer, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("interop: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of these tests"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("interop: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	return key, certificate, err
}

func makeIdentity(kind, name string, authority crypto.Signer, ca *x509.Certificate) (id Identity, err error) {
	key, err := makeKey(kind)
	if err != nil {
		return id, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return id, fmt.Errorf("interop: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), authority)
	if err != nil {
		return id, fmt.Errorf("interop: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return id, fmt.Errorf("interop: %w", err)
	}
	return Identity{encode("CERTIFICATE", der), encode("PRIVATE KEY", secret)}, nil
}

func makeKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa-256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("interop: nobody makes keys of kind %q", kind)
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// write puts strongSwan's into the folders that swanctl reads.
func (c Certificates) write(folder string) error {
	for name, text := range map[string]string{"x509/peer.pem": c.Theirs.Certificate, "x509ca/ca.pem": c.CA, "private/peer.pem": c.Theirs.Key} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("interop: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("interop: %w", err)
		}
	}
	return nil
}
