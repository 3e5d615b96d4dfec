// Package sad is the security association database of RFC 4301 section 4.4.2 as one
// epoch of an agent sees it: which SAs are installed, which may never be installed
// again, which of them a packet takes, and when each ends.
//
//	           Install                    Count, State
//	(nothing) ─────────▶ installed: OK ──▶ Soft ──▶ Hard
//	    ▲  refused:           │             │         │
//	    │  BurntError,        └─────────────┴─────────┤ Remove
//	    │  ErrSPIClash …                              ▼
//	    └──────────────────────────────────── its generation stays burnt
//
// The caller's own state of an SA, an esp.Sealer or esp.Opener among it, is the type
// parameter T. No key passes through this package.
package sad

import (
	"errors"
	"fmt"
)

var (
	// ErrReservedSPI: SPIs 0 to 255 are nobody's.
	ErrReservedSPI = errors.New("sad: SPI is reserved")
	// ErrSPIClash: another live inbound SA has the SPI, and the same destination and source if any.
	ErrSPIClash = errors.New("sad: SPI is taken by another inbound SA")
	// ErrIDClash: an SA of the same ID is held that differs, or was the pair's
	// newest under another generation: its key would be used from sequence number 1 again.
	ErrIDClash = errors.New("sad: another SA of the same ID is or was installed")
)

// BurntError refuses an SA whose generation is not above all that this epoch ever
// installed for its pair in its direction: its sequence numbers may have been used.
type BurntError struct {
	Highest uint32 // generation; the successor must be above
}

// Error says what was refused.
func (e *BurntError) Error() string {
	return fmt.Sprintf("sad: generation is burnt: the highest installed was %d", e.Highest)
}

// half is one direction of a pair.
type half struct {
	pair      [16]byte
	direction Direction
}

type held[T any] struct {
	sa    SA
	value T
}

// Database is the SAs of one epoch. NewDatabase makes it. The caller locks it; the
// workers that carry packets read a View.
type Database[T any] struct {
	held     map[[16]byte]*held[T]   // by ID
	outbound map[[16]byte][]*held[T] // by pair, ascending generations
	highest  map[half]newest         // never forgotten in an epoch
	view     View[T]
}

// newest is the newest SA that a direction of a pair ever had.
type newest struct {
	generation uint32
	id         [16]byte
}

// NewDatabase returns an empty database: of a new epoch, in which nothing is burnt.
func NewDatabase[T any]() *Database[T] {
	return &Database[T]{
		held:     make(map[[16]byte]*held[T]),
		outbound: make(map[[16]byte][]*held[T]),
		highest:  make(map[half]newest),
	}
}

// Install adds an SA with the state that create returns. When it holds the SA already
// it does nothing, does not call create, and returns false and nil: the caller acknowledges
// and touches no counter, window or deadline.
//
// Errors, upon which nothing has changed: ErrSA, ErrReservedSPI, ErrIDClash,
// *BurntError, ErrSPIClash, or create's own.
func (d *Database[T]) Install(sa SA, create func() (T, error)) (installed bool, err error) {
	if err := sa.Validate(); err != nil {
		return false, err
	}
	if h, ok := d.held[sa.ID]; ok {
		if h.sa != sa {
			return false, fmt.Errorf("%w: %x", ErrIDClash, sa.ID)
		}
		return false, nil
	}
	half := half{sa.Pair, sa.Direction}
	highest := d.highest[half]
	if sa.Generation <= highest.generation {
		return false, &BurntError{Highest: highest.generation}
	}
	if sa.ID == highest.id { // gone, and its sequence numbers were used
		return false, fmt.Errorf("%w: %x comes again as generation %d", ErrIDClash, sa.ID, sa.Generation)
	}
	if sa.Direction == Inbound && d.view.has(sa.key()) {
		return false, fmt.Errorf("%w: %#08x is %x's", ErrSPIClash, sa.SPI, d.owner(sa.key()))
	}
	value, err := create()
	if err != nil {
		return false, err
	}
	h := &held[T]{sa, value}
	d.held[sa.ID] = h
	d.highest[half] = newest{sa.Generation, sa.ID}
	d.show(h)
	return true, nil
}

// owner is the ID of the inbound SA that has a key. It looks at all: only an error asks for it.
func (d *Database[T]) owner(k key) [16]byte {
	for id, h := range d.held {
		if h.sa.Direction == Inbound && h.sa.key() == k {
			return id
		}
	}
	return [16]byte{}
}

// Remove takes an SA out and returns its state, or false when it is not held. Its
// generation stays burnt.
func (d *Database[T]) Remove(id [16]byte) (value T, ok bool) {
	h, ok := d.held[id]
	if !ok {
		return value, false
	}
	delete(d.held, id)
	d.hide(h)
	return h.value, true
}

// Get returns an SA and its state by ID.
func (d *Database[T]) Get(id [16]byte) (SA, T, bool) {
	h, ok := d.held[id]
	if !ok {
		var none T
		return SA{}, none, false
	}
	return h.sa, h.value, true
}

// Len is the number of SAs held.
func (d *Database[T]) Len() int { return len(d.held) }

// Highest is the highest generation ever installed for a pair in a direction, 0 for none.
func (d *Database[T]) Highest(pair [16]byte, direction Direction) uint32 {
	return d.highest[half{pair, direction}].generation
}

// All calls yield for each SA held until it returns false, in no order. It may be
// ranged over; yield must not change the database.
func (d *Database[T]) All(yield func(SA, T) bool) {
	for _, h := range d.held {
		if !yield(h.sa, h.value) {
			return
		}
	}
}
