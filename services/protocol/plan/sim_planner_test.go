package plan_test

import (
	"iter"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// simPlanner is the model of a planner process: its picture of the store, which lags, and the pairs that
// it has still to look at. A crash loses all of it.
type simPlanner struct {
	sim       *sim
	token     int
	skew      time.Duration // of this process's clock
	world     plan.World
	pairs     map[plan.PairID][]plan.Generation
	epochRev  map[plan.UID]int64
	seen      int // of the store's log
	dirty     []plan.PairID
	isDirty   map[plan.PairID]bool
	deadlines map[plan.PairID]time.Time
	lingering map[plan.PairID]bool // pairs that nobody wants but that have generations
}

// newPlanner starts a planner from the store alone and makes it the leader.
func (s *sim) newPlanner() *simPlanner {
	s.store.leader++
	p := &simPlanner{
		sim: s, token: s.store.leader, skew: time.Duration(s.rand.IntN(5)-2) * time.Second,
		pairs: make(map[plan.PairID][]plan.Generation), epochRev: make(map[plan.UID]int64),
		seen: len(s.store.log), isDirty: make(map[plan.PairID]bool), deadlines: make(map[plan.PairID]time.Time),
		lingering: make(map[plan.PairID]bool),
	}
	p.world.Incarnation = s.store.incarnation
	for _, uid := range sorted(s.store.hosts) {
		r := s.store.hosts[uid]
		p.world.SetHost(r.host(uid))
		p.epochRev[uid] = r.epochRev
	}
	for _, q := range s.store.policies {
		p.world.SetPolicy(q)
	}
	p.touch(p.world.Pairs())
	for _, id := range sorted(s.store.pairs) {
		p.pairs[id] = s.store.pairs[id]
		p.mark(id)
	}
	return p
}

func (p *simPlanner) mark(id plan.PairID) {
	if !p.isDirty[id] {
		p.isDirty[id] = true
		p.dirty = append(p.dirty, id)
	}
}

func (p *simPlanner) touch(ids iter.Seq[plan.PairID]) {
	for id := range ids {
		p.mark(id)
	}
}

// hostChanged marks what the world does not know of: pairs of the host that are no longer wanted.
func (p *simPlanner) hostChanged(uid plan.UID) {
	for _, id := range sorted(p.lingering) {
		if id.Has(uid) {
			p.mark(id)
		}
	}
}

// catchUp takes up to n events of the watch.
func (p *simPlanner) catchUp(n int) {
	for ; n > 0 && p.seen < len(p.sim.store.log); n-- {
		p.sim.store.log[p.seen](p)
		p.seen++
	}
}

func (p *simPlanner) now() time.Time { return p.sim.now.Add(p.skew) }

// decide steps the i-th dirty pair.
func (p *simPlanner) decide(i int) simTxn {
	id := p.dirty[i]
	p.dirty = slices.Delete(p.dirty, i, i+1)
	delete(p.isDirty, id)
	situation := p.world.Situation(id, p.pairs[id])
	changes, deadline := plan.Step(situation, p.now(), plan.Limits{})
	if deadline.IsZero() {
		delete(p.deadlines, id)
	} else {
		p.deadlines[id] = deadline
	}
	delete(p.lingering, id)
	if situation.Policy == nil && len(situation.Generations) > 0 {
		p.lingering[id] = true
	}
	t := simTxn{token: p.token, pair: id, changes: changes, epochs: map[plan.UID]int64{
		id.A(): p.epochRev[id.A()], id.B(): p.epochRev[id.B()],
	}}
	if situation.Policy != nil {
		t.policy, t.policyRev = situation.Policy.Name, situation.Policy.Revision
	}
	for i := range t.changes {
		if g := &t.changes[i].Generation; t.changes[i].Kind == plan.Create {
			p.sim.serial++
			g.ID = id128(p.sim.serial)
			g.SPIAB, g.SPIBA = p.sim.newSPI(), p.sim.newSPI()
		}
	}
	return t
}

// commit writes what was decided; a conflict makes the planner catch up and look again.
func (p *simPlanner) commit(t simTxn) {
	if len(t.changes) == 0 {
		return
	}
	if !p.sim.store.commit(t) {
		p.sim.conflicts++
		p.catchUp(len(p.sim.store.log))
		p.mark(t.pair)
		return
	}
	p.sim.checkCommit(t)
	p.sim.wakeFleet(t.pair)
}

// tick marks the pairs whose deadline has come.
func (p *simPlanner) tick() {
	for _, id := range sorted(p.deadlines) {
		if !p.deadlines[id].After(p.now()) {
			delete(p.deadlines, id)
			p.mark(id)
		}
	}
}

// nextDeadline is the earliest, by the simulation's clock.
func (p *simPlanner) nextDeadline() (next time.Time) {
	for _, d := range p.deadlines {
		if d = d.Add(-p.skew); next.IsZero() || d.Before(next) {
			next = d
		}
	}
	return next
}
