package ipwire

import (
	"encoding/binary"
	"math/bits"
)

// Tuple identifies the flow of a plain packet: addresses, protocol and ports as they stand in it. Two plain packets have
// equal tuples exactly if ParseFlow gives equal flows for them.
type Tuple struct {
	src, dst [2]uint64
	ports    uint32
	proto    uint8
	version  uint8
}

// TupleOf returns the tuple of a datagram that fills b and is plain: TCP or UDP directly behind a header without options
// or extension headers, whole. It costs a fraction of ParseFlow; what it says no to may be right all the same.
func TupleOf(b []byte) (t Tuple, ok bool) {
	if len(b) < IPv4MinHeaderLen+4 {
		return t, false
	}
	if b[0] == 4<<4|IPv4MinHeaderLen/4 {
		t.src[0], t.dst[0] = uint64(binary.BigEndian.Uint32(b[12:])), uint64(binary.BigEndian.Uint32(b[16:]))
		t.ports, t.proto, t.version = binary.BigEndian.Uint32(b[IPv4MinHeaderLen:]), b[9], 4
		fragment := binary.BigEndian.Uint16(b[6:]) & 0x3fff // MF and the offset
		return t, int(binary.BigEndian.Uint16(b[2:])) == len(b) && fragment == 0 && (t.proto == ProtoTCP || t.proto == ProtoUDP)
	}
	if b[0]>>4 != 6 || len(b) < IPv6HeaderLen+4 {
		return t, false
	}
	t.src = [2]uint64{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
	t.dst = [2]uint64{binary.BigEndian.Uint64(b[24:]), binary.BigEndian.Uint64(b[32:])}
	t.ports, t.proto, t.version = binary.BigEndian.Uint32(b[IPv6HeaderLen:]), b[6], 6
	return t, int(binary.BigEndian.Uint16(b[4:]))+IPv6HeaderLen == len(b) && (t.proto == ProtoTCP || t.proto == ProtoUDP)
}

// Hash spreads tuples over the numbers below 2^32. Who chooses ports can make them meet: let that cost no more than time.
func (t *Tuple) Hash() uint32 {
	h := t.src[0] ^ bits.RotateLeft64(t.src[1], 16) ^ bits.RotateLeft64(t.dst[0], 32) ^ bits.RotateLeft64(t.dst[1], 48)
	h = (h ^ uint64(t.ports)<<8 ^ uint64(t.proto)) * 0x9e3779b97f4a7c15
	return uint32(h >> 32)
}
