package transform

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"math"
)

// ccm is AES-CCM, RFC 3610 and NIST SP 800-38C, built over crypto/aes. RFC 4309 uses it
// with nonces of 11 bytes: 4 are left for the message's length and the counter.
type ccm struct {
	stream keyStream // its block is the MAC's, too
	mac    [aes.BlockSize]byte
	fill   int // bytes XORed into mac since the last encryption
	nonce  int // 7 to 13 bytes
	tagLen int // 4, 6, … 16 bytes
}

func newCCM(key []byte, nonceLen, tagLen int) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &ccm{stream: keyStream{block: block}, nonce: nonceLen, tagLen: tagLen}, nil
}

func (c *ccm) NonceSize() int { return c.nonce }

func (c *ccm) Overhead() int { return c.tagLen }

// lengthLen is the size of the length field: L in RFC 3610, q in SP 800-38C.
func (c *ccm) lengthLen() int { return aes.BlockSize - 1 - c.nonce }

// maxLen is the longest message: what the length field holds, and no more blocks than 32
// bits count.
func (c *ccm) maxLen() uint64 {
	if l := c.lengthLen(); l < 4 {
		return 1<<(8*l) - 1
	}
	return math.MaxUint32
}

func (c *ccm) Seal(dst, nonce, plaintext, aad []byte) []byte {
	if len(nonce) != c.nonce {
		panic("transform: CCM nonce of wrong length")
	}
	if uint64(len(plaintext)) > c.maxLen() {
		panic("transform: message too long for CCM")
	}
	c.authenticate(nonce, plaintext, aad)
	n := len(plaintext)
	dst, out := extend(dst, n+c.tagLen)
	c.start(nonce)
	tag := c.sealTag()
	c.stream.xor(out[:n], plaintext)
	copy(out[n:], tag)
	return dst
}

// Open decrypts before it can verify, for CCM authenticates the plaintext (RFC 3610
// section 2.5). In place the plaintext is there before the verdict, and wiped when the
// verdict is bad: none of it is ever returned.
func (c *ccm) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(nonce) != c.nonce {
		panic("transform: CCM nonce of wrong length")
	}
	n := len(ciphertext) - c.tagLen
	if n < 0 || uint64(n) > c.maxLen() {
		return nil, errOpen
	}
	dst, out := extend(dst, n)
	c.start(nonce)
	c.stream.block.Encrypt(c.stream.out[:], c.stream.counter[:])
	var tag [aes.BlockSize]byte
	subtle.XORBytes(tag[:], ciphertext[n:], c.stream.out[:])
	c.stream.counter[aes.BlockSize-1] = 1
	c.stream.xor(out, ciphertext[:n])
	c.authenticate(nonce, out, aad)
	if subtle.ConstantTimeCompare(c.mac[:c.tagLen], tag[:c.tagLen]) != 1 {
		clear(out)
		return nil, errOpen
	}
	return dst, nil
}

// start makes the counter block A_0, RFC 3610 section 2.3.
func (c *ccm) start(nonce []byte) {
	clear(c.stream.counter[:])
	c.stream.counter[0] = byte(c.lengthLen() - 1)
	copy(c.stream.counter[1:], nonce)
}

// sealTag encrypts the MAC under A_0 and goes on to A_1. It is valid until the next call.
func (c *ccm) sealTag() []byte {
	c.stream.xor(c.mac[:], c.mac[:])
	return c.mac[:c.tagLen]
}

// authenticate leaves the CBC-MAC of B_0, the additional data and the message in c.mac,
// RFC 3610 section 2.2.
func (c *ccm) authenticate(nonce, message, aad []byte) {
	c.mac, c.fill = [aes.BlockSize]byte{}, 0
	l := c.lengthLen()
	c.mac[0] = byte((c.tagLen-2)/2<<3 | (l - 1))
	if len(aad) > 0 {
		c.mac[0] |= 0x40
	}
	copy(c.mac[1:], nonce)
	for i, n := 0, uint64(len(message)); i < l; i, n = i+1, n>>8 {
		c.mac[aes.BlockSize-1-i] = byte(n)
	}
	c.stream.block.Encrypt(c.mac[:], c.mac[:])
	if len(aad) > 0 {
		c.absorbLength(len(aad))
		c.absorb(aad)
		c.flush()
	}
	c.absorb(message)
	c.flush()
}

// absorbLength encodes the length of the additional data, RFC 3610 section 2.2.
func (c *ccm) absorbLength(n int) {
	var b [10]byte
	switch {
	case n < 1<<16-1<<8:
		binary.BigEndian.PutUint16(b[:], uint16(n))
		c.absorb(b[:2])
	case uint64(n) <= math.MaxUint32:
		b[0], b[1] = 0xff, 0xfe
		binary.BigEndian.PutUint32(b[2:], uint32(n))
		c.absorb(b[:6])
	default:
		b[0], b[1] = 0xff, 0xff
		binary.BigEndian.PutUint64(b[2:], uint64(n))
		c.absorb(b[:10])
	}
}

func (c *ccm) absorb(p []byte) {
	for len(p) > 0 {
		n := subtle.XORBytes(c.mac[c.fill:], c.mac[c.fill:], p)
		c.fill, p = c.fill+n, p[n:]
		if c.fill == aes.BlockSize {
			c.flush()
		}
	}
}

// flush ends a block, padded with zeros.
func (c *ccm) flush() {
	if c.fill > 0 {
		c.stream.block.Encrypt(c.mac[:], c.mac[:])
		c.fill = 0
	}
}
