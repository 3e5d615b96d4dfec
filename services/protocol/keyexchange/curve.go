package keyexchange

import (
	"crypto/ecdh"
	"fmt"
)

// curveKey is X25519 (RFC 8031) or a curve of RFC 5903, whose public values are the two
// coordinates without SEC 1's leading 4.
type curveKey struct {
	id  uint16
	key *ecdh.PrivateKey
}

const uncompressed = 4 // SEC 1 section 2.3.3

func curveOf(id uint16) ecdh.Curve {
	switch id {
	case P256:
		return ecdh.P256()
	case P384:
		return ecdh.P384()
	case P521:
		return ecdh.P521()
	}
	return ecdh.X25519()
}

func parseCurve(id uint16, b []byte) (agreement, error) {
	key, err := curveOf(id).NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPrivate, err)
	}
	return &curveKey{id, key}, nil
}

func (k *curveKey) public() []byte {
	b := k.key.PublicKey().Bytes()
	if k.id == X25519 {
		return b
	}
	return b[1:]
}

// finish: NewPublicKey refuses what is not on the curve and knows no form of the identity;
// X25519's ECDH refuses a secret of zeros.
func (k *curveKey) finish(peer []byte) ([]byte, error) {
	if k.id != X25519 {
		peer = append([]byte{uncompressed}, peer...)
	}
	public, err := curveOf(k.id).NewPublicKey(peer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPublic, err)
	}
	secret, err := k.key.ECDH(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPublic, err)
	}
	return secret, nil
}

func (k *curveKey) private() []byte { return k.key.Bytes() }
