// Package ipwire reads and writes IPv4, IPv6, UDP, TCP and ICMP headers in place.
//
// A header is a typed []byte, a view: Parse… checks the bounds once, the
// accessors then only load and store. A view of a datagram or of a transport
// header runs from the header's first byte to the last byte of what the length
// field covers; bytes after that (TFC padding, RFC 4303 section 2.7, or
// Ethernet's) are cut off. A view shares the caller's memory, holds no state
// and allocates nothing; concurrent readers are safe, as with any slice.
//
//	IPv4   0: version, IHL │ TOS │ total length   4: ID │ flags, offset
//	       8: TTL │ protocol │ checksum  12: source  16: destination  20: options
//	IPv6   0: version, class, flow label  4: payload length │ next header │ hop limit
//	       8: source  24: destination  40: extension headers or payload
package ipwire

import "errors"

// IP protocol numbers and IPv6 extension headers, from IANA's "Protocol Numbers".
const (
	ProtoHopByHop    = 0
	ProtoICMP        = 1
	ProtoIPv4        = 4 // IPv4 in IP: the next header of a tunnel mode SA
	ProtoTCP         = 6
	ProtoUDP         = 17
	ProtoIPv6        = 41 // IPv6 in IP: the next header of a tunnel mode SA
	ProtoRouting     = 43
	ProtoFragment    = 44
	ProtoESP         = 50
	ProtoAH          = 51
	ProtoICMPv6      = 58
	ProtoNone        = 59 // IPv6 no next header; an ESP dummy packet
	ProtoDestination = 60
	ProtoSCTP        = 132
	ProtoUDPLite     = 136
	ProtoDCCP        = 33
)

// Errors of Parse…: what a malformed packet is dropped and counted for.
var (
	// ErrTruncated: the bytes end before the header, or the datagram, does.
	ErrTruncated = errors.New("ipwire: packet is truncated")
	// ErrVersion: the version nibble is not the one asked for, or neither 4 nor 6.
	ErrVersion = errors.New("ipwire: wrong IP version")
	// ErrHeaderLength: a header length field is below its minimum or beyond the datagram.
	ErrHeaderLength = errors.New("ipwire: bad header length")
	// ErrLength: a total or payload length is impossible.
	ErrLength = errors.New("ipwire: bad length field")
	// ErrProtocol: the header or message that was looked for is not there.
	ErrProtocol = errors.New("ipwire: packet has no such header")
	// ErrFragment: the packet is a fragment, of which only a part is here.
	ErrFragment = errors.New("ipwire: packet is a fragment")
	// ErrExtensionHeaders: more than MaxExtensionHeaders extension headers, or one out of place.
	ErrExtensionHeaders = errors.New("ipwire: bad chain of IPv6 extension headers")
)

// Version returns the IP version nibble of b's first byte, 0 when b is empty.
func Version(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return int(b[0] >> 4)
}

// DatagramLen returns the length of the IPv4 or IPv6 datagram at the start of b,
// from its own length field, at most len(b). It is what ESP needs to take off
// TFC padding.
func DatagramLen(b []byte) (int, error) {
	switch Version(b) {
	case 4:
		h, err := ParseIPv4(b)
		return len(h), err
	case 6:
		h, err := ParseIPv6(b)
		return len(h), err
	case 0:
		if len(b) == 0 {
			return 0, ErrTruncated
		}
	}
	return 0, ErrVersion
}
