package sad

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Direction is which way an SA's packets go.
type Direction uint8

// Directions. The zero Direction is neither, and no SA has it.
const (
	Inbound  Direction = 1
	Outbound Direction = 2
)

// String returns the direction in lower case.
func (d Direction) String() string {
	switch d {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	}
	return fmt.Sprintf("direction(%d)", uint8(d))
}

// MinSPI is the lowest SPI that an SA may have, RFC 4303 section 2.1.
const MinSPI = 256

// SA says which security association it is. It holds no key.
type SA struct {
	ID         [16]byte // random, never used again
	Pair       [16]byte // what both directions and all generations have in common
	Generation uint32   // from 1
	SPI        uint32
	Direction  Direction

	// Destination, and Source with it, are part of what finds an inbound SA: a multicast group's,
	// RFC 4301 section 4.1. Invalid ones are not.
	Destination, Source netip.Addr
	// Narrowed: the SA carries less than its pair's SPD entry says (outbound, populated from a
	// packet); its selectors are the caller's.
	Narrowed bool
}

// ErrSA: an SA is not well-formed.
var ErrSA = errors.New("sad: bad SA")

// Validate returns ErrSA or ErrReservedSPI with the reason when the SA is not well-formed.
func (s *SA) Validate() error {
	switch {
	case s.ID == [16]byte{}:
		return fmt.Errorf("%w: it has no ID", ErrSA)
	case s.Pair == [16]byte{}:
		return fmt.Errorf("%w: %x has no pair", ErrSA, s.ID)
	case s.Direction != Inbound && s.Direction != Outbound:
		return fmt.Errorf("%w: %x is neither inbound nor outbound", ErrSA, s.ID)
	case s.Generation == 0:
		return fmt.Errorf("%w: %x has generation 0; they begin with 1", ErrSA, s.ID)
	case s.SPI < MinSPI:
		return fmt.Errorf("%w: %x has SPI %d", ErrReservedSPI, s.ID, s.SPI)
	}
	return s.validateAddresses()
}

func (s *SA) validateAddresses() error {
	dst, src := s.Destination, s.Source
	switch {
	case !dst.IsValid() && !src.IsValid():
		return nil
	case s.Direction != Inbound:
		return fmt.Errorf("%w: %x is outbound and found by its pair, not by the addresses %v and %v", ErrSA, s.ID, dst, src)
	case !dst.IsValid():
		return fmt.Errorf("%w: %x has the source %v but no destination", ErrSA, s.ID, src)
	case dst.Is4In6() || src.Is4In6() || dst.Zone() != "" || src.Zone() != "":
		return fmt.Errorf("%w: %x: %v or %v has a zone or is IPv4 in the form of IPv6", ErrSA, s.ID, dst, src)
	case src.IsValid() && src.BitLen() != dst.BitLen():
		return fmt.Errorf("%w: %x: %v and %v are of two families", ErrSA, s.ID, dst, src)
	}
	return nil
}

// Limits end an SA, or ask for its successor. The zero value of each means no limit.
type Limits struct {
	Deadline time.Duration // on the caller's clock, which must not stop in suspend (CLOCK_BOOTTIME)
	Bytes    uint64        // of payload
	Packets  uint64
}

// Lifetime is an SA's soft and hard limits, RFC 4301 section 4.4.2.1.
type Lifetime struct {
	Soft Limits // past one of them the SA works on and wants a successor
	Hard Limits // past one of them it carries nothing
}

// State is where in its lifetime an SA is.
type State uint8

// States, in the order in which an SA goes through them.
const (
	OK State = iota
	Soft
	Hard
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Soft:
		return "soft"
	case Hard:
		return "hard"
	}
	return "ok"
}
