package ipwire

import (
	"encoding/binary"
	"net/netip"
)

// MaxExtensionHeaders is how many IPv6 extension headers a flow is looked for behind.
const MaxExtensionHeaders = 8

// Flow has the selectors of one packet, RFC 4301 section 4.4.1.1.
//
// Ports are those of TCP, UDP, UDP-Lite, SCTP and DCCP. For ICMP and ICMPv6 both
// are type<<8|code, as a traffic selector has it (RFC 7296 section 3.13.1). Where
// the packet does not tell (Opaque) they are 0 and mean nothing.
type Flow struct {
	Src, Dst         netip.Addr
	Proto            uint8 // the next layer protocol; AH and ESP count as one
	SrcPort, DstPort uint16
	Fragment         bool // not the first fragment: it has no transport header
	Opaque           bool // ports are not available: a fragment, or a protocol without them
}

// Reverse returns the flow of the replies.
func (f Flow) Reverse() Flow {
	f.Src, f.Dst = f.Dst, f.Src
	f.SrcPort, f.DstPort = f.DstPort, f.SrcPort
	return f
}

// ParseFlow returns the selectors of the IP datagram at the start of b. A datagram
// that is cut before its ports, the first fragment included, is an error: its
// policy cannot be known.
func ParseFlow(b []byte) (Flow, error) {
	switch Version(b) {
	case 4:
		h, err := ParseIPv4(b)
		if err != nil {
			return Flow{}, err
		}
		return h.Flow()
	case 6:
		h, err := ParseIPv6(b)
		if err != nil {
			return Flow{}, err
		}
		return h.Flow()
	}
	if len(b) == 0 {
		return Flow{}, ErrTruncated
	}
	return Flow{}, ErrVersion
}

// Flow returns the datagram's selectors; see ParseFlow.
func (h IPv4) Flow() (Flow, error) {
	f := Flow{Src: h.Src(), Dst: h.Dst(), Proto: h.Protocol(), Fragment: h.FragmentOffset() > 0}
	return f, f.readPorts(h.Payload())
}

// Flow returns the datagram's selectors; see ParseFlow.
func (h IPv6) Flow() (Flow, error) {
	f := Flow{Src: h.Src(), Dst: h.Dst()}
	u, err := h.Upper()
	if err != nil {
		return Flow{}, err
	}
	f.Proto, f.Fragment = u.Proto, u.Fragment
	return f, f.readPorts(h[u.Offset:])
}

func (f *Flow) readPorts(transport []byte) error {
	if f.Fragment {
		f.Opaque = true
		return nil
	}
	switch f.Proto {
	case ProtoTCP, ProtoUDP, ProtoUDPLite, ProtoSCTP, ProtoDCCP:
		if len(transport) < 4 {
			return ErrTruncated
		}
		f.SrcPort = binary.BigEndian.Uint16(transport)
		f.DstPort = binary.BigEndian.Uint16(transport[2:])
	case ProtoICMP, ProtoICMPv6:
		if len(transport) < 2 {
			return ErrTruncated
		}
		f.SrcPort = binary.BigEndian.Uint16(transport)
		f.DstPort = f.SrcPort
	default:
		f.Opaque = true
	}
	return nil
}

// Upper is where the extension headers of an IPv6 datagram end.
type Upper struct {
	Proto    uint8 // the next layer protocol
	Offset   int   // its first byte, from the start of the datagram
	Fragment bool  // a fragment other than the first: Offset is inside its payload
}

// Upper walks the extension headers that RFC 4301 section 4.4.1.1 skips by default:
// hop-by-hop, routing, fragment and destination options. AH and ESP count as next
// layer protocols.
func (h IPv6) Upper() (Upper, error) {
	u := Upper{Proto: h.NextHeader(), Offset: IPv6HeaderLen}
	for i := 0; i <= MaxExtensionHeaders; i++ {
		rest := h[u.Offset:]
		switch u.Proto {
		case ProtoHopByHop:
			if i > 0 {
				return Upper{}, ErrExtensionHeaders // RFC 8200 section 4.1: first or not at all
			}
		case ProtoRouting, ProtoDestination:
		case ProtoFragment:
			if len(rest) < 8 {
				return Upper{}, ErrTruncated
			}
			u.Proto, u.Offset = rest[0], u.Offset+8
			if binary.BigEndian.Uint16(rest[2:])>>3 != 0 {
				u.Fragment = true
				return u, nil
			}
			continue
		default:
			return u, nil
		}
		if len(rest) < 8 {
			return Upper{}, ErrTruncated
		}
		n := 8 + int(rest[1])*8
		if n > len(rest) {
			return Upper{}, ErrTruncated
		}
		u.Proto, u.Offset = rest[0], u.Offset+n
	}
	return Upper{}, ErrExtensionHeaders
}
