package transform

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"hash"
)

// cbcMAC is what CMAC (RFC 4493) and XCBC-MAC (RFC 3566) have in common: CBC-MAC under
// one key whose last block is masked with one of two others, by whether the message
// ends with a whole block or must be padded with 1 0 0 … .
type cbcMAC struct {
	block         cipher.Block
	whole, padded [aes.BlockSize]byte // masks
	chain         [aes.BlockSize]byte // of all blocks but the last
	last          [aes.BlockSize]byte // the bytes since, 1 to 16 after the first Write
	fill          int
	sum           [aes.BlockSize]byte
}

// newCMAC is AES-CMAC with a key of 16 bytes; RFC 4493 section 2.3.
func newCMAC(key []byte) (hash.Hash, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	m := &cbcMAC{block: block}
	block.Encrypt(m.whole[:], m.whole[:])
	double(&m.whole)
	m.padded = m.whole
	double(&m.padded)
	return m, nil
}

// double multiplies by x in GF(2^128), without a branch on the secret; RFC 4493 section 2.3.
func double(b *[aes.BlockSize]byte) {
	carry := b[0] >> 7
	for i := range aes.BlockSize - 1 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[aes.BlockSize-1] = b[aes.BlockSize-1]<<1 ^ 0x87&-carry
}

// newXCBC is AES-XCBC-MAC, RFC 3566 section 4: three keys, of which the first encrypts.
func newXCBC(key []byte) (hash.Hash, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	derive := func(constant byte) (k [aes.BlockSize]byte) {
		for i := range k {
			k[i] = constant
		}
		block.Encrypt(k[:], k[:])
		return k
	}
	k1 := derive(1)
	m := &cbcMAC{whole: derive(2), padded: derive(3)}
	if m.block, err = aes.NewCipher(k1[:]); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *cbcMAC) Size() int { return aes.BlockSize }

func (m *cbcMAC) BlockSize() int { return aes.BlockSize }

func (m *cbcMAC) Reset() {
	m.chain, m.fill = [aes.BlockSize]byte{}, 0
}

// Write never fails. A whole block waits in last until more follows: it may be the last.
func (m *cbcMAC) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		if m.fill == aes.BlockSize {
			m.advance(m.last[:])
			m.fill = 0
		}
		for m.fill == 0 && len(p) > aes.BlockSize {
			m.advance(p[:aes.BlockSize])
			p = p[aes.BlockSize:]
		}
		n := copy(m.last[m.fill:], p)
		m.fill, p = m.fill+n, p[n:]
	}
	return written, nil
}

func (m *cbcMAC) advance(block []byte) {
	subtle.XORBytes(m.chain[:], m.chain[:], block)
	m.block.Encrypt(m.chain[:], m.chain[:])
}

// Sum appends the MAC of what was written, and changes nothing of it.
func (m *cbcMAC) Sum(dst []byte) []byte {
	mask := &m.whole
	m.sum = [aes.BlockSize]byte{}
	copy(m.sum[:], m.last[:m.fill])
	if m.fill < aes.BlockSize {
		mask = &m.padded
		m.sum[m.fill] = 0x80
	}
	subtle.XORBytes(m.sum[:], m.sum[:], m.chain[:])
	subtle.XORBytes(m.sum[:], m.sum[:], mask[:])
	m.block.Encrypt(m.sum[:], m.sum[:])
	return append(dst, m.sum[:]...)
}
