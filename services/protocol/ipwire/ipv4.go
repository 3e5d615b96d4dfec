package ipwire

import (
	"encoding/binary"
	"net/netip"
)

// IPv4MinHeaderLen is the length of an IPv4 header without options, in bytes.
const IPv4MinHeaderLen = 20

// IPv4 is a view of one IPv4 datagram, RFC 791 section 3.1: header, options and payload.
type IPv4 []byte

// ParseIPv4 returns the datagram at the start of b, cut to its total length.
// The header checksum is not verified: see ChecksumOK.
func ParseIPv4(b []byte) (IPv4, error) {
	if len(b) < IPv4MinHeaderLen {
		return nil, ErrTruncated
	}
	if b[0]>>4 != 4 {
		return nil, ErrVersion
	}
	total, header := int(binary.BigEndian.Uint16(b[2:])), int(b[0]&15)*4
	switch {
	case header < IPv4MinHeaderLen:
		return nil, ErrHeaderLength
	case total < header:
		return nil, ErrLength
	case total > len(b):
		return nil, ErrTruncated
	}
	return IPv4(b[:total]), nil
}

// HeaderLen is the length of the header with its options, in bytes.
func (h IPv4) HeaderLen() int { return int(h[0]&15) * 4 }

// TOS is the former type of service: DSCP (6 bits) and ECN (2 bits), RFC 2474 and 3168.
func (h IPv4) TOS() uint8 { return h[1] }

// TotalLen is the length field: header and payload, in bytes.
func (h IPv4) TotalLen() int { return int(binary.BigEndian.Uint16(h[2:])) }

// ID is the identification of the datagram's fragments.
func (h IPv4) ID() uint16 { return binary.BigEndian.Uint16(h[4:]) }

// DontFragment is the DF flag.
func (h IPv4) DontFragment() bool { return h[6]&0x40 != 0 }

// MoreFragments is the MF flag.
func (h IPv4) MoreFragments() bool { return h[6]&0x20 != 0 }

// FragmentOffset is the payload's place in the whole datagram, in bytes.
func (h IPv4) FragmentOffset() int { return int(binary.BigEndian.Uint16(h[6:])&0x1fff) * 8 }

// TTL is the time to live, in hops.
func (h IPv4) TTL() uint8 { return h[8] }

// Protocol is the payload's protocol number.
func (h IPv4) Protocol() uint8 { return h[9] }

// Checksum is the header checksum as it stands.
func (h IPv4) Checksum() uint16 { return binary.BigEndian.Uint16(h[10:]) }

// Src is the source address.
func (h IPv4) Src() netip.Addr { return netip.AddrFrom4([4]byte(h[12:16])) }

// Dst is the destination address.
func (h IPv4) Dst() netip.Addr { return netip.AddrFrom4([4]byte(h[16:20])) }

// Options are the header's option bytes, often none.
func (h IPv4) Options() []byte { return h[IPv4MinHeaderLen:h.HeaderLen()] }

// Payload is what follows the header, up to the total length.
func (h IPv4) Payload() []byte { return h[h.HeaderLen():] }

// ChecksumOK verifies the header checksum.
func (h IPv4) ChecksumOK() bool { return Sum(h[:h.HeaderLen()]) == 0xffff }

// SetTOS sets DSCP and ECN; UpdateChecksum must follow.
func (h IPv4) SetTOS(v uint8) { h[1] = v }

// SetID sets the identification; UpdateChecksum must follow.
func (h IPv4) SetID(id uint16) { binary.BigEndian.PutUint16(h[4:], id) }

// SetTTL sets the time to live; UpdateChecksum must follow.
func (h IPv4) SetTTL(v uint8) { h[8] = v }

// SetDontFragment sets or clears DF; UpdateChecksum must follow.
func (h IPv4) SetDontFragment(on bool) {
	h[6] &^= 0x40
	if on {
		h[6] |= 0x40
	}
}

// UpdateChecksum computes the header checksum and stores it.
func (h IPv4) UpdateChecksum() {
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^Sum(h[:h.HeaderLen()]))
}

// IPv4Header has the fields of a header without options, for PutIPv4.
type IPv4Header struct {
	TOS          uint8
	ID           uint16
	DontFragment bool
	TTL          uint8
	Protocol     uint8
	Src, Dst     netip.Addr // IPv4
}

// PutIPv4 writes a header without options, its checksum included, to the start
// of b, for a datagram of len(b) bytes, and returns the view. It fails when b is
// shorter than a header or longer than 65535, or an address is not IPv4.
func PutIPv4(b []byte, f IPv4Header) (IPv4, error) {
	if len(b) < IPv4MinHeaderLen || len(b) > 0xffff {
		return nil, ErrLength
	}
	if !f.Src.Is4() || !f.Dst.Is4() {
		return nil, ErrVersion
	}
	h, src, dst := IPv4(b), f.Src.As4(), f.Dst.As4()
	h[0], h[1] = 0x45, f.TOS
	binary.BigEndian.PutUint16(h[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(h[4:], f.ID)
	h[6], h[7], h[8], h[9] = 0, 0, f.TTL, f.Protocol
	h.SetDontFragment(f.DontFragment)
	copy(h[12:], src[:])
	copy(h[16:], dst[:])
	h.UpdateChecksum()
	return h, nil
}
