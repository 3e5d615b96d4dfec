package transform

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// keyStream is AES in counter mode, without the allocation that cipher.NewCTR makes for
// each message. The counter is the block's last 32 bits; the callers' message lengths
// keep it from wrapping.
type keyStream struct {
	block   cipher.Block
	counter [aes.BlockSize]byte
	out     [aes.BlockSize]byte
}

// xor applies the stream from the current counter on. dst and src are equally long and
// the same memory or disjoint.
func (k *keyStream) xor(dst, src []byte) {
	for len(src) > 0 {
		k.block.Encrypt(k.out[:], k.counter[:])
		low := k.counter[aes.BlockSize-4:]
		binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)+1)
		n := subtle.XORBytes(dst, src, k.out[:])
		dst, src = dst[n:], src[n:]
	}
}
