package fragment

import "bytes"

const (
	// pageLen is the unit of memory: where a fragment lies does not matter for what it costs.
	pageLen   = 2048
	mostPages = (maxDatagram + pageLen - 1) / pageLen
)

type page [pageLen]byte

// pages hold a payload; those that no fragment has touched are nil.
type pages [mostPages]*page

// split calls visit with each page that b covers when it lies at start, and b's part of it.
func (p *pages) split(start int, b []byte, visit func(page *page, at int, part []byte)) {
	for len(b) > 0 {
		at := start % pageLen
		n := min(len(b), pageLen-at)
		visit(p[start/pageLen], at, b[:n])
		start, b = start+n, b[n:]
	}
}

// write copies b to start. The pages are there.
func (p *pages) write(start int, b []byte) {
	p.split(start, b, func(page *page, at int, part []byte) { copy(page[at:], part) })
}

// equal reports whether b is what lies at start. The pages are there.
func (p *pages) equal(start int, b []byte) bool {
	same := true
	p.split(start, b, func(page *page, at int, part []byte) { same = same && bytes.Equal(page[at:at+len(part)], part) })
	return same
}

// appendTo appends the first n bytes to b. The pages are there.
func (p *pages) appendTo(b []byte, n int) []byte {
	for i := 0; n > 0; i++ {
		b = append(b, p[i][:min(n, pageLen)]...)
		n -= pageLen
	}
	return b
}

// hold gives a slot the pages that a payload from start to end lies in. The oldest datagrams make room, of the same
// source if that has its share already. It cannot fail: a share is more than the longest datagram needs.
func (r *Reassembler) hold(i, start, end int) {
	src := r.slots[i].src
	for at := start / pageLen; at*pageLen < end; at++ {
		if r.slots[i].pages[at] != nil {
			continue
		}
		for h := r.source(src); (h.pages+1)*pageLen > r.config.MaxBytes/perSource; h = r.source(src) {
			r.makeRoom(h.queue, ofSource, i)
		}
		for len(r.spare) == 0 && r.bytes+pageLen > r.config.MaxBytes {
			r.makeRoom(r.queue, ofAll, i)
		}
		r.slots[i].pages[at] = r.newPage()
		r.charge(src, 1)
	}
}

// makeRoom gives up the oldest datagram of a queue that is not i. That may have no pages, if it was discarded: then
// there is another one.
func (r *Reassembler) makeRoom(q queue, of, i int) {
	j := q.oldest
	if j == i {
		j = r.slots[j].links[of].behind
	}
	r.close(j)
}

func (r *Reassembler) newPage() *page {
	if n := len(r.spare); n > 0 {
		p := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return p
	}
	r.bytes += pageLen
	return new(page)
}

// release keeps a slot's pages for other datagrams.
func (r *Reassembler) release(i int) {
	s, n := &r.slots[i], 0
	for at := range s.pages {
		if p := s.pages[at]; p != nil {
			r.spare, s.pages[at] = append(r.spare, p), nil
			n++
		}
	}
	r.charge(s.src, -n)
}
