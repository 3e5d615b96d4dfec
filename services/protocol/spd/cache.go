package spd

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Cache remembers which entry of a table takes a flow, or that none does. It is keyed by all of
// a flow's selectors, so that its answers are the table's, and forgets everything when it is
// asked about another table. NewCache makes it. It belongs to one worker.
//
//	hash of the flow ──▶ set ──▶ ┌ way 0 ┬ way 1 ┬ way 2 ┬ way 3 ┐   one of them is the flow's,
//	                             └───────┴───────┴───────┴───────┘   or the oldest makes room
type Cache struct {
	table *Table
	round uint32 // ways of an earlier one are stale; 0 is never current
	sets  []set
}

const ways = 4

type set struct {
	ways [ways]way
	next uint32 // the way that makes room
}

type way struct {
	flow    ipwire.Flow
	inbound bool
	round   uint32
	entry   int32 // none: the table has none
}

// NewCache returns an empty cache of at least the given number of flows, at about 70 bytes each.
func NewCache(flows int) *Cache {
	sets := max(flows+ways-1, ways) / ways
	return &Cache{sets: make([]set, 1<<bits.Len(uint(sets-1)))}
}

// Lookup returns what t.Find does. The entry is shared: do not change it.
func (c *Cache) Lookup(t *Table, f ipwire.Flow) (*Entry, bool) { return c.lookup(t, f, false) }

// LookupInbound returns what t.FindInbound does.
func (c *Cache) LookupInbound(t *Table, f ipwire.Flow) (*Entry, bool) { return c.lookup(t, f, true) }

func (c *Cache) lookup(t *Table, f ipwire.Flow, inbound bool) (*Entry, bool) {
	if t != c.table {
		c.turn(t)
	}
	s := &c.sets[hash(f)&uint64(len(c.sets)-1)]
	for i := range s.ways {
		if w := &s.ways[i]; w.round == c.round && w.inbound == inbound && w.flow == f {
			return t.at(w.entry)
		}
	}
	i := t.find(f, inbound)
	s.ways[s.next%ways] = way{flow: f, inbound: inbound, round: c.round, entry: i}
	s.next++
	return t.at(i)
}

// turn forgets everything, for a new table.
func (c *Cache) turn(t *Table) {
	c.table = t
	if c.round++; c.round == 0 {
		clear(c.sets)
		c.round = 1
	}
}

// hash is quick before it is good: who can choose flows can make them meet in a set, and then
// they cost a lookup in the table.
func hash(f ipwire.Flow) uint64 {
	h := mix(fold(f.Src), fold(f.Dst))
	return mix(h, uint64(f.Proto)<<32|uint64(f.SrcPort)<<16|uint64(f.DstPort))
}

func fold(a netip.Addr) uint64 {
	b := a.As16()
	return bits.RotateLeft64(binary.BigEndian.Uint64(b[:]), 17) ^ binary.BigEndian.Uint64(b[8:])
}

// mix spreads two numbers over all bits of one.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xff51afd7ed558ccd)
	return hi ^ lo
}
