package transform

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// gmac is ENCR_NULL_AUTH_AES_GMAC, RFC 4543 section 3, as a cipher.AEAD: the "plaintext"
// goes through as it is, and the tag is GCM's of nothing with the additional data and
// then the plaintext as GCM's additional data. They are joined in scratch space, for
// with ESN the 64-bit number makes them not the packet's own bytes.
type gmac struct {
	gcm     cipher.AEAD
	scratch scratch
	tag     [gcmStandardTag]byte
}

func newGMAC(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &gmac{gcm: gcm}, nil
}

func (g *gmac) NonceSize() int { return g.gcm.NonceSize() }

func (g *gmac) Overhead() int { return gcmStandardTag }

// sum returns the tag, valid until the next call.
func (g *gmac) sum(nonce, aad, plaintext []byte) []byte {
	joined := g.scratch.take(len(aad) + len(plaintext))
	copy(joined[copy(joined, aad):], plaintext)
	return g.gcm.Seal(g.tag[:0], nonce, nil, joined)
}

func (g *gmac) Seal(dst, nonce, plaintext, aad []byte) []byte {
	tag := g.sum(nonce, aad, plaintext)
	n := len(plaintext)
	dst, out := extend(dst, n+gcmStandardTag)
	copy(out, plaintext)
	copy(out[n:], tag)
	return dst
}

func (g *gmac) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(ciphertext) < gcmStandardTag {
		return nil, errOpen
	}
	n := len(ciphertext) - gcmStandardTag
	if subtle.ConstantTimeCompare(g.sum(nonce, aad, ciphertext[:n]), ciphertext[n:]) != 1 {
		return nil, errOpen
	}
	dst, out := extend(dst, n)
	copy(out, ciphertext[:n])
	return dst, nil
}
