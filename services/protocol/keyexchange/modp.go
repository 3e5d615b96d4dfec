package keyexchange

import (
	"fmt"
	"math/big"
)

// modpKey is one end in a group of RFC 3526, whose generator is 2. Its primes are safe ones,
// so that a value between 1 and p-1 generates all or half of the group (RFC 6989 section 2.1).
//
// math/big does not run in constant time; the package comment says what follows. Private
// exponents are as short as RFC 3526 section 8 allows: a long one is no safer, and several times
// as slow.
type modpKey struct {
	group    modpGroup
	prime    *big.Int
	exponent *big.Int
}

func parseMODP(id uint16, b []byte) (agreement, error) {
	g := modpOf(id)
	x := new(big.Int).SetBytes(b)
	// 2^64: less is no accident, and 2^x would not even be reduced.
	if len(b) != g.exponent || x.BitLen() <= 64 {
		return nil, fmt.Errorf("%w: an exponent of %d bytes", ErrPrivate, len(b))
	}
	return &modpKey{g, g.prime(), x}, nil
}

func (k *modpKey) public() []byte { return k.power(big.NewInt(2)) }

func (k *modpKey) finish(peer []byte) ([]byte, error) {
	one := big.NewInt(1)
	y := new(big.Int).SetBytes(peer)
	if y.Cmp(one) <= 0 || y.Cmp(new(big.Int).Sub(k.prime, one)) >= 0 {
		return nil, fmt.Errorf("%w: not between 1 and p-1", ErrPublic)
	}
	return k.power(y), nil
}

// power is base^exponent, as long as the prime.
func (k *modpKey) power(base *big.Int) []byte {
	return base.Exp(base, k.exponent, k.prime).FillBytes(make([]byte, k.group.length()))
}

func (k *modpKey) private() []byte {
	return k.exponent.FillBytes(make([]byte, k.group.exponent))
}
