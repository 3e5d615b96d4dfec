package offload

import (
	"encoding/binary"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Tail is how many bytes behind a segment its owner may overwrite.
const Tail = 64

// maxHeaders bounds a super-packet's IP and transport headers with all options and extension headers.
const maxHeaders = 256

// TCP flags, RFC 9293 section 3.1 and RFC 3168 section 6.1.
const (
	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpACK = 0x10
	tcpCWR = 0x80
)

// Splitter cuts a super-packet into packets, in the super-packet's own memory. Its zero value works.
//
//	         headers │ payload 1 │ payload 2 │ payload 3 │ Tail
//	Next 1:  ╰─────── segment ──╯
//	Next 2:              headers ╰ segment ──╯          over payload 1, which has been sealed by then
//	Next 3:                          headers ╰ segment ──╯
type Splitter struct {
	b     []byte // the packet without its virtio header, and Tail bytes
	shape shape
	size  int // payload bytes of each segment but the last
	bytes int // payload bytes of all
	count int
	next  int // the number of the segment that Next gives next

	header [maxHeaders]byte // as the super-packet has it; lengths, ID and checksums are set in each segment
	behind [Tail]byte       // the bytes behind the last segment given: the next one's payload
	sums   headerSums
}

// Reset takes what was read from the TUN: a virtio header and one packet or super-packet. Its memory, and
// the Tail bytes of capacity that must lie behind it, belong to the Splitter and to whom Next gives them,
// until the next Reset. It fails with ErrHeader; then there are no segments.
func (s *Splitter) Reset(b []byte) error {
	s.count, s.next = 0, 0
	if len(b) <= HeaderLen || cap(b)-len(b) < Tail {
		return ErrHeader
	}
	h, p := readHeader(b), b[HeaderLen:]
	s.b = p[:len(p)+Tail]
	if h.gsoType == gsoNone {
		s.shape, s.bytes, s.count = shape{}, len(p), 1
		if h.flags&flagNeedsChecksum != 0 && !completeChecksum(p, h) {
			s.count = 0
			return ErrHeader
		}
		return nil
	}
	x, ok := superPacket(p, h)
	if !ok {
		return ErrHeader
	}
	s.shape, s.size, s.bytes = x, int(h.gsoSize), len(p)-x.headers
	s.count = max(1, (s.bytes+s.size-1)/s.size)
	copy(s.header[:], p[:x.headers])
	s.sums = x.sums(s.header[:x.headers])
	return nil
}

// Count is how many segments there are in all.
func (s *Splitter) Count() int { return s.count }

// Next returns the next segment: a whole IP packet with right lengths and checksums; a plain packet, with
// its checksum completed if the TUN asked for that, is the only segment of itself. The caller may change
// it and the Tail bytes of capacity behind it until it calls Next again, and must then be done with it.
func (s *Splitter) Next() (packet []byte, ok bool) {
	if s.next >= s.count {
		return nil, false
	}
	i := s.next
	s.next++
	if s.shape.headers == 0 {
		return s.b[:s.bytes:len(s.b)], true
	}
	start, header := i*s.size, s.shape.headers
	end := start + header + min(s.size, s.bytes-start)
	payload := s.b[start+header : end+Tail]
	if i > 0 {
		copy(payload, s.behind[:]) // the caller had the previous segment's tail
	}
	if s.next < s.count {
		copy(s.behind[:], payload[len(payload)-Tail:])
	}
	packet = s.b[start : end : end+Tail]
	copy(packet, s.header[:header])
	s.number(packet, i)
	return packet, true
}

// number sets what differs from segment to segment in segment i.
func (s *Splitter) number(p []byte, i int) {
	x := &s.shape
	length := len(p) - x.transport
	if x.v6 {
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-ipwire.IPv6HeaderLen))
	} else {
		id := s.sums.id + uint16(i)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[4:], id)
		binary.BigEndian.PutUint16(p[10:], ^fold(uint32(s.sums.ip)+uint32(len(p))+uint32(id)))
	}
	t := p[x.transport:]
	sum := uint32(s.sums.transport) + uint32(length) + uint32(ipwire.Sum(p[x.headers:]))
	if x.udp {
		binary.BigEndian.PutUint16(t[4:], uint16(length))
		check := ^fold(sum + uint32(length))
		if check == 0 {
			check = 0xffff // RFC 768: 0 says that there is none
		}
		binary.BigEndian.PutUint16(t[6:], check)
		return
	}
	_ = t[17]
	seq := s.sums.seq + uint32(i*s.size)
	if i+1 < s.count {
		t[13] &^= tcpFIN | tcpPSH
	}
	if i > 0 {
		t[13] &^= tcpCWR
	}
	binary.BigEndian.PutUint32(t[4:], seq)
	sum += seq>>16 + seq&0xffff + uint32(t[13])
	binary.BigEndian.PutUint16(t[16:], ^fold(sum))
}
