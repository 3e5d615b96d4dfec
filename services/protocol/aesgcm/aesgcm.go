// Package aesgcm is AES in Galois/Counter Mode, NIST SP 800-38D, with a nonce of 12 bytes and a tag of 16, as ESP uses it
// (RFC 4106). Where the CPU has VAES, VPCLMULQDQ and AVX-512, packets go through assembly that takes 16 blocks at a
// time; everywhere else, in FIPS 140 mode, and with the build tag purego, they go through the standard library. Both
// give the same bytes.
//
// The assembly's time depends on lengths and on nothing else. deploy/docs/decisions/0007-own-aes-gcm.md says why there is
// one.
package aesgcm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
)

const (
	nonceSize = 12
	tagSize   = 16

	// SP 800-38D section 5.2.1.1: the 32-bit counter goes from 2, and does not come back to J0's 1. What it says of
	// additional data, 2^61 bytes, no slice reaches.
	maxPlaintext = (1<<32 - 2) * aes.BlockSize
)

// New returns the cipher of a key of 16, 24 or 32 bytes, which it does not keep; the error is aes.KeySizeError. The
// cipher may be used concurrently. Its Seal and Open panic for a nonce that is not 12 bytes long, and for output that
// overlaps the input anywhere but from the first byte on, or overlaps the additional data; they do not allocate if dst
// has the capacity. Open clears its output if the message is not authentic.
func New(key []byte) (cipher.AEAD, error) {
	if !fips140.Enabled() {
		if aead, err := newAssembled(key); aead != nil || err != nil {
			return aead, err
		}
	}
	return newStandard(key)
}

// Implementation names what New takes, for people.
func Implementation() string {
	if !fips140.Enabled() && supported() {
		return "own assembly: VAES, AVX-512"
	}
	return "the standard library"
}

// newStandard is what New falls back to.
func newStandard(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
