package offload

import (
	"encoding/binary"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// shape is where a super-packet's headers lie. headers is 0 for a plain packet.
type shape struct {
	v6, udp   bool
	transport int // where the TCP or UDP header begins
	headers   int // where the payload begins
}

// headerSums is what the segments' checksums have in common, summed once per super-packet.
type headerSums struct {
	id        uint16 // of the first segment
	seq       uint32 // of the first segment
	ip        uint16 // the IPv4 header but length, ID and checksum
	transport uint16 // pseudo-header and transport header but lengths, sequence number, TCP flags and checksum
}

// superPacket says where p's headers lie; false if h does not fit p. A super-packet always has a checksum to
// complete (virtio 1.2 section 5.1.6.2), and so a csum_start to compare.
func superPacket(p []byte, h vnetHeader) (shape, bool) {
	var x shape
	proto, checksumAt := uint8(ipwire.ProtoTCP), 16
	switch h.gsoType &^ gsoECN {
	case gsoTCPv4:
	case gsoTCPv6:
		x.v6 = true
	case gsoUDP:
		x.v6, x.udp = ipwire.Version(p) == 6, true
		proto, checksumAt = ipwire.ProtoUDP, 6
	default:
		return shape{}, false
	}
	at, ok := transport(p, x.v6, proto)
	if !ok || h.flags&flagNeedsChecksum == 0 || int(h.checksumStart) != at || int(h.checksumAt) != checksumAt || h.gsoSize == 0 {
		return shape{}, false
	}
	x.transport, x.headers = at, at+ipwire.UDPHeaderLen
	if !x.udp {
		t, err := ipwire.ParseTCP(p[at:])
		if err != nil {
			return shape{}, false
		}
		x.headers = at + t.HeaderLen()
	}
	return x, x.headers <= min(len(p), maxHeaders)
}

// transport finds the header of proto in a datagram that fills p: behind IPv4 options, or behind the
// extension headers that may be the same in every segment. A fragment has none.
func transport(p []byte, v6 bool, proto uint8) (int, bool) {
	if !v6 {
		h, err := ipwire.ParseIPv4(p)
		if err != nil || len(h) != len(p) || h.Protocol() != proto || h.MoreFragments() || h.FragmentOffset() != 0 {
			return 0, false
		}
		return h.HeaderLen(), true
	}
	h, err := ipwire.ParseIPv6(p)
	if err != nil || len(h) != len(p) {
		return 0, false
	}
	next, at := h.NextHeader(), ipwire.IPv6HeaderLen
	for next != proto {
		switch next {
		case ipwire.ProtoHopByHop, ipwire.ProtoRouting, ipwire.ProtoDestination:
		default:
			return 0, false
		}
		if at+8 > len(h) {
			return 0, false
		}
		next, at = h[at], at+8+int(h[at+1])*8
	}
	return at, at <= len(h)
}

// sums sums what the headers of all segments have in common, and clears in b what they have not. The sum of
// the pseudo-header is taken from the checksum field, where Linux leaves it: behind a routing header it is
// about another destination than the IPv6 header's (RFC 8200 section 8.1).
func (x shape) sums(b []byte) headerSums {
	var s headerSums
	length := binary.BigEndian.Uint16(b[4:]) - uint16(x.transport-ipwire.IPv6HeaderLen)
	if !x.v6 {
		length = binary.BigEndian.Uint16(b[2:]) - uint16(x.transport)
		s.id = binary.BigEndian.Uint16(b[4:])
		clear(b[2:6])
		clear(b[10:12])
		s.ip = ipwire.Sum(b[:x.transport])
	}
	t, at := b[x.transport:], 6
	if x.udp {
		clear(t[4:6])
	} else {
		at = 16
		s.seq = binary.BigEndian.Uint32(t[4:])
		clear(t[4:8])
	}
	pseudo := ipwire.AddSums(binary.BigEndian.Uint16(t[at:]), ^length)
	clear(t[at : at+2])
	s.transport = ipwire.AddSums(ipwire.Sum(t), pseudo)
	if !x.udp {
		s.transport = ipwire.AddSums(s.transport, ^uint16(t[13]))
	}
	return s
}

// completeChecksum computes the checksum that the TUN left to do in a plain packet, as any protocol's has to
// be: over all from csum_start on, the pseudo-header's sum already standing in the field. False if h does not
// fit p.
func completeChecksum(p []byte, h vnetHeader) bool {
	least := ipwire.IPv6HeaderLen
	if ipwire.Version(p) == 4 {
		least = ipwire.IPv4MinHeaderLen
	}
	start, at := int(h.checksumStart), int(h.checksumStart)+int(h.checksumAt)
	if n, err := ipwire.DatagramLen(p); err != nil || n != len(p) || start < least || at+2 > n || h.checksumAt%2 != 0 {
		return false
	}
	check := ^ipwire.Sum(p[start:])
	if check == 0 {
		check = 0xffff // the same number; RFC 768 keeps 0 for "no checksum"
	}
	binary.BigEndian.PutUint16(p[at:], check)
	return true
}

// fold brings the sum of up to 65536 words down to one word.
func fold(sum uint32) uint16 {
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum)
}
