package offload

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// spec says what a TCP or UDP packet is to look like. It shares no code with what is tested.
type spec struct {
	v6, udp      bool
	ipOptions    []byte // IPv4 options
	extension    []byte // IPv6 extension headers, without their next header fields' values
	firstNext    uint8  // the IPv6 header's next header, with extension
	tcpOptions   []byte
	flags        uint8
	reserved     uint8 // the low half of TCP's byte 12
	seq, ack     uint32
	window       uint16
	urgent       uint16
	id           uint16
	tos, ttl     uint8
	df           bool
	label        uint32
	host         uint8 // the last byte of the destination
	sport, dport uint16
	payload      []byte
}

// slowSum is RFC 1071 section 4.1.
func slowSum(sum uint32, b []byte) uint32 {
	for i := range b {
		if i%2 == 0 {
			sum += uint32(b[i]) << 8
		} else {
			sum += uint32(b[i])
		}
		sum = sum&0xffff + sum>>16
	}
	return sum
}

func (s spec) addresses() (src, dst []byte) {
	if s.v6 {
		src = []byte{0xfd, 0x99, 15: 1}
		dst = []byte{0xfd, 0x98, 15: s.host}
		return src, dst
	}
	return []byte{10, 99, 0, 1}, []byte{10, 98, 0, s.host}
}

func (s spec) proto() uint8 {
	if s.udp {
		return 17
	}
	return 6
}

func (s spec) transportHeader(length int) []byte {
	if s.udp {
		h := make([]byte, 8)
		binary.BigEndian.PutUint16(h[0:], s.sport)
		binary.BigEndian.PutUint16(h[2:], s.dport)
		binary.BigEndian.PutUint16(h[4:], uint16(length))
		return h
	}
	h := make([]byte, 20, 60)
	h = append(h, s.tcpOptions...)
	binary.BigEndian.PutUint16(h[0:], s.sport)
	binary.BigEndian.PutUint16(h[2:], s.dport)
	binary.BigEndian.PutUint32(h[4:], s.seq)
	binary.BigEndian.PutUint32(h[8:], s.ack)
	h[12], h[13] = uint8(len(h)/4)<<4|s.reserved, s.flags
	binary.BigEndian.PutUint16(h[14:], s.window)
	binary.BigEndian.PutUint16(h[18:], s.urgent)
	return h
}

func (s spec) transportLen() int {
	if s.udp {
		return 8 + len(s.payload)
	}
	return 20 + len(s.tcpOptions) + len(s.payload)
}

func (s spec) checksumAt() int {
	if s.udp {
		return 6
	}
	return 16
}

func (s spec) pseudo() uint32 {
	src, dst := s.addresses()
	n := s.transportLen()
	return slowSum(slowSum(0, append(bytes.Clone(src), dst...)), []byte{0, s.proto(), 0, uint8(n >> 16), uint8(n >> 8), uint8(n)}[:2]) + uint32(n)
}

func (s spec) ipHeader() []byte {
	src, dst := s.addresses()
	n := s.transportLen()
	if s.v6 {
		h := make([]byte, 8)
		binary.BigEndian.PutUint32(h, 6<<28|uint32(s.tos)<<20|s.label)
		binary.BigEndian.PutUint16(h[4:], uint16(n+len(s.extension)))
		h[6], h[7] = s.proto(), s.ttl
		if len(s.extension) > 0 {
			h[6] = s.firstNext
		}
		return append(append(append(h, src...), dst...), s.extension...)
	}
	h := make([]byte, 12)
	h[0], h[1] = 0x45+uint8(len(s.ipOptions)/4), s.tos
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(s.ipOptions)+n))
	binary.BigEndian.PutUint16(h[4:], s.id)
	if s.df {
		h[6] = 0x40
	}
	h[8], h[9] = s.ttl, s.proto()
	h = append(append(append(h, src...), dst...), s.ipOptions...)
	binary.BigEndian.PutUint16(h[10:], ^uint16(slowSum(0, h)))
	return h
}

// transportAt is where the transport header begins.
func (s spec) transportAt() int {
	if s.v6 {
		return 40 + len(s.extension)
	}
	return 20 + len(s.ipOptions)
}

// packet is the whole packet with right checksums.
func (s spec) packet() []byte {
	t := append(s.transportHeader(s.transportLen()), s.payload...)
	sum := slowSum(slowSum(0, t)+s.pseudo(), nil)
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	check := ^uint16(sum)
	if check == 0 && s.udp {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(t[s.checksumAt():], check)
	return append(s.ipHeader(), t...)
}

// super is what a TUN gives for the spec: with a virtio header, only the pseudo-header summed, and Tail free.
func (s spec) super(gsoType uint8, gsoSize int) []byte {
	t := append(s.transportHeader(s.transportLen()), s.payload...)
	sum := s.pseudo()
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(t[s.checksumAt():], uint16(sum))
	b := make([]byte, HeaderLen)
	b[0], b[1] = 1, gsoType
	binary.NativeEndian.PutUint16(b[4:], uint16(gsoSize))
	binary.NativeEndian.PutUint16(b[6:], uint16(s.transportAt()))
	binary.NativeEndian.PutUint16(b[8:], uint16(s.checksumAt()))
	return withTail(append(append(b, s.ipHeader()...), t...))
}

func (s spec) gsoType() uint8 {
	switch {
	case s.udp:
		return gsoUDP
	case s.v6:
		return gsoTCPv6
	}
	return gsoTCPv4
}

// segments is the obvious splitter: each segment built anew from the spec.
func (s spec) segments(size int) (out [][]byte) {
	for at := 0; at == 0 || at < len(s.payload); at += size {
		x, last := s, at+size >= len(s.payload)
		x.payload = s.payload[at:min(at+size, len(s.payload))]
		x.seq += uint32(at)
		x.id += uint16(at / size)
		if !last {
			x.flags &^= 0x09
		}
		if at > 0 {
			x.flags &^= 0x80
		}
		out = append(out, x.packet())
	}
	return out
}

// withTail copies b to memory with Tail bytes behind it.
func withTail(b []byte) []byte { return append(make([]byte, 0, len(b)+Tail), b...) }

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// randomSpec is any TCP or UDP packet of up to n payload bytes.
func randomSpec(r *rand.Rand, n int) spec {
	s := spec{v6: r.IntN(2) == 0, udp: r.IntN(3) == 0, flags: uint8(r.Uint32()), seq: r.Uint32(), ack: r.Uint32(),
		reserved: uint8(r.IntN(16)), window: uint16(r.Uint32()), urgent: uint16(r.Uint32()), id: uint16(r.Uint32()),
		tos: uint8(r.Uint32()), ttl: uint8(r.Uint32()), df: r.IntN(2) == 0, label: r.Uint32() & 0xfffff,
		host: uint8(r.Uint32()), sport: uint16(r.Uint32()), dport: uint16(r.Uint32()), payload: randomBytes(r, r.IntN(n+1))}
	if r.IntN(4) == 0 {
		s.ipOptions = randomBytes(r, 4*r.IntN(11))
		s.extension, s.firstNext = extensions(r, s.proto())
	}
	if r.IntN(2) == 0 {
		s.tcpOptions = randomBytes(r, 4*r.IntN(11))
	}
	return s
}

// extensions are hop-by-hop, routing and destination options, as many as come.
func extensions(r *rand.Rand, proto uint8) (b []byte, first uint8) {
	first = proto
	for _, next := range []uint8{60, 43, 0} {
		if r.IntN(2) == 0 {
			h := randomBytes(r, 8*(1+r.IntN(3)))
			h[0], h[1] = first, uint8(len(h)/8-1)
			b, first = append(h, b...), next
		}
	}
	return b, first
}
