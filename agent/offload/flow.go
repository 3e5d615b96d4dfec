package offload

import (
	"bytes"
	"encoding/binary"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// How many packets one aggregate holds. Linux's UDP GRO stops at 64; TCP has no such limit, but an aggregate
// is one writev, which takes 1024 pieces.
const (
	maxUDPPackets = 64
	maxTCPPackets = 128
)

// flow is one flow's open aggregate. Packets whose headers differ in nothing but what segmentation sets anew
// follow the first one.
type flow struct {
	key      key
	header   [HeaderLen]byte
	pieces   [][]byte // header, the first packet, the payloads of the others
	packets  int      // 0: the flow is not in use
	size     int      // the first packet's payload, in bytes
	bytes    int      // the aggregate as one IP datagram
	verified bool     // the first packet's checksums are right
	psh      bool     // the last packet has PSH

	transport, headers int // as in segment

	seq     uint32 // what the next TCP segment has to begin with
	id      uint16 // the IPv4 ID of the first
	sameID  bool   // all have the first one's ID
	ipLimit int    // the most that bytes may be
}

// start begins an aggregate with s.
func (f *flow) start(s *segment) {
	f.key, f.packets, f.size, f.bytes = s.key, 1, s.payload(), len(s.b)
	f.transport, f.headers = s.transport, s.headers
	f.verified, f.psh, f.sameID = false, false, false
	f.ipLimit = 0xffff
	if s.key.version == 6 {
		f.ipLimit += ipwire.IPv6HeaderLen
	} else {
		f.id = binary.BigEndian.Uint16(s.b[4:])
	}
	f.pieces = append(f.pieces[:0], f.header[:], s.b)
	if s.key.proto == ipwire.ProtoTCP {
		f.seq = binary.BigEndian.Uint32(s.b[s.transport+4:]) + uint32(f.size)
	}
}

// takes says whether s, a joinable packet of this flow, can follow: whether splitting the aggregate gives both
// it and the others back, byte for byte. atomic is Features.AtomicID.
func (f *flow) takes(s *segment, atomic bool) bool {
	n := s.payload()
	if s.headers != f.headers || n > f.size || f.bytes+n > f.ipLimit {
		return false
	}
	if !f.followsIP(s.b, atomic) || s.key.proto == ipwire.ProtoTCP && !f.followsTCP(s.b[:s.headers]) {
		return false
	}
	if !f.verified {
		if !sound(f.pieces[1]) {
			return false
		}
		f.verified = true
	}
	return sound(s.b)
}

// followsIP compares the IP headers of b and the first packet.
func (f *flow) followsIP(b []byte, atomic bool) bool {
	a := f.pieces[1]
	if f.key.version == 6 { // class, flow label; hop limit
		return binary.NativeEndian.Uint32(a) == binary.NativeEndian.Uint32(b) && a[7] == b[7]
	}
	if a[1] != b[1] || a[6] != b[6] || a[8] != b[8] { // TOS; DF; TTL
		return false
	}
	step := binary.BigEndian.Uint16(b[4:]) - f.id
	if f.packets > 1 && f.sameID {
		return step == 0
	}
	if f.packets == 1 && step == 0 && atomic && b[6]&0x40 != 0 {
		return true
	}
	return int(step) == f.packets
}

// followsTCP compares the TCP headers of b, which ends with its options, and the first packet.
func (f *flow) followsTCP(b []byte) bool {
	t, first := b[f.transport:], f.pieces[1][f.transport:f.headers]
	// Acknowledgment, data offset, flags, window: all but PSH, which the first has not.
	const psh = uint64(tcpPSH) << 16
	same := (binary.BigEndian.Uint64(t[8:])^binary.BigEndian.Uint64(first[8:]))&^psh == 0
	return same && binary.BigEndian.Uint32(t[4:]) == f.seq && t[18] == first[18] && t[19] == first[19] &&
		bytes.Equal(t[20:], first[20:])
}

// add joins s, which the flow takes, and says whether the aggregate must end with it.
func (f *flow) add(s *segment) (ended bool) {
	n := s.payload()
	if f.packets == 1 && f.key.version == 4 {
		f.sameID = binary.BigEndian.Uint16(s.b[4:]) == f.id
	}
	f.pieces = append(f.pieces, s.b[s.headers:])
	f.packets++
	f.bytes += n
	f.seq += uint32(n)
	limit := maxUDPPackets
	if f.key.proto == ipwire.ProtoTCP {
		f.psh, limit = s.psh(), maxTCPPackets
	}
	return f.psh || n < f.size || f.packets == limit
}

// close makes the pieces what the TUN takes: for more than one packet, the first one's headers are made the
// super-packet's, in place.
func (f *flow) close() {
	f.header = [HeaderLen]byte{}
	if f.packets == 1 {
		return
	}
	p := f.pieces[1]
	length := f.bytes - f.transport
	pseudo := uint32(f.key.proto) + uint32(length)
	h := vnetHeader{flags: flagNeedsChecksum, gsoType: gsoTCPv4, hdrLen: uint16(f.headers), gsoSize: uint16(f.size),
		checksumStart: uint16(f.transport), checksumAt: 16}
	if f.key.version == 6 {
		h.gsoType = gsoTCPv6
		binary.BigEndian.PutUint16(p[4:], uint16(f.bytes-ipwire.IPv6HeaderLen))
		pseudo += uint32(ipwire.Sum(p[8:ipwire.IPv6HeaderLen]))
	} else {
		binary.BigEndian.PutUint16(p[2:], uint16(f.bytes))
		ipwire.IPv4(p).UpdateChecksum()
		pseudo += uint32(ipwire.Sum(p[12:ipwire.IPv4MinHeaderLen]))
	}
	t := p[f.transport:]
	if f.key.proto == ipwire.ProtoUDP {
		h.gsoType, h.checksumAt = gsoUDP, 6
		binary.BigEndian.PutUint16(t[4:], uint16(length))
	} else if f.psh {
		t[13] |= tcpPSH
	}
	binary.BigEndian.PutUint16(t[h.checksumAt:], fold(pseudo))
	h.put(f.header[:])
}
