package world

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// tally counts the wanted pairs that are up, so that nobody has to walk over all of them, and knows
// those that nobody wants although they have keys.
type tally struct {
	pairs    map[plan.PairID]upPair
	byHost   map[plan.UID]int
	byPolicy map[string]int
	unwanted map[plan.PairID]struct{}
}

type upPair struct {
	policy string
	late   uint32 // Unix seconds: from then on an operator should see to its next keys
	hard   uint32 // Unix seconds: until then it is up without a further change
}

func newTally() tally {
	return tally{
		pairs: make(map[plan.PairID]upPair), byHost: make(map[plan.UID]int), byPolicy: make(map[string]int),
		unwanted: make(map[plan.PairID]struct{}),
	}
}

// set records whether a pair is up.
func (t *tally) set(id plan.PairID, now *upPair) {
	if before, ok := t.pairs[id]; ok {
		delete(t.pairs, id)
		t.count(id, before.policy, -1)
	}
	if now != nil {
		t.pairs[id] = *now
		t.count(id, now.policy, +1)
	}
}

// keep records whether a pair has keys that nobody wants.
func (t *tally) keep(id plan.PairID, unwanted bool) {
	if unwanted {
		t.unwanted[id] = struct{}{}
	} else {
		delete(t.unwanted, id)
	}
}

func (t *tally) count(id plan.PairID, policy string, n int) {
	add(t.byHost, id.A(), n)
	add(t.byHost, id.B(), n)
	add(t.byPolicy, policy, n)
}

// add keeps no zeros: hosts and policies come and go.
func add[K comparable](m map[K]int, k K, n int) {
	if m[k] += n; m[k] == 0 {
		delete(m, k)
	}
}

// expired returns the pairs whose generation has passed its hard limit.
func (t *tally) expired(now time.Time) []plan.PairID {
	var out []plan.PairID
	for id, p := range t.pairs {
		if now.Unix() >= int64(p.hard) {
			out = append(out, id)
		}
	}
	return out
}
