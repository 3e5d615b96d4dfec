package world

import (
	"slices"
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

// Late says of how many pairs that are up the next keys are late, and when the first of them stops if
// none are made. It looks at each pair that is up.
func (s State) Late(now time.Time) (pairs int, stops time.Time) {
	for _, p := range s.up.pairs {
		if now.Unix() < int64(p.late) {
			continue
		}
		if end := time.Unix(int64(p.hard), 0); pairs == 0 || end.Before(stops) {
			stops = end
		}
		pairs++
	}
	return pairs, stops
}

// Held are the pairs whose deletion needs an operator's word: nobody wants them, they have keys, and no
// change explains it. When they are few the planner deletes them all the same, in a moment.
func (s State) Held() []plan.PairID {
	var held []plan.PairID
	for pair := range s.up.unwanted {
		situation := s.Situation(pair)
		if slices.ContainsFunc(situation.Generations, func(g plan.Generation) bool {
			return g.Phase < plan.Deleting && !s.World.Explained(pair, g.CreateRevision)
		}) {
			held = append(held, pair)
		}
	}
	return held
}

// count brings the tally's entries of one pair up to date.
func (s State) count(pair plan.PairID, now time.Time) {
	situation := s.Situation(pair)
	s.up.set(pair, upNow(&situation, now))
	s.up.keep(pair, situation.Policy == nil && slices.ContainsFunc(situation.Generations, func(g plan.Generation) bool {
		return g.Phase < plan.Deleting
	}))
}

// upNow is the tally's entry of a pair that is up; nil when it is not wanted or not up.
func upNow(s *plan.Situation, now time.Time) *upPair {
	g, up := s.Up(now)
	if s.Policy == nil || !up {
		return nil
	}
	return &upPair{policy: s.Policy.Name, late: late(&g), hard: g.Hard}
}

// rekeyGrace is how long after its time a rekey may take without being worth a word.
const rekeyGrace = 60

// late is when an operator should see to a generation: it should have been replaced by then, and less
// than an hour or a quarter of its life is left, whichever is more.
func late(g *plan.Generation) uint32 {
	return max(g.Soft+rekeyGrace, g.Hard-min(g.Hard, max(3600, (g.Hard-g.Create)/4)))
}
