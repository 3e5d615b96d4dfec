package ike

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
)

// established returns a lab after its handshake, with changed policies.
func establishedLab(t *testing.T, restoring bool, change func(l *lab, a, b *Policy)) *lab {
	t.Helper()
	a, b := policies()
	l := newLab(t, 1, restoring, a, b)
	l.apply(change)
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

func TestRedirect(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, func(_ *lab, a, b *Policy) { a.Redirects = true })
		l.bob.command(Redirect{To: ikewire.Redirect{Addr: netip.MustParseAddr("192.0.2.99")}})
		l.run(time.Second, nil)
		want := Redirected{Addr: netip.MustParseAddr("192.0.2.99")}
		if !slices.ContainsFunc(l.alice.actions, func(a Action) bool { return a == Action(want) }) {
			l.fail("alice has not heard of it")
		}
		l.consistent(1)
	})
}

// TestRedirectedAtFirst: the answer to IKE_SA_INIT redirects, if it has our nonce.
func TestRedirectedAtFirst(t *testing.T) {
	for _, forged := range []bool{true, false} {
		a, b := policies()
		a.Redirects = true
		l := newLab(t, 1, true, a, b)
		l.rule = func(p *packet) fate {
			if p.from == l.bob {
				return fate{}
			}
			hello, err := ParseHello(p.datagram)
			if err != nil {
				t.Fatal(err)
			}
			if forged {
				hello.Nonce = slices.Repeat([]byte{7}, 32)
			}
			reply, err := RedirectHello(hello, ikewire.Redirect{Name: "other.example"})
			if err != nil {
				t.Fatal(err)
			}
			l.send(l.bob, Path{Local: p.path.Local, Remote: p.path.Remote}, reply)
			return fate{drop: true}
		}
		l.alice.initiate()
		l.run(10*time.Minute, nil)
		if want := map[bool]Reason{true: PeerDead, false: WasRedirected}[forged]; l.alice.closed.Reason != want {
			t.Errorf("forged %v: closed: %s, want %s", forged, l.alice.closed.Reason, want)
		}
	}
}

func TestReauthenticate(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, func(l *lab, a, b *Policy) {
			l.bob.decide = func(q VerifyPeer) PeerVerified {
				return PeerVerified{ID: q.ID, Accepted: true, AuthLifetime: time.Hour}
			}
		})
		l.run(time.Hour, nil)
		if !slices.ContainsFunc(l.alice.actions, func(a Action) bool { _, ok := a.(Reauthenticate); return ok }) {
			l.fail("alice does not authenticate again in time")
		}
		l.consistent(1)
	})
}

// TestPolicyOfThePeer: what PeerVerified brings replaces what the responder began with.
func TestPolicyOfThePeer(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, func(l *lab, a, b *Policy) {
			peer := *b
			b.Children, b.LocalID = nil, fqdn("nobody")
			l.bob.decide = func(q VerifyPeer) PeerVerified {
				return PeerVerified{ID: q.ID, Accepted: true, Policy: &peer}
			}
		})
		l.consistent(1)
		if got := string(l.alice.m.Peer.RemoteID.Data); got != "bob" {
			l.fail("bob is %q", got)
		}
		p := l.bob.m.Policy
		p.Children = nil
		l.bob.command(SetPolicy{Policy: p})
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
