package spd

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// ErrRegions: a decorrelated SPD would be larger than allowed.
var ErrRegions = errors.New("spd: too many regions")

// Region is a part of what one entry takes and no other entry does: an SPD as a set of Regions
// needs no order, RFC 4301 section 4.4.1. It is exactly one range of each selector, which a
// Selector is not: a Selector cannot say "protocols 7 to 255", nor "every port, but a known one".
type Region struct {
	Entry                   *Entry // the one it is part of; Decorrelate's argument's element
	Local, Remote           Addresses
	FirstProto, LastProto   uint8 // both included; 0 to 255 is any
	LocalPorts, RemotePorts Ports // known ones; OpaquePorts, and then both, are none
	// Opaque: packets whose ports are not available (fragments, protocols without ports) are in it too.
	Opaque bool
}

// Addresses is a range of addresses of one family, both ends included.
type Addresses struct{ First, Last netip.Addr }

func (a Addresses) contains(addr netip.Addr) bool {
	return addr.BitLen() == a.First.BitLen() && a.First.Compare(addr) <= 0 && addr.Compare(a.Last) <= 0
}

// MatchOutbound reports whether a packet that leaves is in the region.
func (r *Region) MatchOutbound(f ipwire.Flow) bool {
	return r.Local.contains(f.Src) && r.Remote.contains(f.Dst) && r.FirstProto <= f.Proto && f.Proto <= r.LastProto &&
		(f.Opaque && r.Opaque || !f.Opaque && r.LocalPorts.hold(f.SrcPort) && r.RemotePorts.hold(f.DstPort))
}

// MatchInbound reports whether a packet that arrives is in the region.
func (r *Region) MatchInbound(f ipwire.Flow) bool { return r.MatchOutbound(f.Reverse()) }

func (p Ports) hold(port uint16) bool { return p.First <= port && port <= p.Last }

// Decorrelate returns the SPD of the given entries, in any order, as regions of which no two have
// a packet in common: each packet is in a region of the first entry that matches it, and in none
// if none does. Regions of one entry are merged where they form one; they come in the entries'
// order, and an entry that those before it hide has none.
//
// It compares each entry, that is each pair of its selectors, with all before it, which is slow for
// many thousands. Errors: ErrRegions when more than limit regions would come out, or are needed on
// the way; ErrEntry, ErrSelector.
func Decorrelate(entries []Entry, limit int) ([]Region, error) {
	order := make([]*Entry, len(entries))
	for i := range entries {
		if err := entries[i].Validate(); err != nil {
			return nil, err
		}
		order[i] = &entries[i]
	}
	slices.SortFunc(order, compareEntries)
	var taken []box
	var regions []Region
	for n, e := range order {
		own := boxesOf(e)
		parts, ok := remainder(own, taken, limit-len(regions))
		if !ok || len(taken)+len(own) > limit {
			return nil, fmt.Errorf("%w: entry %x, number %d of %d, needs more than the %d allowed: allow more, or let fewer entries overlap",
				ErrRegions, e.ID, n+1, len(order), limit)
		}
		taken = append(taken, own...)
		regions = append(regions, regionsOf(e, merge(parts))...)
	}
	return regions, nil
}

// remainder returns what an entry's boxes hold and those taken do not, in disjoint parts; false
// when they are more than limit.
func remainder(own, taken []box, limit int) (parts []box, ok bool) {
	if len(own) > limit {
		return nil, false
	}
	for i, b := range own {
		rest, ok := subtract(b, limit-len(parts), taken, own[:i])
		if !ok {
			return nil, false
		}
		parts = append(parts, rest...)
	}
	return parts, true
}

// regionsOf turns boxes into regions, two of which are one when they differ in whether ports are known alone.
func regionsOf(e *Entry, boxes []box) (regions []Region) {
	opaque := make(map[box]bool)
	for _, b := range boxes {
		if b.opaque() {
			opaque[b] = true
		}
	}
	var ported []box
	for _, b := range boxes {
		if !b.opaque() {
			ported = append(ported, b)
		}
	}
	for _, b := range ported {
		twin := b.withoutPorts()
		both := b.anyPort() && opaque[twin]
		if both {
			delete(opaque, twin)
		}
		regions = append(regions, b.region(e, both))
	}
	for _, b := range boxes {
		if opaque[b] {
			regions = append(regions, b.region(e, true))
		}
	}
	return regions
}

// compareBoxes orders boxes by all dimensions but one, and by that one last.
func compareBoxes(a, b box, last dimension) int {
	c := cmp.Compare(a.bits, b.bits)
	for d := range dimensions {
		if d != last {
			c = cmp.Or(c, a.spans[d].compare(b.spans[d]))
		}
	}
	return cmp.Or(c, a.spans[last].compare(b.spans[last]))
}

// merge joins disjoint boxes that differ in one dimension and touch there, until none do.
func merge(boxes []box) []box {
	for before := -1; before != len(boxes); {
		before = len(boxes)
		for d := range dimensions {
			slices.SortFunc(boxes, func(a, b box) int { return compareBoxes(a, b, d) })
			out := boxes[:0]
			for _, b := range boxes {
				if n := len(out) - 1; n >= 0 && out[n].joins(b, d) {
					out[n].spans[d].hi = b.spans[d].hi
					continue
				}
				out = append(out, b)
			}
			boxes = out
		}
	}
	return boxes
}
