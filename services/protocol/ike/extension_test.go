package ike

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/keyexchange"
)

// established returns a lab after its handshake, with changed policies.
func establishedLab(t *testing.T, restoring bool, change func(l *lab, a, b *Policy)) *lab {
	t.Helper()
	a, b := policies()
	l := newLab(t, 1, restoring, a, b)
	if change != nil {
		l.apply(change)
	}
	l.establish()
	l.run(time.Second, nil)
	return l
}

// TestFollowupKE does every operation with ML-KEM in IKE_FOLLOWUP_KE, begun by either end.
func TestFollowupKE(t *testing.T) {
	for _, o := range []operation{childRekey, ikeRekey, childCreate} {
		for _, who := range []string{"alice", "bob"} {
			t.Run(string(o)+" by "+who, func(t *testing.T) {
				twice(t, func(t *testing.T, restoring bool) {
					l := establishedLab(t, restoring, func(_ *lab, a, b *Policy) {
						withAdditional(a, keyexchange.MLKEM768)
						withAdditional(b, keyexchange.MLKEM768)
					})
					e := map[string]*end{"alice": l.alice, "bob": l.bob}[who]
					e.start(o)
					l.settle()
					children, _ := prescribed(o, ikeRekey)
					l.consistent(children)
					got := slices.ContainsFunc(l.trace, func(s string) bool { return containsAll(s, "IKE_FOLLOWUP_KE", who+" →") })
					if !got {
						l.fail("no IKE_FOLLOWUP_KE")
					}
				})
			})
		}
	}
}

func TestMOBIKE(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, func(_ *lab, a, b *Policy) { a.MOBIKE, b.MOBIKE = true, true })
		l.alice.addr = netip.MustParseAddr("192.0.2.77")
		if err := l.bob.m.HandleCommand(l.now, Move{Path: l.bob.path()}); err == nil {
			l.fail("the responder may move")
		}
		l.alice.command(Move{Path: l.alice.path()})
		l.run(5*time.Second, nil)
		l.consistent(1)
		for _, e := range []*end{l.alice, l.bob} {
			if i := slices.IndexFunc(e.actions, func(a Action) bool { _, ok := a.(MoveChildren); return ok }); i < 0 {
				l.fail("%s has not moved its children", e.name)
			}
			if e.m.Path.Local.Port() != PortNAT {
				l.fail("%s: path %v", e.name, e.m.Path)
			}
		}
		if got := l.bob.m.Path.Remote.Addr(); got != l.alice.addr {
			l.fail("bob sends to %v", got)
		}
	})
}

// TestNATMapping: a NAT gives the initiator another port; the responder follows after a probe.
func TestNATMapping(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, func(l *lab, a, b *Policy) {
			l.alice.nat, l.alice.natPorts = netip.MustParseAddr("198.51.100.9"), 1000
		})
		l.alice.natPorts = 2000
		l.alice.command(Probe{})
		l.run(5*time.Second, nil)
		if got := l.bob.m.Path.Remote.String(); got != "198.51.100.9:6500" {
			l.fail("bob sends to %s", got)
		}
		l.consistent(1)
	})
}

// TestForgedSource: an authentic packet from elsewhere that nobody there answers for moves nothing, and the association
// lives on.
func TestForgedSource(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, func(l *lab, a, b *Policy) {
			l.alice.nat, l.alice.natPorts = netip.MustParseAddr("198.51.100.9"), 1000
		})
		was := l.bob.m.Path
		forged := false
		l.rule = func(p *packet) fate {
			if p.from == l.alice && !forged {
				forged = true
				p.path.Remote = netip.MustParseAddrPort("203.0.113.66:4500")
			}
			return fate{drop: p.from == l.bob && p.dst.Addr().String() == "203.0.113.66"}
		}
		l.alice.command(Probe{})
		l.settle()
		if l.bob.m == nil || l.bob.m.Path != was {
			l.fail("bob has gone, or sends elsewhere")
		}
		l.consistent(1)
	})
}

func TestReestablish(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, func(_ *lab, a, b *Policy) { a.Children[0].Reestablish = true })
		l.bob.start(childDelete)
		l.settle()
		l.consistent(1)
		l.alice.start(childDelete)
		l.settle()
		l.consistent(0)
	})
}

func containsAll(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
