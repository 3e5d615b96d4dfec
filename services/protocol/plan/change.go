package plan

// Kind is what a change does to the store.
type Kind uint8

// The kinds of change.
const (
	Create  Kind = iota // put a new generation: its record, and its key once and for all
	Advance             // put the record with a new phase
	Forget              // delete record and key
)

// String returns the word for logs and metrics.
func (k Kind) String() string {
	switch k {
	case Create:
		return "create"
	case Advance:
		return "advance"
	case Forget:
		return "forget"
	}
	return "unknown"
}

// Cause is why a change is made.
type Cause uint8

// The causes.
const (
	Progress   Cause = iota // acks came, or the drain is over
	FirstKey                // the pair is wanted and has no generation
	NewEpoch                // an agent was restarted, or the store restored
	Rekey                   // the soft limit, an operator's wish or a changed policy
	Retry                   // after a refusal
	Replaced                // a newer generation carries the traffic
	Refused                 // an agent refused it
	Outdated                // it never got up, and is no longer what is wanted
	Expired                 // the hard limit
	NotWanted               // no policy wants the pair, or a host left the fleet
	Acked                   // both ends have deleted it, or are no more
	Overdue                 // nobody can hold it any more
	causeCount              // for tables
)

// String returns the word for logs and metrics.
func (c Cause) String() string {
	names := [causeCount]string{"progress", "first-key", "new-epoch", "rekey", "retry", "replaced", "refused",
		"outdated", "expired", "not-wanted", "acked", "overdue"}
	if c < causeCount {
		return names[c]
	}
	return "unknown"
}

// Change is one write that brings a pair nearer to what is wanted.
type Change struct {
	Kind  Kind
	Cause Cause
	// Generation is the record as it shall be (Create, Advance) or was (Forget). A created one lacks ID
	// and SPIs, which are random and so the caller's.
	Generation Generation
}
