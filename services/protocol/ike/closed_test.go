package ike

import (
	"testing"
	"time"
)

// TestTwoSAsGivenUpAtOnce: after a rekeying the old IKE SA's Delete and the new one's first request leave at one
// moment, so that a peer that falls silent then has both given up in one call.
func TestTwoSAsGivenUpAtOnce(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, nil)
		l.alice.command(RekeyIKE{})
		l.alice.command(Probe{}) // waits for the window
		answered := l.sent + 2
		l.rule = func(p *packet) fate { return fate{drop: p.number > answered} }
		l.run(time.Hour, nil)
		if l.alice.m != nil || l.alice.closed == nil || l.alice.closed.Reason != PeerDead {
			l.fail("alice: %v", l.alice.closed)
		}
	})
}
