package planner

import (
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// hold keeps back deletions that nobody asked for, by plan.Gate's rule.
type hold struct {
	gate  plan.Gate
	pairs map[plan.PairID]struct{} // that wait for an explanation
}

func newHold() *hold { return &hold{pairs: make(map[plan.PairID]struct{})} }

// held reports whether the changes of a pair must wait. A pair that waits goes on when it is wanted again,
// when a named change of intent or a confirmation explains its deletion, or when its keys have ended.
func (d *decider) held(s *plan.Situation, changes []plan.Change) bool {
	unexplained := 0
	for _, c := range changes {
		if c.Kind == plan.Advance && c.Cause == plan.NotWanted && !d.state.World.Explained(s.ID, c.Generation.CreateRevision) {
			unexplained++
		}
	}
	_, waits := d.hold.pairs[s.ID]
	if unexplained == 0 || !waits && d.pass(s.ID, unexplained) {
		delete(d.hold.pairs, s.ID)
		return false
	}
	d.hold.pairs[s.ID] = struct{}{}
	d.queue.at(s.ID, end(changes))
	if !waits {
		d.reports.hold(s)
	}
	return true
}

// end is when the first of the generations that are held ends by itself.
func end(changes []plan.Change) time.Time {
	first := changes[0].Generation.Hard
	for _, c := range changes {
		first = min(first, c.Generation.Hard)
	}
	return time.Unix(int64(first), 0)
}

// pass asks the gate for both agents.
func (d *decider) pass(id plan.PairID, deletions int) bool {
	ends := []plan.UID{id.A(), id.B()}
	blocked := slices.ContainsFunc(ends, func(uid plan.UID) bool {
		return !d.hold.gate.Would(uid, deletions, d.spis.generations(uid), d.now)
	})
	if blocked {
		return false
	}
	for _, uid := range ends {
		d.hold.gate.Pass(uid, deletions, d.spis.generations(uid), d.now)
	}
	return true
}
