package plan_test

import (
	"fmt"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// checks is what the simulation remembers in order to see that a rule is broken.
type checks struct {
	keyTo       map[keyEnd]plan.Epoch         // which epoch a key went to
	installed   map[burntAt]plan.SAID         // which SA a generation number stood for at an epoch
	up          map[plan.PairID][2]plan.Epoch // pairs that have been up since, and between which lives
	wantedSince map[plan.PairID]int64         // revision since which a pair is wanted without a break
	established map[plan.PairID]upSince       // the last generation that the planner saw established
	failures    []string
}

// upSince is a generation that was established, and between which lives.
type upSince struct {
	lives   [2]plan.Epoch
	created int64
}

type keyEnd struct {
	id  plan.SAID
	uid plan.UID
}

type burntAt struct {
	epoch plan.Epoch
	burnt
	generation uint32
}

func newChecks() checks {
	return checks{
		keyTo: make(map[keyEnd]plan.Epoch), installed: make(map[burntAt]plan.SAID),
		up: make(map[plan.PairID][2]plan.Epoch), wantedSince: make(map[plan.PairID]int64), established: make(map[plan.PairID]upSince),
	}
}

func (s *sim) failf(format string, args ...any) {
	s.checks.failures = append(s.checks.failures, fmt.Sprintf(format, args...))
}

// checkCommit: no generation is told to send before both present lives have its inbound half.
func (s *sim) checkCommit(t simTxn) {
	for _, c := range t.changes {
		g := c.Generation
		switch {
		case c.Kind == plan.Advance && g.Phase == plan.Outbound:
			s.checkReceiver(t.pair, t.pair.A(), g.EpochA, g)
			s.checkReceiver(t.pair, t.pair.B(), g.EpochB, g)
		case c.Kind == plan.Advance && g.Phase == plan.Established:
			s.checks.established[t.pair] = upSince{[2]plan.Epoch{g.EpochA, g.EpochB}, g.CreateRevision}
			s.checkUp(t.pair)
		}
	}
}

// checkReceiver: an outbound SA is advertised only while the receiver, if it still lives, can open it.
func (s *sim) checkReceiver(pair plan.PairID, uid plan.UID, epoch plan.Epoch, g plan.Generation) {
	a := s.agents[uid]
	if a == nil || a.epoch != epoch || s.seconds() >= g.Hard {
		return
	}
	if _, ok := a.holds[half{g.ID, false}]; !ok {
		s.failf("generation %d of %s is advertised, but %s has not installed it", g.Number, s.pairName(pair), s.name(uid))
	}
}

// checkDelivery looks at a message when the agent has handled it.
func (s *sim) checkDelivery(a *simAgent, r reply) {
	if r.verb == remove {
		s.checkUp(r.pair)
		return
	}
	k := keyEnd{r.id, a.uid}
	if epoch, ok := s.checks.keyTo[k]; ok && epoch != a.epoch {
		s.failf("key %s went to two epochs of %s", r.id, s.name(a.uid))
	}
	s.checks.keyTo[k] = a.epoch
	if r.refused {
		return
	}
	b := burntAt{a.epoch, burnt{r.pair, r.out}, r.generation}
	if id, ok := s.checks.installed[b]; ok && id != r.id {
		s.failf("generation %d of %s was used twice at %s", r.generation, s.pairName(r.pair), s.name(a.uid))
	}
	s.checks.installed[b] = r.id
	if r.out {
		s.checkAdvertised(a, r)
	}
	s.checkUp(r.pair)
}

// checkAdvertised is checkReceiver at the time when the sender begins to send.
func (s *sim) checkAdvertised(a *simAgent, r reply) {
	g, found := s.store.find(r.pair, r.generation)
	if !found || g.ID != r.id || g.Phase > plan.Established {
		return // being withdrawn: the tombstone follows on the same stream
	}
	peer, epoch := r.pair.Other(a.uid), g.EpochA
	if peer == r.pair.B() {
		epoch = g.EpochB
	}
	s.checkReceiver(r.pair, peer, epoch, g)
}

// checkUp: a pair that was up stays up while both agents live and it stays wanted.
func (s *sim) checkUp(pair plan.PairID) {
	a, b := s.agents[pair.A()], s.agents[pair.B()]
	since, wanted := s.checks.wantedSince[pair]
	if a == nil || b == nil || !wanted {
		delete(s.checks.up, pair)
		return
	}
	lives := [2]plan.Epoch{a.epoch, b.epoch}
	carried := s.carries(a, b, pair) && s.carries(b, a, pair)
	established := s.checks.established[pair]
	switch was, ok := s.checks.up[pair]; {
	case ok && was == lives && !carried:
		s.failf("traffic of %s was interrupted", s.pairName(pair))
		delete(s.checks.up, pair)
	case carried && established.lives == lives && established.created > since:
		s.checks.up[pair] = lives
	case ok && was != lives:
		delete(s.checks.up, pair)
	}
}

// carries reports whether packets flow one way.
func (s *sim) carries(from, to *simAgent, pair plan.PairID) bool {
	id, ok := from.sendsOn(pair)
	if !ok {
		return false
	}
	_, ok = to.holds[half{id, false}]
	return ok
}

func (s *sim) forgetUp(pair plan.PairID) { delete(s.checks.up, pair) }

// intentChanged finds anew, and without the code under test, which pairs are wanted.
func (s *sim) intentChanged() {
	uids := sorted(s.store.hosts)
	for i, x := range uids {
		s.intentOf(x, uids[i+1:])
	}
	s.intentGone()
}

// intentOf is intentChanged for the pairs of one host.
func (s *sim) intentOf(x plan.UID, others []plan.UID) {
	for _, y := range others {
		if x == y {
			continue
		}
		id := plan.PairOf(x, y)
		_, was := s.checks.wantedSince[id]
		switch is := s.wanted(x, y); {
		case is && !was:
			s.checks.wantedSince[id] = s.store.revision
		case !is && was:
			delete(s.checks.wantedSince, id)
			s.forgetUp(id)
		}
	}
}

// intentGone is intentChanged for the hosts that are no more.
func (s *sim) intentGone() {
	for id := range s.checks.wantedSince {
		_, a := s.store.hosts[id.A()]
		_, b := s.store.hosts[id.B()]
		if !a || !b {
			delete(s.checks.wantedSince, id)
			s.forgetUp(id)
		}
	}
}

// wanted is the meaning of policies, written as plainly as can be.
func (s *sim) wanted(x, y plan.UID) bool {
	lx, ly := s.store.hosts[x].labels, s.store.hosts[y].labels
	for _, q := range s.store.policies {
		to := q.To
		if to.IsZero() {
			to = q.Hosts
		}
		if q.Hosts.Matches(lx) && to.Matches(ly) || q.Hosts.Matches(ly) && to.Matches(lx) {
			return true
		}
	}
	return false
}

// checkConverged: exactly the wanted pairs, each with exactly one established generation, and nothing
// else in the store or at any agent.
func (s *sim) checkConverged() {
	want := make(map[keyEnd]bool)
	for id := range s.checks.wantedSince {
		gens := s.store.pairs[id]
		if len(gens) != 1 || gens[0].Phase != plan.Established || gens[0].Incarnation != s.store.incarnation {
			s.failf("%s has not converged: %s", s.pairName(id), describe(gens))
			continue
		}
		g := gens[0]
		if s.agents[id.A()].epoch != g.EpochA || s.agents[id.B()].epoch != g.EpochB {
			s.failf("%s is established for a dead epoch", s.pairName(id))
		}
		want[keyEnd{g.ID, id.A()}], want[keyEnd{g.ID, id.B()}] = true, true
	}
	for id, gens := range s.store.pairs {
		if _, ok := s.checks.wantedSince[id]; !ok {
			s.failf("%s is not wanted but has %s", s.pairName(id), describe(gens))
		}
	}
	s.checkHoldings(want)
}

func (s *sim) checkHoldings(want map[keyEnd]bool) {
	for _, uid := range s.order {
		halves := 0
		for h, sa := range s.agents[uid].holds {
			halves++
			if !want[keyEnd{h.id, uid}] {
				s.failf("%s holds an orphan: generation %d of %s, out %v", s.name(uid), sa.generation, s.pairName(sa.pair), h.out)
			}
		}
		wanted := 0
		for k := range want {
			if k.uid == uid {
				wanted += 2
			}
		}
		if halves != wanted {
			s.failf("%s holds %d SAs instead of %d", s.name(uid), halves, wanted)
		}
	}
}

func describe(gens []plan.Generation) string {
	if len(gens) == 0 {
		return "nothing"
	}
	text := ""
	for _, g := range gens {
		text += fmt.Sprintf("[%d %s acks %08b]", g.Number, g.Phase, g.Acks)
	}
	return text
}
