package ipwire

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Sum returns the ones' complement sum of b's 16-bit words, RFC 1071, not
// complemented; an odd last byte counts as the high half of a word. A checksum
// field holds ^Sum; bytes that include a right checksum sum to 0xffff.
//
// The sum does not depend on the byte order (RFC 1071 section 2(B)), so that it
// runs over the machine's widest words and swaps once at the end. Two chains of
// carries that do not wait for each other take half the time of one. A chain that
// began without a carry cannot carry again when its own is added.
func Sum(b []byte) uint16 {
	var x, y, cx, cy uint64
	for len(b) >= 64 {
		x, cx = bits.Add64(x, binary.LittleEndian.Uint64(b), 0)
		x, cx = bits.Add64(x, binary.LittleEndian.Uint64(b[8:]), cx)
		x, cx = bits.Add64(x, binary.LittleEndian.Uint64(b[16:]), cx)
		x, cx = bits.Add64(x, binary.LittleEndian.Uint64(b[24:]), cx)
		x, _ = bits.Add64(x, 0, cx)
		y, cy = bits.Add64(y, binary.LittleEndian.Uint64(b[32:]), 0)
		y, cy = bits.Add64(y, binary.LittleEndian.Uint64(b[40:]), cy)
		y, cy = bits.Add64(y, binary.LittleEndian.Uint64(b[48:]), cy)
		y, cy = bits.Add64(y, binary.LittleEndian.Uint64(b[56:]), cy)
		y, _ = bits.Add64(y, 0, cy)
		b = b[64:]
	}
	for len(b) >= 8 {
		x, cx = bits.Add64(x, binary.LittleEndian.Uint64(b), 0)
		x, _ = bits.Add64(x, 0, cx)
		b = b[8:]
	}
	x, cx = bits.Add64(x, y, 0)
	x, cx = bits.Add64(x, rest(b), cx)
	x, _ = bits.Add64(x, 0, cx)
	return bits.ReverseBytes16(fold(x))
}

// rest returns up to 7 bytes as a word of which the others are 0.
func rest(b []byte) (word uint64) {
	if len(b) >= 4 {
		word, b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
		for i, c := range b {
			word |= uint64(c) << (32 + 8*i)
		}
		return word
	}
	for i, c := range b {
		word |= uint64(c) << (8 * i)
	}
	return word
}

// fold adds the four words of a sum to one.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16&0xffff + acc>>32 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return uint16(acc>>16 + acc)
}

// AddSums adds two sums.
func AddSums(a, b uint16) uint16 {
	s := uint32(a) + uint32(b)
	return uint16(s>>16 + s)
}

// JoinSums returns the sum of two adjoining byte strings from their own sums: b
// follows a, which is aLen bytes long. After an odd length b's bytes trade places.
func JoinSums(a uint16, aLen int, b uint16) uint16 {
	if aLen%2 != 0 {
		b = bits.ReverseBytes16(b)
	}
	return AddSums(a, b)
}

// UpdateChecksum returns a checksum field's new value when one aligned 16-bit
// word that it covers changes from old to new, RFC 1624 equation 3.
func UpdateChecksum(checksum, old, new uint16) uint16 {
	return ^AddSums(AddSums(^checksum, ^old), new)
}

// PseudoHeader returns the sum of the pseudo-header of RFC 9293 section 3.1 or, for
// IPv6, RFC 8200 section 8.1; length is the transport header's and its data's.
// Both addresses are of one family.
func PseudoHeader(src, dst netip.Addr, proto uint8, length int) uint16 {
	var sum uint16
	if src.Is4() {
		s, d := src.As4(), dst.As4()
		sum = AddSums(Sum(s[:]), Sum(d[:]))
	} else {
		s, d := src.As16(), dst.As16()
		sum = AddSums(Sum(s[:]), Sum(d[:]))
	}
	sum = AddSums(sum, uint16(proto))
	return AddSums(AddSums(sum, uint16(length>>16)), uint16(length))
}
