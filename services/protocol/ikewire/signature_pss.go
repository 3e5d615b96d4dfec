package ikewire

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func oidPSS() asn1.ObjectIdentifier  { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10} }
func oidMGF1() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8} }

// hashOID returns the object identifier of a hash that PSS may use, and its length.
func hashOID(h HashAlgorithm) (asn1.ObjectIdentifier, int64) {
	switch h {
	case HashSHA256:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, 32
	case HashSHA384:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, 48
	case HashSHA512:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, 64
	}
	return nil, 0
}

// addPSSParameters writes RSASSA-PSS-params of RFC 4055 section 3.1:
//
//	SEQUENCE { [0] hash, [1] MGF1 with hash, [2] salt length, [3] trailer field }
//
// with the trailer field left out, since 1 is its default.
func addPSSParameters(b *cryptobyte.Builder, h HashAlgorithm) {
	oid, salt := hashOID(h)
	hash := func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			b.AddASN1NULL()
		})
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(explicit(0), hash)
		b.AddASN1(explicit(1), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidMGF1())
				hash(b)
			})
		})
		b.AddASN1(explicit(2), func(b *cryptobyte.Builder) { b.AddASN1Int64(salt) })
	})
}

// readPSSParameters returns the one hash of the parameters. Absent hashes would mean
// SHA-1, and an absent salt length 20: neither is accepted.
func readPSSParameters(s cryptobyte.String) (HashAlgorithm, bool) {
	var sequence, hash, mgf, salt, trailer cryptobyte.String
	var hasTrailer bool
	if !s.ReadASN1(&sequence, cbasn1.SEQUENCE) || !s.Empty() ||
		!sequence.ReadASN1(&hash, explicit(0)) || !sequence.ReadASN1(&mgf, explicit(1)) ||
		!sequence.ReadASN1(&salt, explicit(2)) ||
		!sequence.ReadOptionalASN1(&trailer, &hasTrailer, explicit(3)) || !sequence.Empty() {
		return 0, false
	}
	h, ok := readHash(&hash)
	if !ok || !hash.Empty() {
		return 0, false
	}
	oid, parameters, ok := readAlgorithm(&mgf)
	if !ok || !mgf.Empty() || !oid.Equal(oidMGF1()) {
		return 0, false
	}
	if inner, ok := readHash(&parameters); !ok || inner != h || !parameters.Empty() {
		return 0, false
	}
	_, want := hashOID(h)
	return h, readsInt(&salt, want) && (!hasTrailer || readsInt(&trailer, 1))
}

func readHash(s *cryptobyte.String) (HashAlgorithm, bool) {
	oid, parameters, ok := readAlgorithm(s)
	if !ok || len(parameters) > 0 && !isNULL(parameters) {
		return 0, false
	}
	for _, h := range []HashAlgorithm{HashSHA256, HashSHA384, HashSHA512} {
		if known, _ := hashOID(h); known.Equal(oid) {
			return h, true
		}
	}
	return 0, false
}

func readsInt(s *cryptobyte.String, want int64) bool {
	var n int64
	return s.ReadASN1Integer(&n) && s.Empty() && n == want
}

func explicit(n uint8) cbasn1.Tag { return cbasn1.Tag(n).Constructed().ContextSpecific() }
