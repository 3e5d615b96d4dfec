package enrol_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"

	"sallyport.dev/sallyport/services/protocol/enrol"
)

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRequestKeys(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name string
		key  crypto.Signer
		want error
	}{
		{"P-256", ecKey(t, elliptic.P256()), nil},
		{"P-384", ecKey(t, elliptic.P384()), nil},
		{"Ed25519", edwards, nil},
		{"RSA 3072", rsaKey(t, 3072), nil},
		{"P-224", ecKey(t, elliptic.P224()), enrol.ErrWeakKey},
		{"P-521", ecKey(t, elliptic.P521()), enrol.ErrWeakKey},
		{"RSA 2048", rsaKey(t, 2048), enrol.ErrWeakKey},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, c.key)
			if err != nil {
				t.Fatal(err)
			}
			_, hash, err := enrol.ParseRequest(der)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if want, _ := enrol.PublicKeyHash(c.key.Public()); err == nil && hash != want {
				t.Error("the hash is not that of the key")
			}
			if _, err := enrol.NewRequest(rand.Reader, c.key); !errors.Is(err, c.want) {
				t.Errorf("NewRequest: %v, want %v", err, c.want)
			}
		})
	}
}

func TestCheckPublicKeyRSA(t *testing.T) {
	odd := func(bits int) *big.Int {
		return new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
	}
	cases := []struct {
		name string
		key  rsa.PublicKey
		ok   bool
	}{
		{"8192", rsa.PublicKey{N: odd(8192), E: 65537}, true},
		{"16384", rsa.PublicKey{N: odd(16384), E: 65537}, false},
		{"exponent 3", rsa.PublicKey{N: odd(3072), E: 3}, false},
		{"even exponent", rsa.PublicKey{N: odd(3072), E: 65538}, false},
	}
	for _, c := range cases {
		if err := enrol.CheckPublicKey(&c.key); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := enrol.CheckPublicKey(nil); !errors.Is(err, enrol.ErrWeakKey) {
		t.Errorf("no key: %v", err)
	}
}

func TestRequestDamaged(t *testing.T) {
	der, err := enrol.NewRequest(rand.Reader, ecKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(der) {
		if _, _, err := enrol.ParseRequest(der[:n]); err == nil {
			t.Errorf("the first %d bytes were accepted", n)
		}
	}
	for i := range der {
		wrong := append([]byte(nil), der...)
		wrong[i] ^= 1
		if _, _, err := enrol.ParseRequest(wrong); err == nil {
			t.Errorf("a flipped bit in byte %d was accepted", i)
		}
	}
	if _, _, err := enrol.ParseRequest(append(der, make([]byte, 8192)...)); !errors.Is(err, enrol.ErrRequest) {
		t.Errorf("a long request: %v", err)
	}
}
