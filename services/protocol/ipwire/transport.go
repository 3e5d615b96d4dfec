package ipwire

import (
	"encoding/binary"
	"net/netip"
)

// Lengths of the headers below without options, in bytes.
const (
	UDPHeaderLen    = 8
	TCPMinHeaderLen = 20
	ICMPHeaderLen   = 8
)

// UDP is a view of one UDP datagram, RFC 768: header and data.
type UDP []byte

// ParseUDP returns the UDP datagram in an IP payload, cut to its length field.
// A length of 0 (RFC 2675) is not accepted.
func ParseUDP(b []byte) (UDP, error) {
	if len(b) < UDPHeaderLen {
		return nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	switch {
	case n < UDPHeaderLen:
		return nil, ErrLength
	case n > len(b):
		return nil, ErrTruncated
	}
	return UDP(b[:n]), nil
}

// SrcPort is the source port.
func (h UDP) SrcPort() uint16 { return binary.BigEndian.Uint16(h[0:]) }

// DstPort is the destination port.
func (h UDP) DstPort() uint16 { return binary.BigEndian.Uint16(h[2:]) }

// Checksum is the checksum as it stands; 0 means that none was computed.
func (h UDP) Checksum() uint16 { return binary.BigEndian.Uint16(h[6:]) }

// Payload is the data.
func (h UDP) Payload() []byte { return h[UDPHeaderLen:] }

// PutUDP writes a header to the start of b, for a datagram of len(b) bytes, with
// a checksum over src, dst and b (RFC 768; RFC 8200 section 8.1), and returns the
// view. The data must already be in place. It fails when b is shorter than a
// header or longer than 65535, or the addresses are not of one family.
func PutUDP(b []byte, src, dst netip.AddrPort) (UDP, error) {
	if len(b) < UDPHeaderLen || len(b) > 0xffff {
		return nil, ErrLength
	}
	if family := src.Addr().BitLen(); family == 0 || family != dst.Addr().BitLen() {
		return nil, ErrVersion
	}
	binary.BigEndian.PutUint16(b[0:], src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	b[6], b[7] = 0, 0
	sum := ^AddSums(PseudoHeader(src.Addr(), dst.Addr(), ProtoUDP, len(b)), Sum(b))
	if sum == 0 {
		sum = 0xffff // 0 on the wire says "no checksum"
	}
	binary.BigEndian.PutUint16(b[6:], sum)
	return UDP(b), nil
}

// TCP is a view of one TCP segment, RFC 9293 section 3.1: header, options and data.
type TCP []byte

// ParseTCP returns the TCP segment in an IP payload.
func ParseTCP(b []byte) (TCP, error) {
	if len(b) < TCPMinHeaderLen {
		return nil, ErrTruncated
	}
	if n := TCP(b).HeaderLen(); n < TCPMinHeaderLen || n > len(b) {
		return nil, ErrHeaderLength
	}
	return TCP(b), nil
}

// SrcPort is the source port.
func (h TCP) SrcPort() uint16 { return binary.BigEndian.Uint16(h[0:]) }

// DstPort is the destination port.
func (h TCP) DstPort() uint16 { return binary.BigEndian.Uint16(h[2:]) }

// Seq is the sequence number.
func (h TCP) Seq() uint32 { return binary.BigEndian.Uint32(h[4:]) }

// Ack is the acknowledgment number.
func (h TCP) Ack() uint32 { return binary.BigEndian.Uint32(h[8:]) }

// HeaderLen is the length of the header with its options, in bytes.
func (h TCP) HeaderLen() int { return int(h[12]>>4) * 4 }

// Flags are the control bits, CWR to FIN.
func (h TCP) Flags() uint8 { return h[13] }

// Checksum is the checksum as it stands.
func (h TCP) Checksum() uint16 { return binary.BigEndian.Uint16(h[16:]) }

// Payload is the data.
func (h TCP) Payload() []byte { return h[h.HeaderLen():] }

// ICMP is a view of one ICMP (RFC 792) or ICMPv6 (RFC 4443) message.
type ICMP []byte

// ParseICMP returns the ICMP or ICMPv6 message in an IP payload.
func ParseICMP(b []byte) (ICMP, error) {
	if len(b) < ICMPHeaderLen {
		return nil, ErrTruncated
	}
	return ICMP(b), nil
}

// Type is the message type.
func (h ICMP) Type() uint8 { return h[0] }

// Code is the message code.
func (h ICMP) Code() uint8 { return h[1] }

// Checksum is the checksum as it stands.
func (h ICMP) Checksum() uint16 { return binary.BigEndian.Uint16(h[2:]) }

// Rest is the second word: identifier and sequence, or an MTU, by type.
func (h ICMP) Rest() uint32 { return binary.BigEndian.Uint32(h[4:]) }

// Payload is what follows the first eight bytes: in an error, the packet that caused it.
func (h ICMP) Payload() []byte { return h[ICMPHeaderLen:] }
