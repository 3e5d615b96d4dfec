package enrol

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
)

// Bounds of what is accepted from the other end.
const (
	maxRequest = 8192
	minRSA     = 3072
	maxRSA     = 8192
)

// Errors of certificate requests.
var (
	// ErrRequest means that a certificate request cannot be read or is not signed by its own key.
	ErrRequest = errors.New("the certificate request is not valid")
	// ErrWeakKey means that a public key is too weak or of a kind that is not accepted.
	ErrWeakKey = errors.New("the public key is not accepted: use ECDSA P-256 or P-384, Ed25519, or RSA of 3072 to 8192 bits")
)

// NewRequest makes a certificate request for key, DER. It carries no name: the controller gives one.
func NewRequest(random io.Reader, key crypto.Signer) ([]byte, error) {
	if err := CheckPublicKey(key.Public()); err != nil {
		return nil, err
	}
	return x509.CreateCertificateRequest(random, &x509.CertificateRequest{}, key)
}

// ParseRequest returns the public key of a certificate request in DER and the key's hash. The
// request is signed by that key, and the key is strong enough. Nothing else in it counts.
func ParseRequest(der []byte) (crypto.PublicKey, [sha256.Size]byte, error) {
	var none [sha256.Size]byte
	if len(der) > maxRequest {
		return nil, none, fmt.Errorf("%w: longer than %d bytes", ErrRequest, maxRequest)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, none, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := CheckPublicKey(request.PublicKey); err != nil {
		return nil, none, err
	}
	if err := request.CheckSignature(); err != nil {
		return nil, none, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	hash, err := PublicKeyHash(request.PublicKey)
	return request.PublicKey, hash, err
}

// CheckPublicKey returns ErrWeakKey unless a certificate may be issued for the key.
func CheckPublicKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		// An even or small exponent, or a huge one, is a mistake or an attack.
		if n := k.N.BitLen(); minRSA <= n && n <= maxRSA && k.E >= 65537 && k.E%2 == 1 {
			return nil
		}
	}
	return ErrWeakKey
}

// PublicKeyHash returns the SHA-256 of the key's SubjectPublicKeyInfo in DER (RFC 5280 section
// 4.1.2.7), encoded anew: a key has one hash, however its certificate wrote it.
func PublicKeyHash(key crypto.PublicKey) ([sha256.Size]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("%w: %w", ErrWeakKey, err)
	}
	return sha256.Sum256(der), nil
}
