//go:build !purego

package aesgcm

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"
	"unsafe"
)

func needAssembly(t *testing.T) {
	t.Helper()
	if !supported() {
		t.Skip("the CPU does not run the assembly")
	}
}

// A goal of the datapath is 2 KB for all of an SA.
func TestKeySize(t *testing.T) {
	if n := unsafe.Sizeof(assembled{}); n > 576 {
		t.Errorf("a key takes %d bytes", n)
	}
	var k key
	for name, offsets := range map[string][2]uintptr{
		"KEY_H16":    {unsafe.Offsetof(k.powers) + (powers-16)*unsafe.Sizeof(element{}), 64},
		"KEY_H1":     {unsafe.Offsetof(k.powers) + (powers-1)*unsafe.Sizeof(element{}), 304},
		"KEY_ROUNDS": {unsafe.Offsetof(k.round), 320},
		"KEY_N":      {unsafe.Offsetof(k.rounds), 560},
	} {
		if offsets[0] != offsets[1] {
			t.Errorf("%s is %d in the assembly and %d in Go", name, offsets[1], offsets[0])
		}
	}
}

// FIPS 197 appendix A: the key, and the last round key.
func TestKeyExpansion(t *testing.T) {
	needAssembly(t)
	for secret, last := range map[string]string{
		"2b7e151628aed2a6abf7158809cf4f3c":                                 "d014f9a8c9ee2589e13f0cc8b6630ca6",
		"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b":                 "e98ba06f448c773c8ecc720401002202",
		"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4": "fe4890d1e6188d0b046df344706c631e",
	} {
		var k key
		k.expand(unhex(t, secret))
		if got := k.round[k.rounds]; !slices.Equal(got[:], unhex(t, last)) {
			t.Errorf("%s: the last round key is %x, want %s", secret, got, last)
		}
	}
}

// RFC 8452 section 3, bit by bit: the product, then x^-1 128 times.
func slowDot(a, b element) element {
	var product [4]uint64
	for i := range 128 {
		if a[i/64]>>(i%64)&1 == 1 {
			for j := range 128 {
				product[(i+j)/64] ^= b[j/64] >> (j % 64) & 1 << ((i + j) % 64)
			}
		}
	}
	for range 128 {
		if product[0]&1 == 1 {
			product[0] ^= 1 // x^128 + x^127 + x^126 + x^121 + 1
			product[1] ^= 1<<57 | 1<<62 | 1<<63
			product[2] ^= 1
		}
		for i := range product {
			product[i] >>= 1
			if i < 3 {
				product[i] |= product[i+1] << 63
			}
		}
	}
	return element{product[0], product[1]}
}

func TestDot(t *testing.T) {
	needAssembly(t)
	r := newRandom()
	elements := []element{{}, {1}, {0, 1 << 63}, {^uint64(0), ^uint64(0)}, {0, 0x9204000000000000}}
	for range 300 {
		elements = append(elements, element{r.Uint64(), r.Uint64()})
	}
	for i, a := range elements {
		for _, b := range []element{elements[i%7], elements[(i*31+5)%len(elements)]} {
			if got, want := dot(a, b), slowDot(a, b); got != want {
				t.Errorf("dot(%x, %x) = %x, want %x", a, b, got, want)
			}
		}
	}
}

// RFC 8452 appendix A's example of POLYVAL.
func TestPolyval(t *testing.T) {
	needAssembly(t)
	parse := func(s string) element {
		b := unhex(t, s)
		return element{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
	}
	h, x1, x2 := parse("25629347589242761d31f826ba4b757b"), parse("4f4f95668c83dfb6401762bb2d01a262"), parse("d1a24ddd2721d006bbe45f20d3c9f362")
	s := dot(x1, h)
	s = dot(element{s[0] ^ x2[0], s[1] ^ x2[1]}, h)
	if want := parse("f7a3b47b846119fae5b7866cf5e5b77e"); s != want {
		t.Errorf("POLYVAL is %x, want %x", s, want)
	}
}

// The first power is the byte-reversed H times x, RFC 8452 appendix A; the others are powers of it.
func TestPowers(t *testing.T) {
	needAssembly(t)
	timesX := element{1<<1 | 1, 1<<62 | 1<<58 | 1<<57} // x^129 reduced, for dot takes x^128 away
	for _, first := range []byte{0x01, 0x7f, 0x80, 0xff} {
		h := [16]byte{0: first, 7: 0x80, 8: 0x01, 15: first}
		var k key
		k.raise(h)
		x := slowDot(element{binary.BigEndian.Uint64(h[8:]), binary.BigEndian.Uint64(h[:8])}, timesX)
		want := x
		for i, got := range slices.Backward(k.powers[:]) {
			if got != want {
				t.Fatalf("power %d is %x, want %x", powers-i, got, want)
			}
			want = slowDot(want, x)
		}
	}
}

// FIPS 197 section 5.1.1: the inverse, then the affine map.
func TestSubWord(t *testing.T) {
	needAssembly(t)
	multiply := func(a, b byte) (p byte) {
		for range 8 {
			p ^= a * (b & 1)
			a, b = a<<1^a>>7*0x1b, b>>1
		}
		return p
	}
	for i := range 256 {
		inverse := byte(1)
		for range 254 {
			inverse = multiply(inverse, byte(i))
		}
		want := byte(0x63)
		for turn := range 5 {
			want ^= bits.RotateLeft8(inverse, turn)
		}
		for at := range 4 {
			other := subWord(0) &^ (0xff << (8 * at))
			if got := subWord(uint32(i) << (8 * at)); got != other|uint32(want)<<(8*at) {
				t.Errorf("byte %d, %#02x: %#08x", at, i, got)
			}
		}
	}
}
