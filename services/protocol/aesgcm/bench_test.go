package aesgcm

import (
	"crypto/cipher"
	"fmt"
	"testing"
)

func BenchmarkSeal(b *testing.B) {
	benchmark(b, func(b *testing.B, aead cipher.AEAD, n int) {
		buf, nonce, aad := make([]byte, n+tagSize), make([]byte, nonceSize), make([]byte, 8)
		for b.Loop() {
			aead.Seal(buf[:0], nonce, buf[:n], aad)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchmark(b, func(b *testing.B, aead cipher.AEAD, n int) {
		nonce, aad := make([]byte, nonceSize), make([]byte, 8)
		sealed, space := aead.Seal(nil, nonce, make([]byte, n), aad), make([]byte, n)
		for b.Loop() {
			if _, err := aead.Open(space[:0], nonce, sealed, aad); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// benchmark runs f with both implementations, with the packet sizes that matter, and with AES-128 and AES-256.
func benchmark(b *testing.B, f func(b *testing.B, aead cipher.AEAD, n int)) {
	for _, impl := range implementations {
		for _, keyLen := range []int{16, 32} {
			aead := impl.new(b, make([]byte, keyLen))
			for _, n := range []int{64, 100, 576, 1400, 9000} {
				b.Run(fmt.Sprintf("%s-%d/%d", impl.name, 8*keyLen, n), func(b *testing.B) {
					b.SetBytes(int64(n))
					b.ReportAllocs()
					f(b, aead, n)
				})
			}
		}
	}
}
