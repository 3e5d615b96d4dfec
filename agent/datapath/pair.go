package datapath

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/services/protocol/sad"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// pair is one installed pair. SAs point to it for as long as they live.
type pair struct {
	id   PairID
	path atomic.Pointer[hostPath]

	acquired time.Duration // control's own: when an SA was last asked for

	spec    Pair       // guarded by Datapath.mu
	entries [][16]byte // ids of its SPD entries; guarded by Datapath.mu
}

// ErrPair: a pair is not well-formed.
var ErrPair = errors.New("datapath: bad pair")

// SetPair adds a pair, or changes one: selectors are replaced in place, SAs stay.
func (d *Datapath) SetPair(p Pair) error { return d.SetPairs(p) }

// SetPairs is SetPair for many pairs at once: all or none. ErrPair, or spd's errors.
func (d *Datapath) SetPairs(specs ...Pair) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var entries []spd.Entry
	var stale [][16]byte
	for i := range specs {
		if err := specs[i].check(); err != nil {
			return err
		}
		own := specs[i].entries()
		entries = append(entries, own...)
		if old := d.pairs[specs[i].ID]; old != nil {
			stale = append(stale, without(old.entries, own)...)
		}
	}
	next := *d.tables.Load()
	table := next.spd
	if len(stale) > 0 {
		table = table.Without(stale...)
	}
	table, err := table.With(entries...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPair, err)
	}
	next.spd = table
	for _, spec := range specs {
		d.setPair(spec)
	}
	d.indexPaths(&next)
	d.tables.Store(&next)
	return nil
}

// setPair cannot fail. The caller holds d.mu.
func (d *Datapath) setPair(spec Pair) {
	spec.Path.Remote = netip.AddrPortFrom(spec.Path.Remote.Addr().Unmap(), spec.Path.Remote.Port())
	p := d.pairs[spec.ID]
	if p == nil {
		p = &pair{id: spec.ID}
		d.pairs[spec.ID] = p
	}
	p.spec, p.entries = spec, ids(spec.entries())
	key := pathKey(spec)
	path := d.paths[key]
	if path == nil {
		path = newHostPath(spec.RemoteHost, spec.Path)
		d.paths[key] = path
		d.ask(path)
	} else if candidate, ok := path.set(spec.Path); ok {
		d.pending = append(d.pending, notice{kind: noticeCandidate, pair: p, came: ends{remote: candidate}})
		d.rouse()
	}
	p.path.Store(path)
	if spec.Path.Remote != path.asked {
		path.asked = spec.Path.Remote
		d.ask(path)
	}
	now := d.config.Clock()
	d.eachOutbound(p, func(sa *outboundSA) { sa.setMTU(now) })
}

// RemovePair removes a pair and every SA that it still has. ErrNoPair if there is none.
func (d *Datapath) RemovePair(id PairID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pairs[id]
	if p == nil {
		return ErrNoPair
	}
	for _, said := range of(d.outbound, id) {
		d.removeOutbound(said)
	}
	for _, said := range of(d.inbound, id) {
		d.inbound.Remove(said)
	}
	delete(d.pairs, id)
	next := *d.tables.Load()
	next.spd = next.spd.Without(p.entries...)
	next.inbound, next.outbound = d.inbound.View(), d.outbound.View()
	d.indexPaths(&next)
	d.tables.Store(&next)
	return nil
}

// indexPaths forgets paths that no pair has any more. The caller holds d.mu.
func (d *Datapath) indexPaths(next *tables) {
	next.pairsOf = make(map[*hostPath][]*pair, len(d.paths))
	for _, p := range d.pairs {
		path := p.path.Load()
		next.pairsOf[path] = append(next.pairsOf[path], p)
	}
	maps.DeleteFunc(d.paths, func(_ string, path *hostPath) bool { return next.pairsOf[path] == nil })
	next.paths = slices.Collect(maps.Values(d.paths))
}

// pathKey is the same for pairs that share a path. A pair without a host has its own.
func pathKey(p Pair) string {
	if p.RemoteHost == "" {
		return "pair " + p.ID.String()
	}
	return "host " + p.RemoteHost
}

func (p *Pair) check() error {
	remote := p.Path.Remote
	switch {
	case p.ID == PairID{}:
		return fmt.Errorf("%w: it has no id", ErrPair)
	case len(p.Local) == 0 || len(p.Remote) == 0:
		return fmt.Errorf("%w: %v has no selectors", ErrPair, p.ID)
	case remote != netip.AddrPort{} && !remote.IsValid():
		return fmt.Errorf("%w: %v has the remote end %v: want an address and a port", ErrPair, p.ID, remote)
	case p.Order > maxOrder:
		return fmt.Errorf("%w: %v has the order %d: at most %d", ErrPair, p.ID, p.Order, maxOrder)
	case p.Path.KeepaliveInterval < 0:
		return fmt.Errorf("%w: %v has a negative keepalive interval", ErrPair, p.ID)
	}
	return nil
}

// maxOrder is the last place among ordered entries; those that have none come behind.
const maxOrder = 1<<24 - 1

// entries are the pair's SPD entries: those of its order, or one for each size of its remote selectors, the smallest range
// first. So where pairs overlap the longest remote prefix wins, as in routing, and an end with a wide
// prefix cannot speak for one with a narrow prefix within.
func (p *Pair) entries() []spd.Entry {
	groups := make(map[uint32][]Selector)
	for _, s := range p.Remote {
		rank := p.Order
		if rank == 0 {
			rank = maxOrder + 1 + selectorRank(s)
		}
		groups[rank] = append(groups[rank], s)
	}
	var out []spd.Entry
	for _, rank := range slices.Sorted(maps.Keys(groups)) {
		for part := range slices.Chunk(groups[rank], spd.MaxSelectors) {
			out = append(out, spd.Entry{ID: entryID(p.ID, len(out)), Priority: rank, Action: spd.Protect,
				Pair: p.ID, Local: p.Local, Remote: part, Populate: p.Populate})
		}
	}
	return out
}

// selectorRank orders selectors by the width of their range; of equal ones, those for one protocol come
// first.
func selectorRank(s Selector) uint32 {
	rank := uint32(hostBits(s)) * 2
	if s.Proto == 0 {
		rank++
	}
	return rank
}

// hostBits is the number of low bits that differ within the range.
func hostBits(s Selector) int {
	first, last := s.First.As16(), s.Last.As16()
	for i := range first {
		if x := first[i] ^ last[i]; x != 0 {
			return (15-i)*8 + bits.Len8(x)
		}
	}
	return 0
}

func entryID(id PairID, n int) [16]byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint32(id[:], uint32(n)))
	return [16]byte(sum[:16])
}

func ids(entries []spd.Entry) [][16]byte {
	out := make([][16]byte, len(entries))
	for i := range entries {
		out[i] = entries[i].ID
	}
	return out
}

// without is what old has and now does not.
func without(old [][16]byte, now []spd.Entry) [][16]byte {
	kept := ids(now)
	return slices.DeleteFunc(slices.Clone(old), func(id [16]byte) bool { return slices.Contains(kept, id) })
}

// of lists the SAs of a pair.
func of[T any](db *sad.Database[T], id PairID) (found []SAID) {
	for sa := range db.All {
		if sa.Pair == id {
			found = append(found, sa.ID)
		}
	}
	return found
}
