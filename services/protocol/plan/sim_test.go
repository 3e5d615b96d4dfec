package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// TestSimulation runs a fleet of 50 hosts through joins, leaves, lost and doubled acks, refusals, agent
// restarts, planner crashes and store restores, in an order that only the seed knows, and checks the rules
// at each step and the result at the end.
func TestSimulation(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 50
	}
	const shards = 8
	for shard := range shards {
		t.Run(fmt.Sprintf("shard-%d", shard), func(t *testing.T) {
			t.Parallel()
			for seed := shard; seed < seeds && !t.Failed(); seed += shards {
				s := newSim(uint64(seed))
				newChaos(s, 50).run(4000)
				s.finish()
				s.report(t, fmt.Sprintf("seed %d", seed))
			}
		})
	}
}

// TestCrashEverywhere runs one story with 6 hosts and crashes the planner once, before or after each of its
// commits.
func TestCrashEverywhere(t *testing.T) {
	never := func() bool { return false }
	points := 0
	story(newSim(1), func() bool { points++; return never() }).finish()
	if points < 300 {
		t.Fatalf("the story has %d places to crash at; it should be longer", points)
	}
	for at := 1; at <= points; at++ {
		n := 0
		s := story(newSim(1), func() bool { n++; return n == at })
		s.finish()
		if s.report(t, fmt.Sprintf("crash %d of %d", at, points)); t.Failed() {
			return
		}
	}
	t.Logf("crashed at %d places", points)
}

// story is what happens to the 6 hosts: they join, are rekeyed, one agent restarts, one host leaves, the
// policy changes its cryptography, the store is restored.
func story(s *sim, crash func() bool) *sim {
	settle := func() {
		for {
			s.planner.catchUp(len(s.store.log))
			if !s.stepPlanner(0, crash) && !s.stepFleet(0) && !s.stepAgent(0) && !s.stepReply(0) {
				return
			}
		}
	}
	s.setPolicy(meshPolicy("mesh", "*", ""))
	var uids []plan.UID
	for range 6 {
		uids = append(uids, s.addHost(nil))
		s.startAgent(uids[len(uids)-1])
	}
	settle()
	for range 8 {
		s.advance(20 * time.Second)
		settle()
	}
	backup := s.store.clone()
	s.startAgent(uids[2])
	settle()
	s.removeHost(uids[4])
	settle()
	q := meshPolicy("mesh", "*", "")
	q.Transform = aes128
	s.setPolicy(q)
	settle()
	s.restore(backup)
	settle()
	return s
}

func (s *sim) report(t *testing.T, where string) {
	t.Helper()
	if n := len(s.checks.failures); n > 0 {
		t.Errorf("%s: %d rules broken, first:\n%s", where, n, strings.Join(s.checks.failures[:min(n, 5)], "\n"))
	}
}
