package spd

import (
	"net/netip"
	"slices"
)

// none stands for "no entry".
const none int32 = -1

// index is a segment tree over the remote addresses of one family. Leaf i is node
// len(starts)+i; the parent of node n is n/2.
type index struct {
	starts []netip.Addr // first address of each elementary range, ascending
	nodes  [][]int32    // entries, ascending
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
	x.nodes = make([][]int32, 2*len(x.starts))
	each(entries, bits, func(entry int32, s Selector) {
		x.insert(entry, x.leaf(s.First), x.leaf(s.Last))
	})
	return x
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

// insert adds an entry to the fewest nodes that together cover the leaves first to last.
func (x *index) insert(entry int32, first, last int) {
	l, r := first+len(x.starts), last+len(x.starts)+1
	for ; l < r; l, r = l/2, r/2 {
		if l%2 == 1 {
			x.add(l, entry)
			l++
		}
		if r%2 == 1 {
			r--
			x.add(r, entry)
		}
	}
}

// add keeps a node's list ascending and without repetition: entries come in order.
func (x *index) add(node int, entry int32) {
	list := x.nodes[node]
	if len(list) > 0 && list[len(list)-1] == entry {
		return
	}
	x.nodes[node] = append(list, entry)
}

// find returns the lowest entry that covers addr and that match accepts, or none.
func (x *index) find(addr netip.Addr, match func(entry int32) bool) int32 {
	leaf, best := x.leaf(addr), none
	if leaf < 0 {
		return none
	}
	for n := leaf + len(x.starts); n > 0; n /= 2 {
		for _, e := range x.nodes[n] {
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
