package world

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// State is what a Feed knows at one revision. It is valid inside Feed.Read only, and nothing in it may be
// changed.
type State struct {
	// World holds the hosts and policies of just the revision of Snapshot.
	World *plan.World
	// Snapshot is the store; it stays valid after Read.
	Snapshot *store.Snapshot

	up *tally
}

// Situation is all that is known of a pair. Generations that cannot be read are left out.
func (s State) Situation(pair plan.PairID) plan.Situation {
	generations, _ := Generations(s.Snapshot, pair)
	return s.World.Situation(pair, generations)
}

// PairsUp is the number of wanted pairs that are up.
func (s State) PairsUp() int { return len(s.up.pairs) }

// PairsUpOf is the number of wanted pairs with that host that are up.
func (s State) PairsUpOf(host plan.UID) int { return s.up.byHost[host] }

// PairsUpUnder is the number of pairs up that the policy wants and wins.
func (s State) PairsUpUnder(policy string) int { return s.up.byPolicy[policy] }

// IsUp reports whether a pair is wanted and up.
func (s State) IsUp(pair plan.PairID) bool {
	_, ok := s.up.pairs[pair]
	return ok
}

// upNow is the tally's entry of a pair; nil when it is not wanted or not up.
func (s State) upNow(pair plan.PairID, now time.Time) *upPair {
	want, ok := s.World.Wanted(pair)
	if !ok {
		return nil
	}
	situation := s.Situation(pair)
	g, ok := situation.Up(now)
	if !ok {
		return nil
	}
	return &upPair{policy: want.Policy.Name, hard: g.Hard}
}

// EarliestEnd is when the first pair that is up stops if nobody makes new keys; false when none is up.
// It looks at each pair that is up.
func (s State) EarliestEnd() (time.Time, bool) {
	var earliest uint32
	for _, p := range s.up.pairs {
		if earliest == 0 || p.hard < earliest {
			earliest = p.hard
		}
	}
	return time.Unix(int64(earliest), 0), earliest != 0
}
