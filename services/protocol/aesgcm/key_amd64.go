//go:build !purego

package aesgcm

import (
	"crypto/aes"
	"encoding/binary"
	"math/bits"
)

const (
	// The assembly uses 17 powers, of 16 blocks and the lengths behind them. With 20, H^16 begins a cache line, and a key
	// takes no more of the heap.
	powers    = 20
	maxRounds = 14
)

// element is a polynomial over GF(2), the coefficient of x^0 in the lowest bit of the first word. Its field is RFC
// 8452's, modulo x^128 + x^127 + x^126 + x^121 + 1, in which GCM's hash needs no bit reversed.
type element [2]uint64

// key is all that a packet needs of a key, 568 bytes. The assembly knows this layout; it may read, but does not use, up to
// 48 bytes behind the powers.
type key struct {
	powers [powers]element         // of the hash subkey H, from the highest to H itself
	round  [maxRounds + 1][16]byte // FIPS 197 section 5.2, those that there are
	rounds uint64                  // 10, 12 or 14
}

// subWord is FIPS 197's SubWord, in constant time.
//
//go:noescape
func subWord(w uint32) uint32

// dot is RFC 8452's: the product of two elements and x^-128.
//
//go:noescape
func dot(a, b element) element

// set computes everything from the secret, of 16, 24 or 32 bytes.
func (k *key) set(secret []byte) error {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return err
	}
	var h [16]byte
	block.Encrypt(h[:], h[:])
	k.expand(secret)
	k.raise(h)
	return nil
}

// expand is FIPS 197's KeyExpansion, section 5.2. Its words are of little-endian bytes here, so that RotWord goes to the
// right and rcon stands in the lowest byte.
func (k *key) expand(secret []byte) {
	nk := len(secret) / 4
	k.rounds = uint64(nk + 6)
	var w [4 * (maxRounds + 1)]uint32
	for i := range nk {
		w[i] = binary.LittleEndian.Uint32(secret[4*i:])
	}
	rcon := uint32(1)
	for i := nk; i < 4*(nk+7); i++ {
		t := w[i-1]
		switch {
		case i%nk == 0:
			t = subWord(bits.RotateLeft32(t, -8)) ^ rcon
			rcon = rcon<<1 ^ rcon>>7*0x11b // x times, in AES's field
		case nk > 6 && i%nk == 4:
			t = subWord(t)
		}
		w[i] = w[i-nk] ^ t
	}
	for i := range 4 * (nk + 7) {
		binary.LittleEndian.PutUint32(k.round[i/4][i%4*4:], w[i])
	}
}

// raise computes the powers of H as RFC 8452 appendix A has it: GHASH by H is POLYVAL of byte-reversed blocks by x times
// the byte-reversed H.
func (k *key) raise(h [16]byte) {
	e := element{binary.BigEndian.Uint64(h[8:]), binary.BigEndian.Uint64(h[:8])}
	carry := -(e[1] >> 63) // all ones or none, for there is no branch on a secret
	e = element{e[0]<<1 ^ carry&1, e[1]<<1 ^ e[0]>>63 ^ carry&0xc200000000000000}
	last := len(k.powers) - 1
	k.powers[last] = e
	for i := last; i > 0; i-- {
		k.powers[i-1] = dot(k.powers[i], e)
	}
}
