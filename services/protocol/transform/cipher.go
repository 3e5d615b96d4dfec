package transform

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"fmt"
)

// Cipher encrypts and decrypts bodies in place, and protects them against nothing: use
// it only with a MAC that was verified before Decrypt. It is not safe for concurrent
// use and allocates nothing.
//
// iv is the packet's, of IVLen bytes; a body is a multiple of Block bytes long and
// shorter than 2^32. Anything else is the caller's bug and panics.
type Cipher interface {
	Encrypt(body, iv []byte)
	Decrypt(body, iv []byte)
}

// NewCipher returns the cipher for key material of KeymatLen bytes, which the caller may
// then clear. Errors: ErrKeyLength, and ErrUnknown for a combined mode and for a row
// that is not of the table.
func (e Encryption) NewCipher(keymat Keymat) (Cipher, error) {
	if len(keymat) != e.KeymatLen() {
		return nil, fmt.Errorf("%w: %s needs %d bytes, got %d", ErrKeyLength, e.Name, e.KeymatLen(), len(keymat))
	}
	key, salt := keymat[:e.KeyLen], keymat[e.KeyLen:]
	switch e.ID {
	case EncrNull:
		return null{}, nil
	case EncrAESCBC:
		return newCBC(aes.NewCipher(key))
	case Encr3DES:
		return newCBC(des.NewTripleDESCipher(key))
	case EncrAESCTR:
		return newCTR(key, salt)
	}
	return nil, fmt.Errorf("%w: %q is no cipher without integrity", ErrUnknown, e.Name)
}

// null is RFC 2410.
type null struct{}

func (null) Encrypt(_, _ []byte) {}
func (null) Decrypt(_, _ []byte) {}

// blockMode is what crypto/cipher's CBC modes are beside a BlockMode; crypto/tls relies
// on it in the same way.
type blockMode interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// cbc is RFC 2451 and RFC 3602.
type cbc struct {
	encrypter, decrypter blockMode
}

func newCBC(block cipher.Block, err error) (Cipher, error) {
	if err != nil {
		return nil, err
	}
	iv := make([]byte, block.BlockSize())
	encrypter, ok1 := cipher.NewCBCEncrypter(block, iv).(blockMode)
	decrypter, ok2 := cipher.NewCBCDecrypter(block, iv).(blockMode)
	if !ok1 || !ok2 {
		return nil, fmt.Errorf("%w: this CBC's IV cannot be set", ErrUnknown)
	}
	return &cbc{encrypter, decrypter}, nil
}

func (c *cbc) Encrypt(body, iv []byte) {
	c.encrypter.SetIV(iv)
	c.encrypter.CryptBlocks(body, body)
}

func (c *cbc) Decrypt(body, iv []byte) {
	c.decrypter.SetIV(iv)
	c.decrypter.CryptBlocks(body, body)
}

// ctr is RFC 3686: the counter block is the salt, which the RFC calls nonce, the IV, and
// a block counter that begins at 1.
type ctr struct {
	stream keyStream
	salt   [4]byte
}

func newCTR(key, salt []byte) (Cipher, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &ctr{stream: keyStream{block: block}, salt: [4]byte(salt)}, nil
}

func (c *ctr) Encrypt(body, iv []byte) {
	if len(iv) != 8 {
		panic("transform: counter mode IV of wrong length")
	}
	clear(c.stream.counter[:])
	copy(c.stream.counter[:], c.salt[:])
	copy(c.stream.counter[4:], iv)
	c.stream.counter[15] = 1
	c.stream.xor(body, body)
}

// Decrypt is Encrypt: counter mode is its own inverse.
func (c *ctr) Decrypt(body, iv []byte) { c.Encrypt(body, iv) }
