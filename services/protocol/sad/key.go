package sad

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// key is what finds an inbound SA, RFC 4301 section 4.1. An address that is no part of it
// is the zero one.
type key struct {
	spi      uint32
	dst, src netip.Addr
}

func (s *SA) key() key { return key{s.SPI, s.Destination, s.Source} }

// hashSPI is a permutation: SPIs never collide.
func hashSPI(spi uint32) uint32 {
	h := spi * 0x9e3779b1
	return h ^ h>>16
}

func (k key) hash() uint32 {
	return hashSPI(k.spi) ^ hash16(k.dst.As16())*3 ^ hash16(k.src.As16())*5
}

func hash16(b [16]byte) uint32 {
	h := binary.LittleEndian.Uint64(b[:])*0x9e3779b97f4a7c15 ^ bits.RotateLeft64(binary.LittleEndian.Uint64(b[8:]), 32)
	h *= 0xff51afd7ed558ccd
	return uint32(h ^ h>>32)
}
