package spd

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
)

// box is a range of each selector: a part of the space of all flows of one address family, in
// five dimensions. That a packet's ports are not available is port number 65536, on both ends.
type box struct {
	bits  int // of an address
	spans [dimensions]span128
}

type dimension int

const (
	byProtocol dimension = iota
	byLocalPort
	byRemotePort
	byLocalAddress
	byRemoteAddress
	dimensions
)

// noPort is one above all ports.
const noPort = math.MaxUint16 + 1

// span128 is a range of numbers, both ends included.
type span128 struct{ lo, hi uint128 }

type uint128 struct{ hi, lo uint64 }

func (u uint128) compare(v uint128) int {
	return cmp.Or(cmp.Compare(u.hi, v.hi), cmp.Compare(u.lo, v.lo))
}

// next is u+1; u is not the highest.
func (u uint128) next() uint128 {
	u.lo++
	if u.lo == 0 {
		u.hi++
	}
	return u
}

// previous is u-1; u is not 0.
func (u uint128) previous() uint128 {
	if u.lo == 0 {
		u.hi--
	}
	u.lo--
	return u
}

func (s span128) compare(t span128) int { return cmp.Or(s.lo.compare(t.lo), s.hi.compare(t.hi)) }

func small(lo, hi uint64) span128 { return span128{uint128{lo: lo}, uint128{lo: hi}} }

func numberOf(a netip.Addr) uint128 {
	if a.Is4() {
		raw := a.As4()
		return uint128{lo: uint64(binary.BigEndian.Uint32(raw[:]))}
	}
	raw := a.As16()
	return uint128{binary.BigEndian.Uint64(raw[:]), binary.BigEndian.Uint64(raw[8:])}
}

func (u uint128) addr(bits int) netip.Addr {
	if bits == 32 {
		var raw [4]byte
		binary.BigEndian.PutUint32(raw[:], uint32(u.lo))
		return netip.AddrFrom4(raw)
	}
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:], u.hi)
	binary.BigEndian.PutUint64(raw[8:], u.lo)
	return netip.AddrFrom16(raw)
}

// boxesOf returns what an entry takes: a box, or two, for each pair of its selectors.
func boxesOf(e *Entry) (boxes []box) {
	for _, l := range e.Local {
		for _, r := range e.Remote {
			if l.First.BitLen() != r.First.BitLen() || l.Proto != 0 && r.Proto != 0 && l.Proto != r.Proto {
				continue // no packet is both
			}
			b := box{bits: l.First.BitLen()}
			b.spans[byLocalAddress] = span128{numberOf(l.First), numberOf(l.Last)}
			b.spans[byRemoteAddress] = span128{numberOf(r.First), numberOf(r.Last)}
			b.spans[byProtocol] = small(0, math.MaxUint8)
			if proto := uint64(max(l.Proto, r.Proto)); proto != 0 {
				b.spans[byProtocol] = small(proto, proto)
			}
			if l.Ports != OpaquePorts() && r.Ports != OpaquePorts() {
				b.spans[byLocalPort] = small(uint64(l.Ports.First), uint64(l.Ports.Last))
				b.spans[byRemotePort] = small(uint64(r.Ports.First), uint64(r.Ports.Last))
				boxes = append(boxes, b)
			}
			if l.Ports.match(0, true) && r.Ports.match(0, true) {
				boxes = append(boxes, b.withoutPorts())
			}
		}
	}
	return boxes
}

func (b box) withoutPorts() box {
	b.spans[byLocalPort], b.spans[byRemotePort] = small(noPort, noPort), small(noPort, noPort)
	return b
}

func (b box) opaque() bool { return b.spans[byLocalPort].lo.lo == noPort }

func (b box) anyPort() bool {
	all := small(0, math.MaxUint16)
	return b.spans[byLocalPort] == all && b.spans[byRemotePort] == all
}

func (b box) overlaps(c box) bool {
	if b.bits != c.bits {
		return false
	}
	for d := range dimensions {
		if b.spans[d].hi.compare(c.spans[d].lo) < 0 || c.spans[d].hi.compare(b.spans[d].lo) < 0 {
			return false
		}
	}
	return true
}

// joins reports whether c goes on in dimension d where b ends, and is else the same.
func (b box) joins(c box, d dimension) bool {
	if b.opaque() != c.opaque() || b.spans[d].hi.compare(c.spans[d].lo) >= 0 || b.spans[d].hi.next() != c.spans[d].lo {
		return false
	}
	b.spans[d] = c.spans[d]
	return b == c
}

// subtract returns b without the boxes of the lists, in disjoint parts; false when there were more
// than limit parts at some time.
func subtract(b box, limit int, lists ...[]box) (parts []box, ok bool) {
	parts = []box{b}
	for _, list := range lists {
		for _, c := range list {
			if !b.overlaps(c) {
				continue
			}
			var rest []box
			for _, p := range parts {
				rest = p.minus(c, rest)
			}
			if parts = rest; len(parts) > limit {
				return nil, false
			}
		}
	}
	return parts, len(parts) <= limit
}

// minus appends b without c to parts: in each dimension what lies below and above c.
func (b box) minus(c box, parts []box) []box {
	if !b.overlaps(c) {
		return append(parts, b)
	}
	for d := range dimensions {
		if b.spans[d].lo.compare(c.spans[d].lo) < 0 {
			below := b
			below.spans[d].hi = c.spans[d].lo.previous()
			parts = append(parts, below)
			b.spans[d].lo = c.spans[d].lo
		}
		if b.spans[d].hi.compare(c.spans[d].hi) > 0 {
			above := b
			above.spans[d].lo = c.spans[d].hi.next()
			parts = append(parts, above)
			b.spans[d].hi = c.spans[d].hi
		}
	}
	return parts
}

// region returns the box as a Region; withOpaque adds the packets without ports.
func (b box) region(e *Entry, withOpaque bool) Region {
	addresses := func(d dimension) Addresses {
		return Addresses{b.spans[d].lo.addr(b.bits), b.spans[d].hi.addr(b.bits)}
	}
	ports := func(d dimension) Ports {
		if b.opaque() {
			return OpaquePorts()
		}
		return Ports{uint16(b.spans[d].lo.lo), uint16(b.spans[d].hi.lo)}
	}
	return Region{
		Entry: e, Local: addresses(byLocalAddress), Remote: addresses(byRemoteAddress),
		FirstProto: uint8(b.spans[byProtocol].lo.lo), LastProto: uint8(b.spans[byProtocol].hi.lo),
		LocalPorts: ports(byLocalPort), RemotePorts: ports(byRemotePort), Opaque: withOpaque,
	}
}
