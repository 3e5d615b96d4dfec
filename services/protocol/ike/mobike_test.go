package ike

import (
	"net/netip"
	"testing"
	"time"
)

// TestMOBIKEWithRequestUnderWay: the initiator is gone from where a request of the responder goes. Its move is followed
// all the same, and so is a second one while the first is being checked.
func TestMOBIKEWithRequestUnderWay(t *testing.T) {
	for _, moves := range [][]string{{"192.0.2.77"}, {"192.0.2.77", "192.0.2.78"}} {
		twice(t, func(t *testing.T, restoring bool) {
			l := establishedLab(t, restoring, func(_ *lab, a, b *Policy) { a.MOBIKE, b.MOBIKE = true, true })
			l.rule = func(p *packet) fate { return fate{drop: p.from == l.bob && p.dst.Addr() != l.alice.addr} }
			for i, to := range moves {
				l.alice.addr = netip.MustParseAddr(to)
				if i == 0 {
					l.bob.command(Probe{}) // to where alice is no more
				}
				l.alice.command(Move{Path: l.alice.path()})
				l.run(21*time.Millisecond, nil) // alice has her answer; bob's probe is on its way
			}
			l.settle()
			if l.bob.m == nil || l.bob.m.Path.Remote.Addr() != l.alice.addr {
				l.fail("bob has gone, or has not followed")
			}
			l.consistent(1)
		})
	}
}
