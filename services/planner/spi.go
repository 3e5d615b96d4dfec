package planner

import (
	"encoding/binary"
	"fmt"
	"io"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// spiTable knows which SPIs each receiving host has, so that a new one is unique there. It is a hint as
// well: what it misses, the agent refuses as a clash.
type spiTable map[plan.UID]map[uint32]struct{}

// note adds both SPIs of a generation, each at the host that opens what carries it.
func (t spiTable) note(id plan.PairID, g *plan.Generation) {
	t.add(id.B(), g.SPIAB)
	t.add(id.A(), g.SPIBA)
}

func (t spiTable) add(receiver plan.UID, spi uint32) {
	if t[receiver] == nil {
		t[receiver] = make(map[uint32]struct{})
	}
	t[receiver][spi] = struct{}{}
}

// forget is the inverse of note.
func (t spiTable) forget(id plan.PairID, g *plan.Generation) {
	t.drop(id.B(), g.SPIAB)
	t.drop(id.A(), g.SPIBA)
}

func (t spiTable) drop(receiver plan.UID, spi uint32) {
	delete(t[receiver], spi)
	if len(t[receiver]) == 0 {
		delete(t, receiver)
	}
}

// generations is how many generations a host is an end of: each has one SPI there.
func (t spiTable) generations(host plan.UID) int { return len(t[host]) }

// spiTries bounds the search: with a sixteenth of a host's SPIs in use, this many misses in a row happen
// once in 2^64.
const spiTries = 16

// pick chooses an SPI that the receiver does not have, with the shard in the top bits, and notes it. No
// shard is 0: see plan.FirstSPI.
func (t spiTable) pick(random io.Reader, shard uint8, receiver plan.UID) (uint32, error) {
	for range spiTries {
		var b [4]byte
		if _, err := io.ReadFull(random, b[1:]); err != nil {
			return 0, fmt.Errorf("planner: random numbers: %w", err)
		}
		b[0] = shard
		spi := binary.BigEndian.Uint32(b[:])
		if _, taken := t[receiver][spi]; !taken {
			t.add(receiver, spi)
			return spi, nil
		}
	}
	return 0, fmt.Errorf("planner: host %s has %d SPIs of shard %d in use; no free one was found", receiver, len(t[receiver]), shard)
}
