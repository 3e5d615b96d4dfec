package ipseckey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
)

// Key returns the public key: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey. Whether it is strong
// enough is the caller's question. Error: ErrRecord, also for algorithms that are not used (none, DSA,
// Ed448).
func (r Record) Key() (crypto.PublicKey, error) {
	switch r.Algorithm {
	case RSA:
		return rsaKey(r.PublicKey)
	case ECDSA:
		return ecdsaKey(r.PublicKey)
	case EdDSA:
		if len(r.PublicKey) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: EdDSA key of %d bytes; only Ed25519, 32 bytes, is used", ErrRecord, len(r.PublicKey))
		}
		return ed25519.PublicKey(append([]byte(nil), r.PublicKey...)), nil
	}
	return nil, fmt.Errorf("%w: algorithm %d; RSA (2), ECDSA (3) and EdDSA (4) are used", ErrRecord, r.Algorithm)
}

// rsaKey reads RFC 3110 section 2: the exponent's length in one byte, or zero and two bytes; exponent; modulus.
func rsaKey(b []byte) (*rsa.PublicKey, error) {
	s := cryptobyte.String(b)
	var short uint8
	var exponent []byte
	length := 0
	ok := s.ReadUint8(&short)
	if length = int(short); ok && short == 0 {
		var long uint16
		if ok = s.ReadUint16(&long); ok {
			length = int(long)
		}
		ok = ok && length > 0xff // a length that fits one byte must be in one
	}
	if !ok || length == 0 || !s.ReadBytes(&exponent, length) || len(s) == 0 {
		return nil, fmt.Errorf("%w: RSA key of %d bytes with an exponent of %d", ErrRecord, len(b), length)
	}
	if exponent[0] == 0 || s[0] == 0 {
		return nil, fmt.Errorf("%w: RSA exponent or modulus with a leading zero, RFC 3110 section 2", ErrRecord)
	}
	e := new(big.Int).SetBytes(exponent)
	if !e.IsInt64() || e.Int64() > math.MaxInt32 {
		return nil, fmt.Errorf("%w: RSA exponent of %d bits, at most 31 are used", ErrRecord, e.BitLen())
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(s), E: int(e.Int64())}, nil
}

// ecdsaKey reads RFC 6605 section 4: x and y, whose length names the curve.
func ecdsaKey(b []byte) (*ecdsa.PublicKey, error) {
	var curve elliptic.Curve
	switch len(b) {
	case 64:
		curve = elliptic.P256()
	case 96:
		curve = elliptic.P384()
	default:
		return nil, fmt.Errorf("%w: ECDSA key of %d bytes; P-256 has 64, P-384 96", ErrRecord, len(b))
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, append([]byte{4}, b...))
	if err != nil {
		return nil, fmt.Errorf("%w: ECDSA: %w", ErrRecord, err)
	}
	return key, nil
}

// Encode returns the algorithm and public key fields that publish the key. Error: ErrRecord for a key that
// has no form in IPSECKEY.
func Encode(key crypto.PublicKey) (Algorithm, []byte, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		e := big.NewInt(int64(k.E)).Bytes()
		return RSA, append(append([]byte{uint8(len(e))}, e...), k.N.Bytes()...), nil
	case *ecdsa.PublicKey:
		if b, err := k.Bytes(); err == nil && (k.Curve == elliptic.P256() || k.Curve == elliptic.P384()) {
			return ECDSA, b[1:], nil
		}
	case ed25519.PublicKey:
		return EdDSA, append([]byte(nil), k...), nil
	}
	return NoKey, nil, fmt.Errorf("%w: no form for a %T", ErrRecord, key)
}

// Append appends the record's data. Error: ErrRecord for a gateway that is not of its type.
func (r Record) Append(b []byte) ([]byte, error) {
	b = append(b, r.Precedence, uint8(r.Type), uint8(r.Algorithm))
	switch {
	case r.Type == NoGateway:
	case r.Type == IPv4Gateway && r.Addr.Is4(), r.Type == IPv6Gateway && r.Addr.Is6():
		b = append(b, r.Addr.AsSlice()...)
	case r.Type == NameGateway:
		var err error
		if b, err = appendName(b, r.Name); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%w: gateway type %d with %v", ErrRecord, r.Type, r.Addr)
	}
	return append(b, r.PublicKey...), nil
}
