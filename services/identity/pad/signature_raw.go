package pad

import (
	"crypto/elliptic"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// rawToDER makes Ecdsa-Sig-Value of r|s, each as long as the curve's order (RFC 4754 section 7). It is false
// for another length.
func rawToDER(curve elliptic.Curve, raw []byte) ([]byte, bool) {
	n := scalarLen(curve)
	if len(raw) != 2*n {
		return nil, false
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:n]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[n:]))
	})
	der, err := b.Bytes()
	return der, err == nil
}

// derToRaw is the way back. It is false for what is no Ecdsa-Sig-Value of the curve.
func derToRaw(curve elliptic.Curve, der []byte) ([]byte, bool) {
	s := cryptobyte.String(der)
	var sequence cryptobyte.String
	r, v := new(big.Int), new(big.Int)
	if !s.ReadASN1(&sequence, cbasn1.SEQUENCE) || !s.Empty() || !sequence.ReadASN1Integer(r) ||
		!sequence.ReadASN1Integer(v) || !sequence.Empty() {
		return nil, false
	}
	n := scalarLen(curve)
	if r.Sign() < 0 || v.Sign() < 0 || r.BitLen() > 8*n || v.BitLen() > 8*n {
		return nil, false
	}
	raw := make([]byte, 2*n)
	r.FillBytes(raw[:n])
	v.FillBytes(raw[n:])
	return raw, true
}

func scalarLen(curve elliptic.Curve) int { return (curve.Params().BitSize + 7) / 8 }
