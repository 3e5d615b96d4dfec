package spd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Action is what an entry does with its packets, RFC 4301 section 4.4.1. The zero
// Action discards.
type Action uint8

// Actions.
const (
	Discard Action = iota
	Bypass
	Protect
)

// String returns RFC 4301's word.
func (a Action) String() string {
	switch a {
	case Bypass:
		return "BYPASS"
	case Protect:
		return "PROTECT"
	}
	return "DISCARD"
}

// MaxSelectors is how many traffic selectors each side of an entry may have.
const MaxSelectors = 255 // what a TS payload can count, RFC 7296 section 3.13

// ErrEntry: an entry is not well-formed, or its ID is there twice.
var ErrEntry = errors.New("spd: bad entry")

// Entry is one line of the SPD. It matches a packet when both one of Local and one of
// Remote do: for an outbound packet Local is its source, for an inbound one its
// destination.
type Entry struct {
	ID       [16]byte // names the entry in With and Without
	Priority uint32   // the lowest is asked first; equal ones by ID
	Action   Action
	Pair     [16]byte // PROTECT only: the pair whose SAs carry the traffic
	Local    []Selector
	Remote   []Selector
	Populate Populate // PROTECT only: which selectors an SA takes from its packet
}

// MatchOutbound reports whether a packet that leaves is the entry's.
func (e *Entry) MatchOutbound(f ipwire.Flow) bool {
	return anyMatch(e.Remote, f.Dst, f, f.DstPort) && anyMatch(e.Local, f.Src, f, f.SrcPort)
}

// MatchInbound reports whether a packet that arrives is the entry's.
func (e *Entry) MatchInbound(f ipwire.Flow) bool {
	return anyMatch(e.Remote, f.Src, f, f.SrcPort) && anyMatch(e.Local, f.Dst, f, f.DstPort)
}

// Validate returns ErrEntry or ErrSelector with the reason when the entry is not well-formed.
func (e *Entry) Validate() error {
	switch {
	case e.Action > Protect:
		return fmt.Errorf("%w: %x: action %d", ErrEntry, e.ID, e.Action)
	case (e.Action == Protect) != (e.Pair != [16]byte{}):
		return fmt.Errorf("%w: %x: PROTECT needs a pair, and nothing else has one", ErrEntry, e.ID)
	case e.Action != Protect && e.Populate.Any():
		return fmt.Errorf("%w: %x: %v has no SA to be populated from a packet", ErrEntry, e.ID, e.Action)
	}
	for _, side := range [][]Selector{e.Local, e.Remote} {
		if len(side) == 0 || len(side) > MaxSelectors {
			return fmt.Errorf("%w: %x: %d selectors on one side; 1 to %d are allowed", ErrEntry, e.ID, len(side), MaxSelectors)
		}
		for _, s := range side {
			if err := s.Validate(); err != nil {
				return fmt.Errorf("%x: %w", e.ID, err)
			}
		}
	}
	return nil
}

func (e *Entry) clone() Entry {
	c := *e
	c.Local, c.Remote = slices.Clone(e.Local), slices.Clone(e.Remote)
	return c
}

func compareEntries(a, b *Entry) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), bytes.Compare(a.ID[:], b.ID[:]))
}
