package sad

import (
	"net/netip"
	"slices"
)

// View is an immutable picture of a Database for the workers that carry packets: any
// number of them read it without a lock. Publish a new one after each batch of
// changes, for instance in an atomic pointer. The zero View is empty.
//
// A View shares with the one before all that has not changed: it costs as little with
// 10,000 SAs as with 10, and so does a lookup.
type View[T any] struct {
	inbound      trie[uint32, T] // of SPI alone
	destinations trie[key, T]    // of SPI and destination
	sources      trie[key, T]    // of SPI, destination and source
	outbound     trie[[16]byte, *outbound[T]]
}

// outbound is what one pair has to send under. It is never changed, only replaced.
type outbound[T any] struct {
	newest     T // not narrowed
	generation uint32
	narrowed   []T // highest generation first
}

// View returns a picture of the database as it is now.
func (d *Database[T]) View() *View[T] {
	v := d.view
	return &v
}

// Inbound returns the state of the inbound SA that is found by the SPI alone.
func (v *View[T]) Inbound(spi uint32) (T, bool) {
	return v.inbound.get(hashSPI(spi), spi)
}

// InboundFor returns the state of the inbound SA that a packet takes, RFC 4301 section 4.1: the
// one of its SPI, destination and source; else of its SPI and destination; else of its SPI alone.
// An IPv4 address must not be in its IPv6-mapped form.
func (v *View[T]) InboundFor(spi uint32, dst, src netip.Addr) (T, bool) {
	if !v.sources.empty() {
		k := key{spi, dst, src}
		if value, ok := v.sources.get(k.hash(), k); ok {
			return value, true
		}
	}
	if !v.destinations.empty() {
		k := key{spi: spi, dst: dst}
		if value, ok := v.destinations.get(k.hash(), k); ok {
			return value, true
		}
	}
	return v.Inbound(spi)
}

// has says whether there is an inbound SA of this very key.
func (v *View[T]) has(k key) (ok bool) {
	switch {
	case k.src.IsValid():
		_, ok = v.sources.get(k.hash(), k)
	case k.dst.IsValid():
		_, ok = v.destinations.get(k.hash(), k)
	default:
		_, ok = v.inbound.get(hashSPI(k.spi), k.spi)
	}
	return ok
}

// Outbound returns the state of the pair's outbound SA of the highest generation that is
// installed and not narrowed: the one that new packets take unless a narrowed one is theirs.
func (v *View[T]) Outbound(pair [16]byte) (T, bool) {
	if o, ok := v.outbound.get(hash16(pair), pair); ok && o.generation != 0 {
		return o.newest, true
	}
	var none T
	return none, false
}

// Narrowed returns the states of the pair's narrowed outbound SAs, the highest generation
// first: the first one whose selectors match takes the packet. The slice is shared: do not
// change it.
func (v *View[T]) Narrowed(pair [16]byte) []T {
	if o, ok := v.outbound.get(hash16(pair), pair); ok {
		return o.narrowed
	}
	return nil
}

// show puts an SA that has just been installed into the current view.
func (d *Database[T]) show(h *held[T]) {
	if h.sa.Direction == Outbound {
		d.outbound[h.sa.Pair] = append(d.outbound[h.sa.Pair], h) // its generation is the highest ever
		d.showPair(h.sa.Pair)
		return
	}
	k, v := h.sa.key(), &d.view
	switch {
	case k.src.IsValid():
		v.sources = v.sources.put(k.hash(), k, h.value)
	case k.dst.IsValid():
		v.destinations = v.destinations.put(k.hash(), k, h.value)
	default:
		v.inbound = v.inbound.put(hashSPI(k.spi), k.spi, h.value)
	}
}

// hide takes an SA that has just been removed out of the current view.
func (d *Database[T]) hide(h *held[T]) {
	if h.sa.Direction == Outbound {
		d.outbound[h.sa.Pair] = slices.DeleteFunc(d.outbound[h.sa.Pair], func(o *held[T]) bool { return o == h })
		d.showPair(h.sa.Pair)
		return
	}
	k, v := h.sa.key(), &d.view
	switch {
	case k.src.IsValid():
		v.sources = v.sources.without(k.hash(), k)
	case k.dst.IsValid():
		v.destinations = v.destinations.without(k.hash(), k)
	default:
		v.inbound = v.inbound.without(hashSPI(k.spi), k.spi)
	}
}

// showPair makes the view of a pair's outbound SAs anew.
func (d *Database[T]) showPair(pair [16]byte) {
	all := d.outbound[pair]
	if len(all) == 0 {
		delete(d.outbound, pair)
		d.view.outbound = d.view.outbound.without(hash16(pair), pair)
		return
	}
	o := new(outbound[T])
	for _, h := range slices.Backward(all) {
		switch {
		case h.sa.Narrowed:
			o.narrowed = append(o.narrowed, h.value)
		case o.generation == 0:
			o.newest, o.generation = h.value, h.sa.Generation
		}
	}
	d.view.outbound = d.view.outbound.put(hash16(pair), pair, o)
}
