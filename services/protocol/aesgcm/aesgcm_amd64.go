//go:build !purego

package aesgcm

import (
	"crypto/cipher"
	"errors"
	"slices"

	"golang.org/x/sys/cpu"
)

// errOpen is the one answer to a message that is not authentic.
var errOpen = errors.New("aesgcm: message authentication failed")

// assembled is GCM by the assembly. It holds no scratch space: packets may share it.
type assembled struct{ key key }

// supported says whether the CPU, and the system for the registers, have what the assembly uses.
func supported() bool {
	x := &cpu.X86
	return x.HasAES && x.HasAVX2 && x.HasBMI2 && x.HasAVX512F && x.HasAVX512VL && x.HasAVX512BW && x.HasAVX512DQ &&
		x.HasAVX512VAES && x.HasAVX512VPCLMULQDQ
}

// newAssembled returns nil where the assembly does not run.
func newAssembled(secret []byte) (cipher.AEAD, error) {
	if !supported() {
		return nil, nil
	}
	a := new(assembled)
	if err := a.key.set(secret); err != nil {
		return nil, err
	}
	return a, nil
}

// seal writes the ciphertext and the tag to out, of len(in)+16 bytes. It returns false, and writes nothing, if out
// overlaps in elsewhere than at its first byte, or overlaps aad.
//
//go:noescape
func seal(k *key, nonce *[nonceSize]byte, out, in, aad []byte) (fit bool)

// open writes the plaintext of in, of len(out)+16 bytes, to out, and says whether the tag at in's end was its. fit is as
// seal has it.
//
//go:noescape
func open(k *key, nonce *[nonceSize]byte, out, in, aad []byte) (fit, authentic bool)

func (a *assembled) NonceSize() int { return nonceSize }

func (a *assembled) Overhead() int { return tagSize }

// Seal is cipher.AEAD's.
func (a *assembled) Seal(dst, nonce, plaintext, aad []byte) []byte {
	if len(nonce) != nonceSize {
		panic("aesgcm: the nonce is not 12 bytes long")
	}
	if uint64(len(plaintext)) > maxPlaintext {
		panic("aesgcm: the plaintext is too long")
	}
	whole := slices.Grow(dst, len(plaintext)+tagSize)[:len(dst)+len(plaintext)+tagSize]
	out := whole[len(dst):]
	if !seal(&a.key, (*[nonceSize]byte)(nonce), out, plaintext, aad) {
		panic("aesgcm: the output overlaps the input or the additional data")
	}
	return whole
}

// Open is cipher.AEAD's. It decrypts while it hashes: if the tag is wrong, it clears what it has written before it
// returns, as the standard library does.
func (a *assembled) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(nonce) != nonceSize {
		panic("aesgcm: the nonce is not 12 bytes long")
	}
	n := len(ciphertext) - tagSize
	if n < 0 || uint64(n) > maxPlaintext {
		return nil, errOpen
	}
	whole := slices.Grow(dst, n)[:len(dst)+n]
	out := whole[len(dst):]
	fit, authentic := open(&a.key, (*[nonceSize]byte)(nonce), out, ciphertext, aad)
	if !fit {
		panic("aesgcm: the output overlaps the input or the additional data")
	}
	if !authentic {
		clear(out)
		return nil, errOpen
	}
	return whole, nil
}
