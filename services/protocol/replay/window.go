// Package replay is the anti-replay window of one inbound SA, RFC 4303 section
// 3.4.3, with the inference of extended sequence numbers of appendix A2.
//
// The bitmap is a ring of 64-bit words as in RFC 6479: one word more than the
// window needs, so that the window moves by clearing whole words and never shifts.
//
//	word:   3        0        1        2      (a ring of 4: a window of 129 to 192)
//	     ┌────────┬────────┬────────┬────────┐
//	     │ new    │ oldest │        │    top │
//	     └────────┴────────┴────────┴────────┘
//	              bottom = top - size + 1
package replay

import (
	"errors"
	"fmt"
	"math/bits"
)

// Sizes of a window, in packets.
const (
	MinSize     = 32 // RFC 4303 section 3.4.3
	MaxSize     = 4096
	DefaultSize = 1024

	// Off turns anti-replay off: every number is taken, also twice, also 0, which a sender that
	// need not care comes to after 2^32-1 (RFC 4303 section 3.3.3).
	Off = -1
)

var (
	// ErrReplayed: the sequence number has been accepted before, or is 0, which no sender uses.
	ErrReplayed = errors.New("replay: sequence number was seen before")
	// ErrLate: the sequence number lies left of the window.
	ErrLate = errors.New("replay: sequence number is left of the window")
	// ErrSize: the size is not between MinSize and MaxSize.
	ErrSize = errors.New("replay: window size out of range")
	// ErrESN: without a window nothing tells the high half of an extended sequence number (RFC 4303
	// section 3.3.3).
	ErrESN = errors.New("replay: extended sequence numbers need a window")
)

// Window is the state of one SA. New makes it. It is not safe for concurrent use.
//
// For each packet: Infer, Check, then the ICV, and only then Accept, which alone
// changes the window.
type Window struct {
	top  uint64 // highest sequence number accepted
	size uint64
	mask uint64 // len(ring)-1
	ring []uint64
	esn  bool
	off  bool
}

// New returns an empty window of size packets; 0 is DefaultSize, a negative size is Off. With
// esn the sequence numbers are of 64 bits. Errors: ErrSize, and ErrESN when size is Off with esn.
func New(size int, esn bool) (*Window, error) {
	switch {
	case size < 0 && esn:
		return nil, ErrESN
	case size < 0:
		return &Window{off: true}, nil
	case size == 0:
		size = DefaultSize
	case size < MinSize || size > MaxSize:
		return nil, fmt.Errorf("%w: %d is not between %d and %d", ErrSize, size, MinSize, MaxSize)
	}
	words := (size + 63) / 64
	ring := make([]uint64, 1<<bits.Len(uint(words))) // a power of two, above words
	ring[0] = 1                                      // sequence number 0 is never sent
	return &Window{size: uint64(size), mask: uint64(len(ring) - 1), ring: ring, esn: esn}, nil
}

// Size is the width of the window, in packets, 0 when it is off.
func (w *Window) Size() int { return int(w.size) }

// Top is the highest sequence number accepted, 0 before the first.
func (w *Window) Top() uint64 { return w.top }

// Infer returns the whole sequence number whose low 32 bits are on the wire: the
// one within 2^32 that is nearest to the window (RFC 4303 appendix A2.2). Without
// ESN it is low itself. ErrLate: it would lie before the first.
func (w *Window) Infer(low uint32) (uint64, error) {
	if !w.esn {
		return uint64(low), nil
	}
	high, topLow, size := uint32(w.top>>32), uint32(w.top), uint32(w.size)
	bottom := topLow - size + 1
	if topLow >= size-1 { // case A: the window lies in one subspace
		if low < bottom {
			high++ // past the last subspace this wraps to 0, which Check finds late
		}
	} else if low >= bottom { // case B: it spans two, and low belongs to the older
		if high == 0 {
			return 0, ErrLate
		}
		high--
	}
	return uint64(high)<<32 | uint64(low), nil
}

// Check says whether Accept would take seq: nil, ErrReplayed or ErrLate.
func (w *Window) Check(seq uint64) error {
	if seq > w.top || w.off {
		return nil
	}
	if w.top-seq >= w.size {
		return ErrLate
	}
	if w.ring[seq/64&w.mask]&(1<<(seq%64)) != 0 {
		return ErrReplayed
	}
	return nil
}

// Accept marks seq as seen, moving the window when seq is its new top. It is for a
// packet whose ICV has been verified. On an error, which is Check's, nothing changes.
func (w *Window) Accept(seq uint64) error {
	if err := w.Check(seq); err != nil {
		return err
	}
	if w.off {
		w.top = max(w.top, seq)
		return nil
	}
	if seq > w.top {
		w.clear(w.top/64+1, seq/64)
		w.top = seq
	}
	w.ring[seq/64&w.mask] |= 1 << (seq % 64)
	return nil
}

// clear empties the words from first to last, at most the whole ring.
func (w *Window) clear(first, last uint64) {
	if last-first >= w.mask && last >= first {
		clear(w.ring)
		return
	}
	for i := first; i <= last; i++ {
		w.ring[i&w.mask] = 0
	}
}
