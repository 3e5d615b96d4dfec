package spd

import (
	"net/netip"
	"slices"
)

// none stands for "no entry".
const none int32 = -1

// index is a segment tree over the remote addresses of one family. Leaf i is node
// len(starts)+i; the parent of node n is n/2. Node n lists
// lists[bounds[n]:bounds[n+1]]: entries, ascending.
type index struct {
	starts []netip.Addr // first address of each elementary range, ascending
	bounds []int32
	lists  []int32
}

func (t *Table) indexFor(remote netip.Addr) *index {
	if remote.Is4() {
		return &t.v4
	}
	return &t.v6
}

// newIndex indexes the selectors of bits-wide addresses.
func newIndex(entries []Entry, bits int) index {
	var x index
	each(entries, bits, func(_ int32, s Selector) {
		x.starts = append(x.starts, s.First)
		if after := s.Last.Next(); after.IsValid() {
			x.starts = append(x.starts, after)
		}
	})
	slices.SortFunc(x.starts, netip.Addr.Compare)
	x.starts = slices.Clip(slices.Compact(x.starts))
	spans := x.spans(entries, bits)
	x.bounds = make([]int32, 2*len(x.starts)+1)
	cover(spans, func(node, _ int32) { x.bounds[node+1]++ })
	for n := range len(x.bounds) - 1 {
		x.bounds[n+1] += x.bounds[n]
	}
	x.lists = make([]int32, x.bounds[len(x.bounds)-1])
	next := slices.Clone(x.bounds)
	cover(spans, func(node, entry int32) {
		x.lists[next[node]] = entry
		next[node]++
	})
	return x
}

// span is a selector's leaves: nodes from first to before end.
type span struct{ entry, first, end int32 }

func (x *index) spans(entries []Entry, bits int) (spans []span) {
	leaves := len(x.starts)
	each(entries, bits, func(entry int32, s Selector) {
		spans = append(spans, span{entry, int32(x.leaf(s.First) + leaves), int32(x.leaf(s.Last) + leaves + 1)})
	})
	return spans
}

// cover calls do, entry by entry, with the fewest nodes that together cover each span. An
// entry whose selectors overlap may get a node twice.
func cover(spans []span, do func(node, entry int32)) {
	for _, s := range spans {
		for l, r := s.first, s.end; l < r; l, r = l/2, r/2 {
			if l%2 == 1 {
				do(l, s.entry)
				l++
			}
			if r%2 == 1 {
				r--
				do(r, s.entry)
			}
		}
	}
}

func each(entries []Entry, bits int, do func(entry int32, s Selector)) {
	for i := range entries {
		for _, s := range entries[i].Remote {
			if s.First.BitLen() == bits {
				do(int32(i), s)
			}
		}
	}
}

// leaf returns the number of the elementary range that addr is in, -1 below the first.
func (x *index) leaf(addr netip.Addr) int {
	lo, hi := 0, len(x.starts)
	for lo < hi {
		mid := (lo + hi) / 2
		if x.starts[mid].Compare(addr) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// find returns the lowest entry that covers addr and that match accepts, or none.
func (x *index) find(addr netip.Addr, match func(entry int32) bool) int32 {
	leaf, best := x.leaf(addr), none
	if leaf < 0 {
		return none
	}
	for n := leaf + len(x.starts); n > 0; n /= 2 {
		for _, e := range x.lists[x.bounds[n]:x.bounds[n+1]] {
			if best != none && e >= best {
				break
			}
			if match(e) {
				best = e
				break
			}
		}
	}
	return best
}
