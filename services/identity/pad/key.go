package pad

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
)

// ErrKey: a key is of a kind or size that is not used.
var ErrKey = errors.New("key not used")

const (
	minRSA = 2048 // bits, RFC 8247 section 3
	maxRSA = 8192 // bits: more costs the verifier more than it is worth
)

// CheckKey returns ErrKey unless the public key is RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or
// Ed25519.
func CheckKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch n := k.N.BitLen(); {
		case n < minRSA || n > maxRSA:
			return fmt.Errorf("%w: RSA of %d bits; %d to %d are used", ErrKey, n, minRSA, maxRSA)
		case k.N.Bit(0) == 0 || k.E < 3 || k.E&1 == 0:
			return fmt.Errorf("%w: RSA with an even modulus or exponent %d", ErrKey, k.E)
		}
		return nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			if _, err := k.Bytes(); err != nil {
				return fmt.Errorf("%w: %w", ErrKey, err)
			}
			return nil
		}
		return fmt.Errorf("%w: ECDSA on %s; P-256, P-384 and P-521 are used", ErrKey, k.Params().Name)
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("%w: Ed25519 key of %d bytes", ErrKey, len(k))
		}
		return nil
	}
	return fmt.Errorf("%w: %T; RSA, ECDSA and Ed25519 are used", ErrKey, key)
}

// KeyName names the kind and size of a key.
func KeyName(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}
