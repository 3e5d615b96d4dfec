package ike

import (
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// TestBadAnswers: commands that answer nothing, or with what cannot be sent, are refused and change nothing.
func TestBadAnswers(t *testing.T) {
	a, b := policies()
	l := newLab(t, 1, false, a, b)
	m, err := Initiate(l.now, l.alice.cfg, l.alice.path())
	if err != nil {
		t.Fatal(err)
	}
	l.alice.m = m
	var asked QuestionID
	l.rule = func(p *packet) fate { return fate{} }
	l.alice.work()
	l.run(15*time.Millisecond, nil)
	for _, p := range l.flight {
		if err := l.alice.m.HandlePacket(l.now, p.path, p.datagram); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range l.alice.m.Open {
		asked = questionID(a)
	}
	before := string(l.alice.m.Snapshot().Bytes())
	for _, c := range []Command{
		AUTHSigned{ID: asked}, AUTHSigned{ID: asked + 1, AUTH: ikewire.AUTH{Method: 2, Data: []byte{1}}},
		PeerVerified{ID: asked, Accepted: true}, PPKFound{ID: asked}, AddressesAssigned{ID: asked},
		RekeyIKE{}, CreateChild{Name: "net"}, Probe{}, Move{Path: l.alice.path()},
	} {
		if err := l.alice.m.HandleCommand(l.now, c); err == nil {
			t.Errorf("%T is taken", c)
		}
		if string(l.alice.m.Snapshot().Bytes()) != before {
			t.Errorf("%T has changed something", c)
		}
	}
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
