package fragment

import (
	"net/netip"
	"time"
)

// slot is one datagram.
type slot struct {
	key
	since      time.Duration
	dead       bool // discarded: its fragments are dropped until it is too old
	head       []byte
	next       int
	upper      uint8
	pages      pages // payload
	pieces     []span
	have       int // bytes
	total      int // -1: the last fragment has not come
	ce, notECT bool
	links      [queues]links
}

// span is where a piece lies.
type span struct{ start, end uint16 }

// held is what one source holds.
type held struct {
	pages, datagrams int
	queue
}

// queue has slots by age; none is none.
type queue struct{ oldest, newest int }

// links are a slot's neighbours in a queue.
type links struct{ before, behind int }

// The queues that a slot is in.
const (
	ofAll    = iota // the Reassembler's
	ofSource        // its source's
	queues
)

// push makes slot i the newest of a queue.
func (r *Reassembler) push(q *queue, of, i int) {
	r.slots[i].links[of] = links{q.newest, none}
	if q.newest != none {
		r.slots[q.newest].links[of].behind = i
	} else {
		q.oldest = i
	}
	q.newest = i
}

// remove takes slot i out of a queue.
func (r *Reassembler) remove(q *queue, of, i int) {
	l := r.slots[i].links[of]
	if l.before != none {
		r.slots[l.before].links[of].behind = l.behind
	} else {
		q.oldest = l.behind
	}
	if l.behind != none {
		r.slots[l.behind].links[of].before = l.before
	} else {
		q.newest = l.before
	}
}

// source is what a source holds.
func (r *Reassembler) source(src netip.Addr) held {
	if h, ok := r.sources[src]; ok {
		return h
	}
	return held{queue: queue{none, none}}
}

// open gives a datagram a slot, the newest. The oldest makes room, of the same source if that has its share already.
func (r *Reassembler) open(now time.Duration, k key) int {
	h := r.source(k.src)
	if h.datagrams >= max(1, r.config.MaxDatagrams/perSource) {
		r.close(h.oldest)
	} else if len(r.byKey) >= r.config.MaxDatagrams {
		r.close(r.oldest)
	}
	if len(r.free) == 0 {
		r.free = append(r.free, len(r.slots))
		r.slots = append(r.slots, slot{})
	}
	i := r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	s := &r.slots[i]
	*s = slot{key: k, since: now, total: -1, head: s.head[:0], pieces: s.pieces[:0]}
	r.byKey[k] = i
	r.push(&r.queue, ofAll, i)
	h = r.source(k.src) // what was closed may have been its own
	h.datagrams++
	r.push(&h.queue, ofSource, i)
	r.sources[k.src] = h
	return i
}

// close frees a slot.
func (r *Reassembler) close(i int) {
	r.release(i)
	s := &r.slots[i]
	r.remove(&r.queue, ofAll, i)
	h := r.source(s.src)
	h.datagrams--
	r.remove(&h.queue, ofSource, i)
	if r.sources[s.src] = h; h.datagrams == 0 {
		delete(r.sources, s.src)
	}
	delete(r.byKey, s.key)
	r.free = append(r.free, i)
}

// charge changes how many pages a source holds, one of datagrams that wait.
func (r *Reassembler) charge(src netip.Addr, pages int) {
	h := r.source(src)
	h.pages += pages
	r.sources[src] = h
}

// discard forgets what came of a datagram, and refuses the rest until it is too old.
func (r *Reassembler) discard(i int) {
	s := &r.slots[i]
	s.dead, s.have, s.pieces = true, 0, s.pieces[:0]
	r.release(i)
}
