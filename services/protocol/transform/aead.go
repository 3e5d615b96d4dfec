package transform

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"sallyport.dev/sallyport/services/protocol/aesgcm"
)

// errOpen is the one answer of our own combined modes to a packet that is not authentic.
var errOpen = errors.New("transform: message authentication failed")

// NewAEAD splits key material of KeymatLen bytes and returns the cipher with the
// salt that begins each nonce. Both are independent of keymat's memory, which the
// caller may then clear. Errors: ErrKeyLength, and ErrUnknown for a row that is not a
// combined mode of the table.
//
// The cipher is not safe for concurrent use: some modes keep scratch space, so that a
// packet costs no allocation. In Seal and Open dst must either begin where the input
// does or not overlap with it. GMAC's Seal copies the plaintext and authenticates the
// additional data followed by it.
func (e Encryption) NewAEAD(keymat Keymat) (aead cipher.AEAD, salt []byte, err error) {
	if len(keymat) != e.KeymatLen() {
		return nil, nil, fmt.Errorf("%w: %s needs %d bytes, got %d", ErrKeyLength, e.Name, e.KeymatLen(), len(keymat))
	}
	key := keymat[:e.KeyLen]
	switch e.ID {
	case EncrAESGCM16, EncrAESGCM12, EncrAESGCM8:
		aead, err = newGCM(key, e.ICVLen)
	case EncrAESCCM16, EncrAESCCM12, EncrAESCCM8:
		aead, err = newCCM(key, e.SaltLen+e.IVLen, e.ICVLen)
	case EncrNullAESGMAC:
		aead, err = newGMAC(key)
	case EncrChaCha20Poly1305:
		aead, err = chacha20poly1305.New(key)
	default:
		err = fmt.Errorf("%w: %q is no combined mode", ErrUnknown, e.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	return aead, append([]byte(nil), keymat[e.KeyLen:]...), nil
}

// gcmStandardTag is the length of GCM's whole tag.
const gcmStandardTag = 16

func newGCM(key []byte, tagLen int) (cipher.AEAD, error) {
	if tagLen == gcmStandardTag {
		return aesgcm.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if tagLen < 12 {
		return newShortGCM(block, tagLen)
	}
	return cipher.NewGCMWithTagSize(block, tagLen)
}

// extend returns dst with n bytes more, and those bytes. It allocates when dst has too
// little capacity.
func extend(dst []byte, n int) (whole, tail []byte) {
	if total := len(dst) + n; cap(dst) >= total {
		whole = dst[:total]
	} else {
		whole = make([]byte, total)
		copy(whole, dst)
	}
	return whole, whole[len(dst):]
}

// scratch is space that grows to the longest packet seen, at most 64 KiB, and stays.
type scratch []byte

func (s *scratch) take(n int) []byte {
	if cap(*s) < n {
		*s = make([]byte, n)
	}
	return (*s)[:n]
}
