package fragment

import (
	"net/netip"
	"time"
)

// slot is one datagram.
type slot struct {
	key
	since          time.Duration
	dead           bool // discarded: its fragments are dropped until it is too old
	head           []byte
	next           int
	upper          uint8
	pages          pages // payload
	pieces         []span
	have           int // bytes
	total          int // -1: the last fragment has not come
	ce, notECT     bool
	before, behind int
}

// span is where a piece lies.
type span struct{ start, end uint16 }

// held is what one source holds.
type held struct{ pages, datagrams int }

// open gives a datagram a slot, the newest. The oldest makes room, of the same source if that has its share already.
func (r *Reassembler) open(now time.Duration, k key) int {
	share := max(1, r.config.MaxDatagrams/perSource)
	for i := r.oldest; i != none && r.sources[k.src].datagrams >= share; {
		behind := r.slots[i].behind
		if r.slots[i].src == k.src {
			r.close(i)
		}
		i = behind
	}
	if len(r.byKey) >= r.config.MaxDatagrams {
		r.close(r.oldest)
	}
	if len(r.free) == 0 {
		r.free = append(r.free, len(r.slots))
		r.slots = append(r.slots, slot{})
	}
	i := r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	s := &r.slots[i]
	*s = slot{key: k, since: now, total: -1, head: s.head[:0], pieces: s.pieces[:0], before: r.newest, behind: none}
	r.charge(k.src, held{datagrams: 1})
	if r.newest != none {
		r.slots[r.newest].behind = i
	} else {
		r.oldest = i
	}
	r.newest = i
	r.byKey[k] = i
	return i
}

// close frees a slot.
func (r *Reassembler) close(i int) {
	r.release(i)
	s := &r.slots[i]
	if s.before != none {
		r.slots[s.before].behind = s.behind
	} else {
		r.oldest = s.behind
	}
	if s.behind != none {
		r.slots[s.behind].before = s.before
	} else {
		r.newest = s.before
	}
	delete(r.byKey, s.key)
	r.charge(s.src, held{datagrams: -1})
	r.free = append(r.free, i)
}

// charge changes what a source holds.
func (r *Reassembler) charge(src netip.Addr, by held) {
	h := r.sources[src]
	h.pages, h.datagrams = h.pages+by.pages, h.datagrams+by.datagrams
	if h == (held{}) {
		delete(r.sources, src)
		return
	}
	r.sources[src] = h
}

// discard forgets what came of a datagram, and refuses the rest until it is too old.
func (r *Reassembler) discard(i int) {
	s := &r.slots[i]
	s.dead, s.have, s.pieces = true, 0, s.pieces[:0]
	r.release(i)
}
