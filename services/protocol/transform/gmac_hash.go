package transform

import (
	"crypto/aes"
	"crypto/cipher"
)

// gmacHash is AUTH_AES_*_GMAC, RFC 4543 section 4, as a hash.Hash: the sum is GCM's tag of
// nothing with the message as additional data. The message is collected in scratch space,
// for GCM takes it in one piece.
type gmacHash struct {
	gcm     cipher.AEAD
	nonce   [12]byte // salt, IV
	salt    int
	message []byte
}

func newGMACHash(key, salt []byte) (*gmacHash, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	g := &gmacHash{gcm: gcm}
	g.salt = copy(g.nonce[:], salt)
	return g, nil
}

// setIV sets the rest of the nonce, RFC 4543 section 3.2.
func (g *gmacHash) setIV(iv []byte) { copy(g.nonce[g.salt:], iv) }

func (g *gmacHash) Write(p []byte) (int, error) {
	g.message = append(g.message, p...)
	return len(p), nil
}

func (g *gmacHash) Sum(b []byte) []byte { return g.gcm.Seal(b, g.nonce[:], nil, g.message) }

func (g *gmacHash) Reset() { g.message = g.message[:0] }

func (g *gmacHash) Size() int { return gcmStandardTag }

func (g *gmacHash) BlockSize() int { return aes.BlockSize }
