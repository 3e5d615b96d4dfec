// Package padtest makes keys, certificates, CRLs and OCSP responses for the PAD's tests.
package padtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Now is when the tests take place. Certificates are valid from an hour before to a day after.
func Now() time.Time { return time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC) }

// Edit changes a certificate before it is signed.
type Edit func(*x509.Certificate)

// Critical is an Edit: it adds a critical extension that nobody knows.
func Critical(c *x509.Certificate) {
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
}

// Cert is a certificate with its key.
type Cert struct {
	*x509.Certificate
	Key crypto.Signer
}

// Key makes a key: rsa1024, rsa2048, rsa3072, p224, p256, p384, p521, ed25519.
func Key(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "rsa1024":
		t.Setenv("GODEBUG", "rsa1024min=0") // Go makes no such key by itself
		key, err = rsa.GenerateKey(rand.Reader, 1024)
	case "rsa2048":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "rsa3072":
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	case "p224":
		key, err = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	case "p256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "p521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no key of kind %q", kind)
	}
	check(t, err)
	return key
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func template(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	check(t, err)
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: Now().Add(-time.Hour), NotAfter: Now().Add(24 * time.Hour), BasicConstraintsValid: true,
	}
}

func sign(t testing.TB, c, issuer *x509.Certificate, key, issuerKey crypto.Signer) Cert {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), issuerKey)
	check(t, err)
	parsed, err := x509.ParseCertificate(der)
	check(t, err)
	return Cert{parsed, key}
}

// NewCA makes a self-signed CA with a P-256 key.
func NewCA(t testing.TB, name string, edits ...Edit) Cert {
	t.Helper()
	c, key := template(t, name), Key(t, "p256")
	authority(c)
	for _, e := range edits {
		e(c)
	}
	return sign(t, c, c, key, key)
}

func authority(c *x509.Certificate) {
	c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
}

// Sub makes a CA below another one.
func (c Cert) Sub(t testing.TB, name string, edits ...Edit) Cert {
	t.Helper()
	return c.Issue(t, name, "p256", append([]Edit{authority}, edits...)...)
}

// Issue makes a certificate below a CA.
func (c Cert) Issue(t testing.TB, name, kind string, edits ...Edit) Cert {
	t.Helper()
	return c.IssueFor(t, name, Key(t, kind), edits...)
}

// IssueFor makes a certificate for a key.
func (c Cert) IssueFor(t testing.TB, name string, key crypto.Signer, edits ...Edit) Cert {
	t.Helper()
	made := template(t, name)
	made.KeyUsage = x509.KeyUsageDigitalSignature
	for _, e := range edits {
		e(made)
	}
	return sign(t, made, c.Certificate, key, c.Key)
}

// CRL makes a CRL, current for an hour, of the certificates.
func (c Cert) CRL(t testing.TB, edit func(*x509.RevocationList), certs ...Cert) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: Now().Add(-time.Minute), NextUpdate: Now().Add(time.Hour)}
	for _, r := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: r.SerialNumber, RevocationTime: Now().Add(-time.Minute)})
	}
	if edit != nil {
		edit(list)
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, c.Certificate, c.Key)
	check(t, err)
	return der
}

// OCSP makes a response about a certificate of this CA, current for an hour, signed by the responder.
func (c Cert) OCSP(t testing.TB, responder, about Cert, edit func(*ocsp.Response)) []byte {
	t.Helper()
	r := ocsp.Response{
		Status: ocsp.Good, SerialNumber: about.SerialNumber,
		ThisUpdate: Now().Add(-time.Minute), NextUpdate: Now().Add(time.Hour), RevokedAt: Now().Add(-time.Minute),
	}
	if responder.Certificate != c.Certificate {
		r.Certificate = responder.Certificate
	}
	if edit != nil {
		edit(&r)
	}
	der, err := ocsp.CreateResponse(c.Certificate, responder.Certificate, r, responder.Key)
	check(t, err)
	return der
}
