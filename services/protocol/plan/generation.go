package plan

import "fmt"

// Phase is how far a generation is. The numbers are those of the store's record.
type Phase uint8

// The phases, in order; see the package comment.
const (
	Inbound     Phase = 1 + iota // inbound halves are delivered to both ends
	Outbound                     // both have acked; outbound halves are delivered
	Established                  // both have acked those too: the pair is up
	Draining                     // outbound halves are withdrawn, inbound halves still open what is under way
	Deleting                     // tombstone: both ends delete
)

// String returns the word that operators see.
func (p Phase) String() string {
	switch p {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	case Established:
		return "established"
	case Draining:
		return "draining"
	case Deleting:
		return "deleting"
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// Acks is what the agents have acknowledged, one bit each. The numbers are those of the store's record.
type Acks uint8

// The acks.
const (
	InA         Acks = 1 << iota // A has installed its inbound half
	InB                          // B has
	OutA                         // A has installed its outbound half
	OutB                         // B has
	DeletedA                     // A has deleted both halves
	DeletedB                     // B has
	OutDeletedA                  // A has deleted its outbound half while the generation drains
	OutDeletedB                  // B has

	bothIn  = InA | InB
	bothOut = OutA | OutB
)

// Has reports whether every bit of want is set.
func (a Acks) Has(want Acks) bool { return a&want == want }

// Generation is the moving part of one SA pair: the store's record, and the revisions at which the store
// created and last changed it. Times are Unix seconds.
type Generation struct {
	Number         uint32
	Phase          Phase
	Acks           Acks
	ID             SAID
	EpochA, EpochB Epoch // the lives of the two agents that may hold it
	Incarnation    uint64

	Create    uint32
	PhaseTime uint32 // when the phase began
	Soft      uint32 // when to rekey; jitter is in it
	Hard      uint32 // when agents delete it by themselves

	RefusedBelow uint32 // an agent refused it; the lowest number that may follow. 0: not refused
	SPIAB, SPIBA uint32 // SPI of packets from A to B, and from B to A
	Transform    Transform

	CreateRevision, ModRevision int64
}

// acked reports whether one end's ack is there: of its bit for A, or of the one for B.
func (g *Generation) acked(ofA bool, a, b Acks) bool {
	if ofA {
		return g.Acks.Has(a)
	}
	return g.Acks.Has(b)
}

// epoch returns the life of one end's agent that the generation is for.
func (g *Generation) epoch(ofA bool) Epoch {
	if ofA {
		return g.EpochA
	}
	return g.EpochB
}
