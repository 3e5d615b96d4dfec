package transform

import (
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
)

// maxBlocks is how often prf+ runs at most: its counter is one octet.
const maxBlocks = 255

// Sum appends prf(key, parts[0] | parts[1] | …), OutputLen bytes, to dst. A key of any length
// is accepted: HMAC takes it as RFC 2104 section 2 says, the AES-based functions make 16 bytes
// of it (RFC 4434 section 2, RFC 4615 section 3). A PRF that is not of the table panics.
func (p PRF) Sum(dst, key []byte, parts ...[]byte) []byte {
	h := p.keyed(key)
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(dst)
}

// Plus appends the first n bytes of prf+(key, seed[0] | seed[1] | …) to dst, RFC 7296 section
// 2.13. The error is ErrOutputLength when n is negative or above 255 × OutputLen, with dst as it
// was. A PRF that is not of the table panics.
func (p PRF) Plus(dst []byte, n int, key []byte, seed ...[]byte) ([]byte, error) {
	if n < 0 || n > maxBlocks*p.OutputLen {
		return dst, fmt.Errorf("%w: %d bytes of %v", ErrOutputLength, n, p)
	}
	h := p.keyed(key)
	block, counter := make([]byte, 0, h.Size()), []byte{0}
	for n > 0 {
		counter[0]++
		h.Reset()
		h.Write(block)
		for _, part := range seed {
			h.Write(part)
		}
		h.Write(counter)
		block = h.Sum(block[:0])
		dst = append(dst, block[:min(n, len(block))]...)
		n -= len(block)
	}
	return dst, nil
}

// keyed returns the function under a key of any length.
func (p PRF) keyed(key []byte) hash.Hash {
	switch p.ID {
	case PRFHMACSHA2_256:
		return hmac.New(sha256.New, key)
	case PRFHMACSHA2_384:
		return hmac.New(sha512.New384, key)
	case PRFHMACSHA2_512:
		return hmac.New(sha512.New, key)
	case PRFAES128XCBC:
		return keyedXCBC(key)
	case PRFAES128CMAC:
		return keyedCMAC(key)
	}
	panic("transform: a PRF that is not of the table")
}

// keyedXCBC is RFC 4434 section 2: a short key is padded with zeros, a long one hashed under
// the key zero.
func keyedXCBC(key []byte) hash.Hash {
	var k [aes.BlockSize]byte
	if len(key) <= len(k) {
		copy(k[:], key)
	} else {
		k = hashed(newXCBC, key)
	}
	return fixedKey(newXCBC, k)
}

// keyedCMAC is RFC 4615 section 3: a key of another length than 16 is hashed under the key zero.
func keyedCMAC(key []byte) hash.Hash {
	if len(key) == aes.BlockSize {
		return fixedKey(newCMAC, [aes.BlockSize]byte(key))
	}
	return fixedKey(newCMAC, hashed(newCMAC, key))
}

// hashed is the MAC of a key under the key zero.
func hashed(mac func([]byte) (hash.Hash, error), key []byte) [aes.BlockSize]byte {
	h := fixedKey(mac, [aes.BlockSize]byte{})
	h.Write(key)
	return [aes.BlockSize]byte(h.Sum(nil))
}

func fixedKey(mac func([]byte) (hash.Hash, error), key [aes.BlockSize]byte) hash.Hash {
	h, err := mac(key[:])
	if err != nil { // AES refuses no key of 16 bytes
		panic(err)
	}
	return h
}
