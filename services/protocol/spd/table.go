// Package spd is the security policy database of RFC 4301 section 4.4.1: ordered
// entries that protect, bypass or discard, found by a packet's selectors. What no
// entry matches is discarded.
//
// A Table is immutable. Any number of workers look up in it without a lock; whoever
// changes the policy builds a new one (New, With, Without) and publishes that, for
// instance in an atomic pointer.
//
// Entries are indexed by their remote addresses, one segment tree for each family:
//
//	                 [0 ─────────── 7]            a node lists, in order, the
//	           [0 ─── 3]         [4 ─── 7]        entries that cover all of its
//	         [0 1]   [2 3]     [4 5]   [6 7]      ranges but not its parent's
//	remote:   0   1   2   3     4   5   6   7     elementary ranges of addresses
//
// A lookup finds the range by binary search and walks from that leaf to the root: it
// reads only entries whose remote addresses match, and the memory is O(n log n)
// however the ranges nest.
package spd

import (
	"fmt"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Table is an immutable SPD. The zero Table is empty: it discards everything.
type Table struct {
	entries []Entry // in order
	v4, v6  index
}

// New returns the table of the given entries, in any order. It copies them. Errors:
// ErrEntry (also for an ID that is there twice), ErrSelector.
func New(entries []Entry) (*Table, error) {
	return new(Table).With(entries...)
}

// With returns a table that has the given entries besides t's own, in the place of
// those of the same ID. Add many at once: each call indexes the whole table.
func (t *Table) With(entries ...Entry) (*Table, error) {
	added := make(map[[16]byte]bool, len(entries))
	for i := range entries {
		if err := entries[i].Validate(); err != nil {
			return nil, err
		}
		if added[entries[i].ID] {
			return nil, fmt.Errorf("%w: ID %x is given twice", ErrEntry, entries[i].ID)
		}
		added[entries[i].ID] = true
	}
	all := make([]Entry, 0, len(t.entries)+len(entries))
	for _, e := range t.entries {
		if !added[e.ID] {
			all = append(all, e)
		}
	}
	for i := range entries {
		all = append(all, entries[i].clone())
	}
	return build(all), nil
}

// Without returns a table that lacks the entries of the given IDs. IDs that t does not
// have are ignored.
func (t *Table) Without(ids ...[16]byte) *Table {
	removed := make(map[[16]byte]bool, len(ids))
	for _, id := range ids {
		removed[id] = true
	}
	kept := make([]Entry, 0, len(t.entries))
	for _, e := range t.entries {
		if !removed[e.ID] {
			kept = append(kept, e)
		}
	}
	return build(kept)
}

// build takes over entries.
func build(entries []Entry) *Table {
	slices.SortFunc(entries, func(a, b Entry) int { return compareEntries(&a, &b) })
	return &Table{entries: entries, v4: newIndex(entries, 32), v6: newIndex(entries, 128)}
}

// Len is the number of entries.
func (t *Table) Len() int { return len(t.entries) }

// Entries returns the entries in order. Their selectors are shared: do not change them.
func (t *Table) Entries() []Entry { return slices.Clone(t.entries) }

// Lookup returns the first entry that matches a packet that leaves. Without one it
// returns the zero Entry, whose Action is Discard, and false. The entry's selectors are
// shared: do not change them.
func (t *Table) Lookup(f ipwire.Flow) (Entry, bool) { return t.copyOf(t.find(f, false)) }

// LookupInbound is Lookup for a packet that arrives.
func (t *Table) LookupInbound(f ipwire.Flow) (Entry, bool) { return t.copyOf(t.find(f, true)) }

// Find is Lookup without the copy: the entry is the table's, do not change it. Without one it
// returns nil.
func (t *Table) Find(f ipwire.Flow) (*Entry, bool) { return t.at(t.find(f, false)) }

// FindInbound is Find for a packet that arrives.
func (t *Table) FindInbound(f ipwire.Flow) (*Entry, bool) { return t.at(t.find(f, true)) }

// Admits is the inbound check of RFC 4301 section 5.2, step 4: it reports whether a
// packet with the inner flow f may come out of an SA of pair, that is, whether the
// first entry that matches protects with that very pair.
func (t *Table) Admits(pair [16]byte, f ipwire.Flow) bool {
	e, ok := t.FindInbound(f)
	return ok && e.Action == Protect && e.Pair == pair
}

func (t *Table) find(f ipwire.Flow, inbound bool) int32 {
	if inbound {
		return t.indexFor(f.Src).find(f.Src, func(e int32) bool { return t.entries[e].MatchInbound(f) })
	}
	return t.indexFor(f.Dst).find(f.Dst, func(e int32) bool { return t.entries[e].MatchOutbound(f) })
}

func (t *Table) at(i int32) (*Entry, bool) {
	if i == none {
		return nil, false
	}
	return &t.entries[i], true
}

func (t *Table) copyOf(i int32) (Entry, bool) {
	if e, ok := t.at(i); ok {
		return *e, true
	}
	return Entry{}, false
}
