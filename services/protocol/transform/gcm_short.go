package transform

import (
	"crypto/cipher"
	"crypto/subtle"
)

// shortGCM is GCM with a tag of fewer than the 12 bytes that crypto/cipher stops at
// (RFC 4106 section 6 has 8). The short tag is the whole one's first bytes, so sealing
// truncates. Opening needs the whole tag of a ciphertext, which crypto/cipher computes
// only while it encrypts: GCM encrypts in counter mode, its own inverse, so that Seal
// of the ciphertext is the plaintext, and Seal of that plaintext is the ciphertext
// again with its tag. All of this happens in scratch space: dst is not written before
// the tag has been compared, in constant time.
type shortGCM struct {
	whole   cipher.AEAD
	tagLen  int
	scratch scratch
}

func newShortGCM(block cipher.Block, tagLen int) (cipher.AEAD, error) {
	whole, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &shortGCM{whole: whole, tagLen: tagLen}, nil
}

func (g *shortGCM) NonceSize() int { return g.whole.NonceSize() }

func (g *shortGCM) Overhead() int { return g.tagLen }

func (g *shortGCM) Seal(dst, nonce, plaintext, aad []byte) []byte {
	s := g.scratch.take(len(plaintext) + gcmStandardTag)
	sealed := g.whole.Seal(s[:0], nonce, plaintext, aad)
	dst, out := extend(dst, len(plaintext)+g.tagLen)
	copy(out, sealed)
	return dst
}

func (g *shortGCM) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(ciphertext) < g.tagLen {
		return nil, errOpen
	}
	n := len(ciphertext) - g.tagLen
	body, tag := ciphertext[:n], ciphertext[n:]
	s := g.scratch.take(n + gcmStandardTag)
	plaintext := g.whole.Seal(s[:0], nonce, body, nil)[:n]
	sealed := g.whole.Seal(s[:0], nonce, plaintext, aad)
	if subtle.ConstantTimeCompare(sealed[n:n+g.tagLen], tag) != 1 {
		return nil, errOpen
	}
	plaintext = g.whole.Seal(s[:0], nonce, body, nil)[:n]
	dst, out := extend(dst, n)
	copy(out, plaintext)
	return dst, nil
}
