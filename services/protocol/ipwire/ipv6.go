package ipwire

import (
	"encoding/binary"
	"net/netip"
)

// IPv6HeaderLen is the length of the fixed IPv6 header, in bytes.
const IPv6HeaderLen = 40

// IPv6 is a view of one IPv6 datagram, RFC 8200 section 3: fixed header,
// extension headers and payload.
type IPv6 []byte

// ParseIPv6 returns the datagram at the start of b, cut to its payload length.
// Jumbograms (RFC 2675) are not understood: a payload length of 0 is an empty
// payload.
func ParseIPv6(b []byte) (IPv6, error) {
	if len(b) == 0 || len(b) < IPv6HeaderLen && b[0]>>4 == 6 {
		return nil, ErrTruncated
	}
	if b[0]>>4 != 6 {
		return nil, ErrVersion
	}
	total := IPv6HeaderLen + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) {
		return nil, ErrTruncated
	}
	return IPv6(b[:total]), nil
}

// TrafficClass is DSCP (6 bits) and ECN (2 bits).
func (h IPv6) TrafficClass() uint8 { return h[0]<<4 | h[1]>>4 }

// FlowLabel is the 20-bit flow label, RFC 6437.
func (h IPv6) FlowLabel() uint32 { return binary.BigEndian.Uint32(h[0:]) & 0xfffff }

// PayloadLen is the length field: all that follows the fixed header, in bytes.
func (h IPv6) PayloadLen() int { return int(binary.BigEndian.Uint16(h[4:])) }

// NextHeader is the type of the first header after the fixed one.
func (h IPv6) NextHeader() uint8 { return h[6] }

// HopLimit is the remaining number of hops.
func (h IPv6) HopLimit() uint8 { return h[7] }

// Src is the source address.
func (h IPv6) Src() netip.Addr { return netip.AddrFrom16([16]byte(h[8:24])) }

// Dst is the destination address.
func (h IPv6) Dst() netip.Addr { return netip.AddrFrom16([16]byte(h[24:40])) }

// Payload is what follows the fixed header: extension headers first.
func (h IPv6) Payload() []byte { return h[IPv6HeaderLen:] }

// SetTrafficClass sets DSCP and ECN.
func (h IPv6) SetTrafficClass(v uint8) {
	h[0] = h[0]&0xf0 | v>>4
	h[1] = h[1]&0x0f | v<<4
}

// SetHopLimit sets the remaining number of hops.
func (h IPv6) SetHopLimit(v uint8) { h[7] = v }

// IPv6Header has the fields of a fixed header, for PutIPv6.
type IPv6Header struct {
	TrafficClass uint8
	FlowLabel    uint32 // the low 20 bits
	NextHeader   uint8
	HopLimit     uint8
	Src, Dst     netip.Addr // IPv6
}

// PutIPv6 writes a fixed header to the start of b, for a datagram of len(b)
// bytes, and returns the view. It fails when b is shorter than a header or too
// long for the length field, or an address is not IPv6.
func PutIPv6(b []byte, f IPv6Header) (IPv6, error) {
	if len(b) < IPv6HeaderLen || len(b)-IPv6HeaderLen > 0xffff {
		return nil, ErrLength
	}
	if !f.Src.Is6() || !f.Dst.Is6() {
		return nil, ErrVersion
	}
	h, src, dst := IPv6(b), f.Src.As16(), f.Dst.As16()
	binary.BigEndian.PutUint32(h, 6<<28|uint32(f.TrafficClass)<<20|f.FlowLabel&0xfffff)
	binary.BigEndian.PutUint16(h[4:], uint16(len(b)-IPv6HeaderLen))
	h[6], h[7] = f.NextHeader, f.HopLimit
	copy(h[8:], src[:])
	copy(h[24:], dst[:])
	return h, nil
}
