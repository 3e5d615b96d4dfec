package ipwire

import "encoding/binary"

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }

func putBE16(b []byte, v uint16) { binary.BigEndian.PutUint16(b, v) }

// Offsets of the byte that names the next header.
const (
	ipv4ProtocolAt   = 9
	ipv6NextHeaderAt = 6
)

// InsertionPoint returns where a transport mode ESP or AH header goes into a whole datagram (RFC 4303 section 3.1.1,
// RFC 4302 section 3.1.1): at is the first byte that it protects, and next the offset of the protocol or next
// header byte that then names it. In IPv4 at is behind the options. In IPv6 it is behind the headers that routers
// look at: hop-by-hop options, routing, and destination options if a routing header follows them; destination
// options for the last destination are protected.
//
//	IPv6 │ hop-by-hop │ destination │ routing │ ◀ at │ destination │ TCP …
//
// Errors: those of ParseIPv4 and ParseIPv6; ErrExtensionHeaders, also for a fragment.
func InsertionPoint(packet []byte) (at, next int, err error) {
	if Version(packet) == 4 {
		h, err := ParseIPv4(packet)
		if err != nil {
			return 0, 0, err
		}
		return h.HeaderLen(), ipv4ProtocolAt, nil
	}
	h, err := ParseIPv6(packet)
	if err != nil {
		return 0, 0, err
	}
	at, next = IPv6HeaderLen, ipv6NextHeaderAt
	fragment := false
	err = h.walk(func(x extension) bool {
		switch x.kind {
		case ProtoHopByHop, ProtoRouting:
			at, next = x.end, x.start
		case ProtoDestination:
		default:
			fragment = x.kind == ProtoFragment
			return false
		}
		return true
	})
	if err == nil && fragment {
		err = ErrExtensionHeaders
	}
	return at, next, err
}

// FindHeader returns where the header of protocol proto lies in a received datagram, 50 or 51 for ESP and AH: behind
// the IPv4 header, or in IPv6 behind any extension headers. next is the offset of the byte that names it. Errors:
// those of ParseIPv4 and ParseIPv6, ErrExtensionHeaders; ErrProtocol when it is not there.
func FindHeader(packet []byte, proto uint8) (at, next int, err error) {
	if Version(packet) == 4 {
		h, err := ParseIPv4(packet)
		switch {
		case err != nil:
			return 0, 0, err
		case h.Protocol() != proto || h.FragmentOffset() != 0 || h.MoreFragments():
			return 0, 0, ErrProtocol
		}
		return h.HeaderLen(), ipv4ProtocolAt, nil
	}
	h, err := ParseIPv6(packet)
	if err != nil {
		return 0, 0, err
	}
	found := false
	err = h.walk(func(x extension) bool {
		found = x.kind == proto
		at, next = x.start, x.named
		return !found && x.kind != ProtoFragment
	})
	if err == nil && !found {
		err = ErrProtocol
	}
	return at, next, err
}

// HasFragmentHeader reports whether an IPv6 datagram has a fragment header, a first or an atomic fragment's too.
func HasFragmentHeader(packet []byte) bool {
	h, err := ParseIPv6(packet)
	if err != nil {
		return false
	}
	found := false
	_ = h.walk(func(x extension) bool {
		found = x.kind == ProtoFragment
		return !found
	})
	return found
}

// extension is one header behind the fixed one. For the last, which is no extension header, end is start.
type extension struct {
	kind       uint8
	named      int // offset of the byte that names it
	start, end int // its first byte names the next header
}

// walk calls visit for each extension header, then for the upper layer header, while it returns true. Headers that
// visit does not want to see past are not parsed.
func (h IPv6) walk(visit func(extension) bool) error {
	x := extension{kind: h.NextHeader(), named: ipv6NextHeaderAt, start: IPv6HeaderLen}
	for range MaxExtensionHeaders + 1 {
		x.end = x.start
		switch x.kind {
		case ProtoHopByHop, ProtoRouting, ProtoDestination, ProtoFragment:
		default:
			visit(x)
			return nil
		}
		rest := h[x.start:]
		if len(rest) < 8 {
			return ErrTruncated
		}
		n := 8
		if x.kind != ProtoFragment {
			n += int(rest[1]) * 8
		}
		if n > len(rest) {
			return ErrTruncated
		}
		x.end = x.start + n
		if !visit(x) {
			return nil
		}
		x = extension{kind: rest[0], named: x.start, start: x.end}
	}
	return ErrExtensionHeaders
}

// SetLength makes the length field of the datagram that fills packet right, and the IPv4 header checksum. The
// header must be whole, the datagram not longer than its length field can say.
func SetLength(packet []byte) {
	if Version(packet) == 4 {
		putBE16(packet[2:], uint16(len(packet)))
		IPv4(packet).UpdateChecksum()
		return
	}
	putBE16(packet[4:], uint16(len(packet)-IPv6HeaderLen))
}
