package aesgcm

import (
	"bytes"
	"fmt"
	"testing"
)

// A message of every length with any bit of it, of the nonce or of the additional data changed is not opened, and nothing
// of it is left in the output, be it in place or not.
func TestEveryFlippedBit(t *testing.T) {
	for _, impl := range implementations {
		for _, keyLen := range keyLens {
			t.Run(fmt.Sprint(impl.name, 8*keyLen), func(t *testing.T) {
				r := newRandom()
				aead := impl.new(t, r.bytes(keyLen))
				for _, n := range []int{0, 1, 15, 16, 17, 64, 65, 100, 129, 193, 255, 256, 300} {
					nonce, text, aad := r.bytes(nonceSize), r.bytes(n), r.bytes(12)
					sealed := aead.Seal(nil, nonce, text, aad)
					out := make([]byte, n)
					for _, part := range [][]byte{sealed, nonce, aad} {
						for bit := range 8 * len(part) {
							part[bit/8] ^= 1 << (bit % 8)
							copy(out, text)
							inPlace := bytes.Clone(sealed)
							if _, err := aead.Open(out[:0], nonce, sealed, aad); err == nil || !bytes.Equal(out, make([]byte, n)) {
								t.Fatalf("%d bytes, bit %d: %v, output %x", n, bit, err, out)
							}
							if _, err := aead.Open(inPlace[:0], nonce, inPlace, aad); err == nil || !bytes.Equal(inPlace[:n], make([]byte, n)) {
								t.Fatalf("%d bytes, bit %d, in place: %v, output %x", n, bit, err, inPlace)
							}
							part[bit/8] ^= 1 << (bit % 8)
						}
					}
					if opened, err := aead.Open(out[:0], nonce, sealed, aad); err != nil || !bytes.Equal(opened, text) {
						t.Fatalf("%d bytes, nothing changed: %v", n, err)
					}
				}
			})
		}
	}
}

// A message that has lost its end, or has more of it, is not opened; one that has no room for a tag neither.
func TestCutMessage(t *testing.T) {
	for _, impl := range implementations {
		t.Run(impl.name, func(t *testing.T) {
			r := newRandom()
			aead := impl.new(t, r.bytes(16))
			nonce, aad := r.bytes(nonceSize), r.bytes(8)
			sealed := append(aead.Seal(nil, nonce, r.bytes(300), aad), 0)
			for n := range len(sealed) + 1 {
				if _, err := aead.Open(nil, nonce, sealed[:n], aad); (err == nil) != (n == len(sealed)-1) {
					t.Errorf("%d of %d bytes: %v", n, len(sealed)-1, err)
				}
			}
			for n := range len(aad) {
				if _, err := aead.Open(nil, nonce, sealed[:len(sealed)-1], aad[:n]); err == nil {
					t.Errorf("opened with %d bytes of additional data", n)
				}
			}
		})
	}
}

// Both implementations refuse the same overlaps: output may begin with the input, or have nothing of it.
func TestOverlap(t *testing.T) {
	const n, space = 40, 200
	nonce := make([]byte, nonceSize)
	for _, length := range []int{0, 1, n} {
		for at := range space - n - tagSize {
			for _, aadAt := range []int{-1, 0, 70, 71, 85, 86, 87, 125, 126, 127, 128, 140} {
				var sealed, opened [2]bool
				for i, impl := range implementations {
					aead := impl.new(t, make([]byte, 16))
					memory := make([]byte, space)
					var aad []byte
					if aadAt >= 0 {
						aad = memory[aadAt:][:16]
					}
					text := memory[at:][:length]
					sealed[i] = panics(func() { aead.Seal(memory[70:70], nonce, text, aad) })
					message := memory[at:][:length+tagSize]
					opened[i] = panics(func() { aead.Open(memory[70:70], nonce, message, aad) })
				}
				if sealed[0] != sealed[1] || opened[0] != opened[1] {
					t.Fatalf("%d bytes at %d, additional data at %d, output at 70: Seal panics %v, Open %v", length, at, aadAt, sealed, opened)
				}
			}
		}
	}
}
