package offload

import (
	"encoding/binary"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// key says which flow a packet is of: addresses, protocol, and ports where they can be seen.
type key struct {
	a, b, c, d uint64 // the addresses; b to d are 0 for IPv4
	ports      uint32
	version    uint8
	proto      uint8 // TCP or UDP; 0 where the ports cannot be seen
}

// between says whether both keys are of the same two addresses.
func (k *key) between(o *key) bool {
	return k.a == o.a && k.b == o.b && k.c == o.c && k.d == o.d && k.version == o.version
}

// same is ==, which the compiler makes a call of.
func (k *key) same(o *key) bool {
	return k.ports == o.ports && k.proto == o.proto && k.between(o)
}

// segment is a packet that is to be joined.
type segment struct {
	b         []byte
	key       key
	transport int  // where the TCP or UDP header begins
	headers   int  // where the payload begins
	joinable  bool // by its own headers; its checksums have not been looked at
}

// parse reads what p's headers tell. Only TCP or UDP right behind an IP header without options is given a
// protocol: everything else passes alone.
func (s *segment) parse(p []byte) {
	*s = segment{b: p}
	switch ipwire.Version(p) {
	case 4:
		s.parseIPv4(p)
	case 6:
		s.parseIPv6(p)
	}
	switch s.key.proto {
	case ipwire.ProtoTCP:
		s.parseTCP(p[s.transport:])
	case ipwire.ProtoUDP:
		s.parseUDP(p[s.transport:])
	default:
		s.joinable = false
	}
}

func (s *segment) parseIPv4(p []byte) {
	if len(p) < ipwire.IPv4MinHeaderLen {
		return
	}
	s.key.version, s.key.a = 4, binary.NativeEndian.Uint64(p[12:])
	if p[0] != 0x45 || int(binary.BigEndian.Uint16(p[2:])) != len(p) || p[6]&^0x40 != 0 || p[7] != 0 {
		return
	}
	s.transport = ipwire.IPv4MinHeaderLen
	s.setProto(p, p[9])
	// A checksum of 0xffff is a sender's own idea of 0: segmenting would give 0.
	s.joinable = binary.BigEndian.Uint16(p[10:]) != 0xffff
}

func (s *segment) parseIPv6(p []byte) {
	if len(p) < ipwire.IPv6HeaderLen {
		return
	}
	s.key.version = 6
	s.key.a, s.key.b = binary.NativeEndian.Uint64(p[8:]), binary.NativeEndian.Uint64(p[16:])
	s.key.c, s.key.d = binary.NativeEndian.Uint64(p[24:]), binary.NativeEndian.Uint64(p[32:])
	if int(binary.BigEndian.Uint16(p[4:])) != len(p)-ipwire.IPv6HeaderLen {
		return
	}
	s.transport, s.joinable = ipwire.IPv6HeaderLen, true
	s.setProto(p, p[6])
}

// setProto takes the ports of a protocol that can be joined, if its least header is there.
func (s *segment) setProto(p []byte, proto uint8) {
	least := ipwire.UDPHeaderLen
	switch proto {
	case ipwire.ProtoTCP:
		least = ipwire.TCPMinHeaderLen
	case ipwire.ProtoUDP:
	default:
		return
	}
	if len(p)-s.transport >= least {
		s.key.proto, s.key.ports = proto, binary.NativeEndian.Uint32(p[s.transport:])
	}
}

// parseTCP: data, and no flags but ACK and PSH.
func (s *segment) parseTCP(t []byte) {
	n := ipwire.TCP(t).HeaderLen()
	s.headers = s.transport + n
	s.joinable = s.joinable && n >= ipwire.TCPMinHeaderLen && n < len(t) &&
		t[13]&^tcpPSH == tcpACK && binary.BigEndian.Uint16(t[16:]) != 0xffff
}

// parseUDP: data, of the length that the header says, with a checksum.
func (s *segment) parseUDP(t []byte) {
	s.headers = s.transport + ipwire.UDPHeaderLen
	s.joinable = s.joinable && len(t) > ipwire.UDPHeaderLen && int(binary.BigEndian.Uint16(t[4:])) == len(t) &&
		binary.BigEndian.Uint16(t[6:]) != 0
}

// payload is the number of payload bytes.
func (s *segment) payload() int { return len(s.b) - s.headers }

// psh says whether it is TCP with the PSH flag.
func (s *segment) psh() bool {
	return s.key.proto == ipwire.ProtoTCP && s.b[s.transport+13]&tcpPSH != 0
}

// sound verifies the checksums of a joinable packet, the IPv4 header's and TCP's or UDP's. The addresses stand
// right before the transport header, so that one sum covers them too.
func sound(p []byte) bool {
	if p[0]>>4 == 4 {
		pseudo := uint32(p[9]) + uint32(len(p)-ipwire.IPv4MinHeaderLen)
		return ipwire.Sum(p[:ipwire.IPv4MinHeaderLen]) == 0xffff && fold(pseudo+uint32(ipwire.Sum(p[12:]))) == 0xffff
	}
	pseudo := uint32(p[6]) + uint32(len(p)-ipwire.IPv6HeaderLen)
	return fold(pseudo+uint32(ipwire.Sum(p[8:]))) == 0xffff
}
