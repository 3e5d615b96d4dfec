package ike

import (
	"testing"
	"time"
)

func TestDPD(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, func(_ *lab, a, b *Policy) { a.Timing.DPD = 10 * time.Second })
		l.run(time.Minute, nil)
		l.consistent(1)
		l.rule = func(*packet) fate { return fate{drop: true} }
		l.run(5*time.Minute, nil)
		if l.alice.closed == nil || l.alice.closed.Reason != PeerDead || len(l.alice.in) > 0 {
			l.fail("alice believes that bob lives")
		}
	})
}

// TestLifetimes rekeys the child and the IKE SA by timer at both ends, for a day, without a lost packet.
func TestLifetimes(t *testing.T) {
	l := establishedLab(t, false, func(_ *lab, a, b *Policy) {
		for _, p := range []*Policy{a, b} {
			p.Timing.Rekey, p.Timing.Lifetime = 4*time.Hour, 6*time.Hour
			p.Children[0].Rekey, p.Children[0].Lifetime = time.Hour, 90*time.Minute
		}
	})
	for range 24 * 60 {
		l.run(time.Minute, nil)
		l.alice.ping()
		l.bob.ping()
	}
	l.run(5*time.Minute, nil)
	l.consistent(1)
	if l.alice.lost+l.bob.lost > 0 || l.alice.got < 24*60 {
		l.fail("%d packets lost, %d came", l.alice.lost+l.bob.lost, l.alice.got)
	}
	if l.alice.m.Children[0].ID < 20 {
		l.fail("child %d", l.alice.m.Children[0].ID)
	}
}

// TestHardLifetime: what nobody rekeys ends.
func TestHardLifetime(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, func(_ *lab, a, b *Policy) {
			a.Children[0].Lifetime = time.Hour
			b.Timing.Lifetime = 3 * time.Hour
		})
		l.run(2*time.Hour, nil)
		l.consistent(0)
		l.run(2*time.Hour, nil)
		if l.alice.closed == nil || l.bob.closed == nil || l.bob.closed.Reason != Expired {
			l.fail("closed: alice %v, bob %v", l.alice.closed, l.bob.closed)
		}
	})
}

func TestBackoffIsBounded(t *testing.T) {
	timing := Policy{}.withDefaults().Timing
	for n := range 2000 {
		if d := timing.backoff(n); d < timing.RetransmitBase || d > time.Minute {
			t.Fatalf("%d: %v", n, d)
		}
	}
}
