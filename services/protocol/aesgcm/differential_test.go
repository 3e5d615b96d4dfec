package aesgcm

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"testing"
)

const margin = 64 // bytes on both sides of a buffer, which must stay as they are

// buffer has its bytes anywhere between two margins.
type buffer struct{ whole, margins []byte }

func newBuffer(r random, n int) *buffer {
	b := &buffer{whole: r.bytes(n + 4*margin)}
	b.margins = bytes.Clone(b.whole)
	return b
}

// at returns n bytes that begin shift bytes behind the first margin.
func (b *buffer) at(shift, n int) []byte { return b.whole[margin+shift:][:n:n] }

// intact says whether what is not at(shift, n) is as it was, and prepares for the next time.
func (b *buffer) intact(shift, n int) bool {
	begin, end := margin+shift, margin+shift+n
	fine := bytes.Equal(b.whole[:begin], b.margins[:begin]) && bytes.Equal(b.whole[end:], b.margins[end:])
	copy(b.whole, b.margins)
	return fine
}

// comparison compares an implementation with the standard library.
type comparison struct {
	aead, standard cipher.AEAD
	in, out        *buffer
	want           []byte
}

// compare seals and opens, in place and elsewhere, at any alignment, and looks that nothing else is written.
func (c *comparison) compare(t *testing.T, nonce, text, aad []byte, shift int) {
	t.Helper()
	n := len(text)
	c.want = c.standard.Seal(c.want[:0], nonce, text, aad)
	for _, out := range []*buffer{c.in, c.out} { // the first is in place
		in := c.in.at(shift, n+tagSize)[:n]
		copy(in, text)
		outShift := shift
		if out != c.in {
			outShift = 7 * shift % margin
		}
		sealed := c.aead.Seal(out.at(outShift, n+tagSize)[:0], nonce, in, aad)
		if !bytes.Equal(sealed, c.want) {
			t.Fatalf("%d bytes, %d of additional data, shift %d: sealed %x, want %x", n, len(aad), shift, sealed, c.want)
		}
		if out != c.in && !bytes.Equal(in, text) {
			t.Fatalf("%d bytes: Seal wrote its input", n)
		}
		if !out.intact(outShift, n+tagSize) {
			t.Fatalf("%d bytes, shift %d: Seal wrote beside its output", n, shift)
		}
		copy(c.in.at(shift, n+tagSize), c.want)
		opened, err := c.aead.Open(out.at(outShift, n)[:0], nonce, c.in.at(shift, n+tagSize), aad)
		if err != nil || !bytes.Equal(opened, text) {
			t.Fatalf("%d bytes, %d of additional data, shift %d: opened %x, %v", n, len(aad), shift, opened, err)
		}
		if out == c.in && !bytes.Equal(c.in.at(shift+n, tagSize), c.want[n:]) {
			t.Fatalf("%d bytes: Open wrote the tag", n)
		}
		if out == c.in {
			copy(c.in.at(shift+n, tagSize), c.in.margins[margin+shift+n:])
		}
		if !out.intact(outShift, n) {
			t.Fatalf("%d bytes, shift %d: Open wrote beside its output", n, shift)
		}
		copy(c.in.whole, c.in.margins)
	}
}

// Every length of a text up to 4,200 bytes with every length of additional data up to 64, for the three sizes of keys.
func TestEveryLength(t *testing.T) {
	const longest, longestAAD = 4200, 64
	r := newRandom()
	for _, keyLen := range keyLens {
		t.Run(fmt.Sprint(8*keyLen), func(t *testing.T) {
			c := comparison{in: newBuffer(r, longest+tagSize), out: newBuffer(r, longest+tagSize)}
			text := r.bytes(longest)
			for aadLen := range longestAAD + 1 {
				c.aead, c.standard = both(t, r.bytes(keyLen))
				aad := r.bytes(aadLen + 1)[1:]
				for n := range longest + 1 {
					nonce := text[n%7:][:nonceSize]
					c.compare(t, nonce, text[:n], aad, (n+aadLen)%margin)
				}
			}
		})
	}
}

// Additional data of any length; all of ESP's has one block.
func TestLongAdditionalData(t *testing.T) {
	r := newRandom()
	c := comparison{in: newBuffer(r, 100+tagSize), out: newBuffer(r, 100+tagSize)}
	c.aead, c.standard = both(t, r.bytes(16))
	nonce, text, aad := r.bytes(nonceSize), r.bytes(100), r.bytes(70000)
	for n := range 1100 {
		c.compare(t, nonce, text[:n%100], aad[:n], n%margin)
	}
	for _, n := range []int{8191, 65535, 65536, 70000} {
		c.compare(t, nonce, text, aad[:n], 1)
	}
}

// The counter carries into its second byte at 4,064 bytes, and into its third at 1,048,544.
func TestCounterCarries(t *testing.T) {
	const carry = 1<<20 - 32
	r := newRandom()
	c := comparison{in: newBuffer(r, carry+600), out: newBuffer(r, carry+600)}
	text := r.bytes(carry + 500)
	for _, keyLen := range keyLens {
		c.aead, c.standard = both(t, r.bytes(keyLen))
		for n := carry - 300; n <= len(text); n += 61 {
			c.compare(t, text[:nonceSize], text[:n], text[:8], n%margin)
		}
	}
}

// Packets may share a cipher.
func TestConcurrent(t *testing.T) {
	r := newRandom()
	aead, standard := both(t, r.bytes(16))
	nonce, text := r.bytes(nonceSize), r.bytes(3000)
	for i := range 4 {
		want := standard.Seal(nil, nonce, text[i:], nil)
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 5000 {
				if got := aead.Seal(nil, nonce, text[i:], nil); !bytes.Equal(got, want) {
					t.Fatal("another message's ciphertext")
				}
			}
		})
	}
}

func FuzzSealOpen(f *testing.F) {
	r := newRandom()
	for i, keyLen := range keyLens {
		for _, n := range []int{0, 1, 64, 200, 256, 777} {
			f.Add(r.bytes(keyLen), r.bytes(nonceSize), r.bytes(n), r.bytes(4*i+n%20), uint16(n), byte(i))
		}
	}
	f.Fuzz(func(t *testing.T, key, nonce, text, aad []byte, at uint16, change byte) {
		key = append(key, make([]byte, 32)...)[:keyLens[len(key)%3]]
		nonce = append(nonce, make([]byte, nonceSize)...)[:nonceSize]
		c := comparison{in: newBuffer(r, len(text)+tagSize), out: newBuffer(r, len(text)+tagSize)}
		c.aead, c.standard = both(t, key)
		c.compare(t, nonce, text, aad, int(at)%margin)

		// A changed message, and one that nobody sealed.
		forged := bytes.Clone(c.want)
		forged[int(at)%len(forged)] ^= change
		for _, message := range [][]byte{forged, text} {
			got, err := c.aead.Open(nil, nonce, message, aad)
			want, wantErr := c.standard.Open(nil, nonce, message, aad)
			if (err == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
				t.Fatalf("%x opened to %x, %v; the standard library: %x, %v", message, got, err, want, wantErr)
			}
		}
	})
}
