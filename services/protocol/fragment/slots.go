package fragment

import "time"

// open gives a datagram a slot, the newest.
func (r *Reassembler) open(now time.Duration, k key) int {
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
	*s = slot{key: k, since: now, total: -1, head: s.head[:0], buf: s.buf, pieces: s.pieces[:0], before: r.newest, behind: none}
	r.sources[k.src] += cap(s.buf)
	if r.newest != none {
		r.slots[r.newest].behind = i
	} else {
		r.oldest = i
	}
	r.newest = i
	r.byKey[k] = i
	return i
}

// close frees a slot. It keeps its memory for the next datagram.
func (r *Reassembler) close(i int) {
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
	r.charge(s, -cap(s.buf))
	r.free = append(r.free, i)
}

// charge changes what a source holds.
func (r *Reassembler) charge(s *slot, n int) {
	if left := r.sources[s.src] + n; left > 0 {
		r.sources[s.src] = left
	} else {
		delete(r.sources, s.src)
	}
}

// discard forgets what came of a datagram, and refuses the rest until it is too old.
func (r *Reassembler) discard(i int) {
	s := &r.slots[i]
	s.dead, s.have, s.pieces = true, 0, s.pieces[:0]
	r.release(i)
}

// release gives a slot's memory back.
func (r *Reassembler) release(i int) {
	s := &r.slots[i]
	r.bytes -= cap(s.buf)
	if j, waits := r.byKey[s.key]; waits && j == i {
		r.charge(s, -cap(s.buf))
	}
	s.buf = nil
}

// grow makes a slot's memory hold n bytes. It returns false when that is more than a source may hold, and the
// datagram itself is all that could make room.
func (r *Reassembler) grow(i, n int) bool {
	s := &r.slots[i]
	if n <= cap(s.buf) {
		s.buf = s.buf[:cap(s.buf)]
		return true
	}
	size := leastBuf
	for size < n {
		size *= 2
	}
	more := size - cap(s.buf)
	if !r.makeRoom(i, more) {
		return false
	}
	s = &r.slots[i]
	buf := make([]byte, size)
	copy(buf, s.buf)
	s.buf = buf
	r.bytes += more
	r.charge(s, more)
	return true
}

// makeRoom frees memory until more bytes fit: of free slots first, then of the oldest datagrams, of the same source
// if that holds its share already.
func (r *Reassembler) makeRoom(i, more int) bool {
	for _, j := range r.free {
		if r.bytes+more <= r.config.MaxBytes {
			break
		}
		r.release(j)
	}
	src := r.slots[i].src
	for j := r.oldest; j != none && r.sources[src]+more > r.config.MaxBytes/perSource; {
		behind := r.slots[j].behind
		if j != i && r.slots[j].src == src && !r.slots[j].dead {
			r.close(j)
			r.release(j)
		}
		j = behind
	}
	for j := r.oldest; j != none && r.bytes+more > r.config.MaxBytes; {
		behind := r.slots[j].behind
		if j != i && !r.slots[j].dead {
			r.close(j)
			r.release(j)
		}
		j = behind
	}
	return r.bytes+more <= r.config.MaxBytes && r.sources[src]+more <= r.config.MaxBytes/perSource
}
