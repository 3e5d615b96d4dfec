//go:build linux

package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"sallyport.dev/sallyport/deploy/interop/station"
)

// Carrier is how a packet of an SA travels.
type Carrier struct {
	Protocol      Protocol
	Encapsulation Encapsulation
	Outer         Family
}

// Seen is what a Wire has seen.
type Seen struct {
	// Packets counts an SPI's packets under each carrier; of a fragmented one, the first fragment.
	Packets map[uint32]map[Carrier]int
	// Fragments counts an SPI's packets that were fragmented.
	Fragments map[uint32]int
	// Clear are the packets that should not have passed: neither IPsec's nor the link's own. The first of each kind.
	Clear []Clear
	// Lost is the number of frames that the reader was too slow for.
	Lost int
}

// Clear is a packet that should not have passed.
type Clear struct {
	Source, Destination netip.Addr
	What                string
}

// mostClear bounds Seen.Clear.
const mostClear = 50

func newSeen() Seen {
	return Seen{Packets: map[uint32]map[Carrier]int{}, Fragments: map[uint32]int{}}
}

// IP protocol numbers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIGMP     = 2
	protoUDP      = 17
	protoFragment = 44
	protoESP      = 50
	protoAH       = 51
	protoICMPv6   = 58
)

// packet is an IP packet as far as it matters here.
type packet struct {
	family              Family
	source, destination netip.Addr
	proto               byte
	offset              int  // of the fragment, bytes
	more                bool // fragments follow
	payload             []byte
}

// parseFrame returns the IP packet of an Ethernet frame; false for what is not IP, or cut short.
func parseFrame(frame []byte) (packet, bool) {
	const ethernet, vlanless4, vlanless6 = 14, 0x0800, 0x86dd
	if len(frame) < ethernet {
		return packet{}, false
	}
	b := frame[ethernet:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case vlanless4:
		return parse4(b)
	case vlanless6:
		return parse6(b)
	}
	return packet{}, false
}

func parse4(b []byte) (packet, bool) {
	if len(b) < 20 {
		return packet{}, false
	}
	header := int(b[0]&0xf) * 4
	fragment := binary.BigEndian.Uint16(b[6:])
	p := packet{
		family: IPv4, source: netip.AddrFrom4([4]byte(b[12:16])), destination: netip.AddrFrom4([4]byte(b[16:20])),
		proto: b[9], offset: int(fragment&0x1fff) * 8, more: fragment&0x2000 != 0,
	}
	if header < 20 || len(b) < header {
		return packet{}, false
	}
	p.payload = b[header:]
	return p, true
}

func parse6(b []byte) (packet, bool) {
	if len(b) < 40 {
		return packet{}, false
	}
	p := packet{
		family: IPv6, source: netip.AddrFrom16([16]byte(b[8:24])), destination: netip.AddrFrom16([16]byte(b[24:40])),
		proto: b[6], payload: b[40:],
	}
	for p.proto == protoHopByHop || p.proto == protoFragment {
		if len(p.payload) < 8 {
			return packet{}, false
		}
		length := 8
		if p.proto == protoFragment {
			fragment := binary.BigEndian.Uint16(p.payload[2:])
			p.offset, p.more = int(fragment&^7), fragment&1 != 0
		} else {
			length += int(p.payload[1]) * 8
		}
		if len(p.payload) < length {
			return packet{}, false
		}
		p.proto, p.payload = p.payload[0], p.payload[length:]
		if p.offset > 0 {
			break
		}
	}
	return p, true
}

// add judges one frame.
func (s *Seen) add(frame []byte) {
	p, ok := parseFrame(frame)
	if !ok || p.source == control(Ours) || p.source == control(Theirs) {
		return
	}
	if bytes.Contains(frame, []byte(station.Secret)) {
		s.clear(p, "carries, in clear, what is to be encrypted")
		return
	}
	if p.offset > 0 && (p.proto == protoESP || p.proto == protoAH || p.proto == protoUDP) {
		return // judged by its first fragment
	}
	switch b := p.payload; {
	case p.proto == protoESP && len(b) >= 8:
		s.count(p, Carrier{ESP, Native, p.family}, b)
	case p.proto == protoAH && len(b) >= 12:
		s.count(p, Carrier{AH, Native, p.family}, b[4:])
	case p.proto == protoUDP && isESPInUDP(b):
		s.count(p, Carrier{ESP, UDP, p.family}, b[8:])
	case linksOwn(p):
	case (p.proto == protoICMP || p.proto == protoICMPv6) && p.offset == 0 && len(b) >= 2:
		s.clear(p, fmt.Sprintf("ICMP, IP protocol %d, type %d, code %d", p.proto, b[0], b[1]))
	default:
		s.clear(p, fmt.Sprintf("IP protocol %d, neither ESP nor AH", p.proto))
	}
}

// isESPInUDP tells ESP on port 4500 from IKE and from everything else; RFC 3948 section 2.
func isESPInUDP(b []byte) bool {
	return len(b) >= 16 && binary.BigEndian.Uint16(b) == port4500 && binary.BigEndian.Uint16(b[2:]) == port4500 &&
		binary.BigEndian.Uint32(b[8:]) != 0
}

// linksOwn says whether the packet is of the link itself: group membership, neighbour discovery.
func linksOwn(p packet) bool {
	switch p.proto {
	case protoIGMP:
		return true
	case protoICMPv6:
		const routerSolicitation, redirect, membership, membership1, membership2 = 133, 137, 143, 131, 132
		if len(p.payload) == 0 {
			return false
		}
		kind := p.payload[0]
		return kind >= routerSolicitation && kind <= redirect || kind == membership || kind == membership1 || kind == membership2
	}
	return false
}

// count notes a packet whose SPI stands at the front of b.
func (s *Seen) count(p packet, c Carrier, b []byte) {
	spi := binary.BigEndian.Uint32(b)
	if s.Packets[spi] == nil {
		s.Packets[spi] = map[Carrier]int{}
	}
	s.Packets[spi][c]++
	if p.more {
		s.Fragments[spi]++
	}
}

func (s *Seen) clear(p packet, what string) {
	c := Clear{p.source, p.destination, what}
	for _, known := range s.Clear {
		if known == c {
			return
		}
	}
	if len(s.Clear) < mostClear {
		s.Clear = append(s.Clear, c)
	}
}
