package fragment

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Config bounds a Reassembler. Zero values mean the defaults.
type Config struct {
	MaxBytes     int           // memory for payloads; default 4 MiB, at least 256 KiB
	MaxDatagrams int           // datagrams that wait for the rest; default 1024
	Timeout      time.Duration // until one is given up; default 30 s
}

const (
	defaultBytes     = 4 << 20
	leastBytes       = 256 << 10
	defaultDatagrams = 1024
	defaultTimeout   = 30 * time.Second
	// perSource is the share of the memory that one source can hold.
	perSource = 4
	// maxPieces bounds the fragments of one datagram: a path of 576 bytes makes 119 of the longest.
	maxPieces = 256
	leastBuf  = 2048
)

var (
	// ErrOverlap: the fragments overlap (RFC 5722): the datagram is discarded, with what is still to come of it.
	ErrOverlap = errors.New("fragment: fragments overlap")
	// ErrDiscarded: the fragment is of a datagram that was discarded before.
	ErrDiscarded = errors.New("fragment: its datagram was discarded")
	// ErrTooLong: the datagram would be longer than 65,535 bytes.
	ErrTooLong = errors.New("fragment: datagram is too long")
	// ErrBadLength: a fragment other than the last is no multiple of 8 bytes, or it is empty.
	ErrBadLength = errors.New("fragment: bad length of a fragment")
	// ErrInconsistent: there are two last fragments, or one beyond the last.
	ErrInconsistent = errors.New("fragment: fragments contradict each other")
	// ErrECN: congestion was signalled on a flow that does not know ECN (RFC 3168 section 5.3).
	ErrECN = errors.New("fragment: fragments differ in ECN")
	// ErrTooMany: the datagram comes in more fragments than are kept.
	ErrTooMany = errors.New("fragment: too many fragments")
)

// Reassembler joins fragments. New makes it. Its memory is bounded: the oldest datagram makes room, and no source
// holds more than a quarter.
type Reassembler struct {
	config  Config
	byKey   map[key]int // into slots
	slots   []slot
	oldest  int // of the waiting ones; none is none
	newest  int
	free    []int
	bytes   int                // of all buffers, those of free slots too
	sources map[netip.Addr]int // bytes by source
	out     []byte
}

// none is no slot.
const none = -1

// slot is one datagram.
type slot struct {
	key
	since          time.Duration
	dead           bool // discarded: its fragments are dropped until it is too old
	head           []byte
	next           int
	upper          uint8
	buf            []byte // payload
	pieces         []span
	have           int // bytes
	total          int // -1: the last fragment has not come
	ce, notECT     bool
	before, behind int
}

// span is where a piece lies.
type span struct{ start, end int }

// New makes a Reassembler.
func New(c Config) *Reassembler {
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultBytes
	}
	if c.MaxDatagrams <= 0 {
		c.MaxDatagrams = defaultDatagrams
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	c.MaxBytes = max(c.MaxBytes, leastBytes)
	return &Reassembler{config: c, byKey: make(map[key]int), sources: make(map[netip.Addr]int), oldest: none, newest: none}
}

// Len is the number of datagrams that are waited for, discarded ones too.
func (r *Reassembler) Len() int { return len(r.byKey) }

// Bytes is the memory held for payloads.
func (r *Reassembler) Bytes() int { return r.bytes }

// Add takes a fragment that came at time now, and returns the whole datagram when it completes one: valid until the
// next call. It returns nil while more is to come. A packet that is whole is returned as it is, an IPv6 one with a
// fragment header of its own (an atomic fragment, RFC 6946) without that. The errors are this package's sentinels.
func (r *Reassembler) Add(now time.Duration, packet []byte) ([]byte, error) {
	r.Expire(now)
	p, err := parse(packet)
	if err != nil {
		return nil, err
	}
	if p.start == 0 && !p.more {
		return r.finish(p.head, p.next, p.upper, p.payload)
	}
	i, ok := r.byKey[p.key]
	if !ok {
		i = r.open(now, p.key)
	}
	s := &r.slots[i]
	if s.dead {
		return nil, ErrDiscarded
	}
	if err := r.place(i, &p); err != nil {
		if err != errAgain {
			r.discard(i)
			return nil, err
		}
		return nil, nil
	}
	if s = &r.slots[i]; s.total < 0 || s.have < s.total {
		return nil, nil
	}
	whole, err := r.finish(s.head, s.next, s.upper, s.buf[:s.total])
	if err == nil && s.ce {
		ipwire.SetECN(whole, ipwire.CE)
	}
	r.close(i)
	return whole, err
}

// errAgain: the fragment has come before.
var errAgain = errors.New("fragment: duplicate")

// place puts a piece into its datagram.
func (r *Reassembler) place(i int, p *piece) error {
	s := &r.slots[i]
	at, err := s.room(p)
	if err != nil {
		return err
	}
	if !r.grow(i, p.end) {
		return ErrTooMany
	}
	s = &r.slots[i]
	copy(s.buf[p.start:p.end], p.payload)
	s.pieces = slices.Insert(s.pieces, at, span{p.start, p.end})
	s.have += len(p.payload)
	if !p.more {
		s.total = p.end
	}
	if p.start == 0 {
		s.head, s.next, s.upper = append(s.head[:0], p.head...), p.next, p.upper
	}
	s.ce = s.ce || p.ecn == ipwire.CE
	s.notECT = s.notECT || p.ecn == ipwire.NotECT
	if s.ce && s.notECT {
		return ErrECN
	}
	if p.start == 0 || len(s.head) > 0 {
		if s.total >= 0 && s.total+s.headers() > maxDatagram {
			return ErrTooLong
		}
	}
	return nil
}

// headers is the length of the headers that count against the length field.
func (s *slot) headers() int {
	if s.src.Is6() {
		return len(s.head) - ipwire.IPv6HeaderLen
	}
	return len(s.head)
}

// room finds the place of a piece among those that are there.
func (s *slot) room(p *piece) (at int, err error) {
	switch {
	case s.total >= 0 && p.end > s.total, !p.more && s.total >= 0 && p.end != s.total:
		return 0, ErrInconsistent
	case !p.more && len(s.pieces) > 0 && s.pieces[len(s.pieces)-1].end > p.end:
		return 0, ErrInconsistent
	}
	at, found := slices.BinarySearchFunc(s.pieces, p.start, func(q span, start int) int { return q.start - start })
	if found {
		if s.pieces[at].end == p.end && bytes.Equal(s.buf[p.start:p.end], p.payload) {
			return 0, errAgain
		}
		return 0, ErrOverlap
	}
	switch {
	case at > 0 && s.pieces[at-1].end > p.start, at < len(s.pieces) && s.pieces[at].start < p.end:
		return 0, ErrOverlap
	case len(s.pieces) >= maxPieces:
		return 0, ErrTooMany
	}
	return at, nil
}

// finish puts a datagram together.
func (r *Reassembler) finish(head []byte, next int, upper uint8, payload []byte) ([]byte, error) {
	r.out = append(append(r.out[:0], head...), payload...)
	if ipwire.Version(r.out) == 4 {
		if len(r.out) > maxDatagram {
			return nil, ErrTooLong
		}
		r.out[6], r.out[7] = r.out[6]&0x40, 0
	} else {
		if len(r.out)-ipwire.IPv6HeaderLen > maxDatagram {
			return nil, ErrTooLong
		}
		r.out[next] = upper
	}
	ipwire.SetLength(r.out)
	return r.out, nil
}

// Expire gives up the datagrams that have waited too long, and returns how many.
func (r *Reassembler) Expire(now time.Duration) (n int) {
	for r.oldest != none && now-r.slots[r.oldest].since >= r.config.Timeout {
		r.close(r.oldest)
		n++
	}
	return n
}
