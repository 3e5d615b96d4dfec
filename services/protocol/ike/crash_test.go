package ike

import (
	"fmt"
	"testing"
	"time"
)

// TestCrash restores an end from what it has stored last, at each of its actions, in each operation begun by either end.
// The other end notices nothing, and both agree in the end.
func TestCrash(t *testing.T) {
	cases := 0
	for _, o := range operations() {
		for _, by := range []string{"alice", "bob"} {
			for _, who := range []string{"alice", "bob"} {
				for n := 1; ; n++ {
					done := false
					t.Run(fmt.Sprintf("%s by %s, %s crashes before action %d", o, by, who, n), func(t *testing.T) {
						done = crash(t, o, by, who, n)
					})
					cases++
					if done || t.Failed() {
						break
					}
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}

func crash(t *testing.T, o operation, by, who string, n int) (done bool) {
	t.Helper()
	a, b := policies()
	l := newLab(t, 1, false, a, b)
	l.establish()
	l.run(time.Second, nil)
	ends := map[string]*end{"alice": l.alice, "bob": l.bob}
	e := ends[who]
	e.ran, e.crashAt = 0, n
	before := string(e.persisted)
	ends[by].start(o)
	if by == who && e.ran >= n && string(e.persisted) == before {
		ends[by].start(o) // the command was not stored: whoever gave it gives it again
	}
	for range 50 {
		l.alice.ping()
		l.bob.ping()
		l.run(20*time.Millisecond, nil)
	}
	l.settle()
	children, closed := prescribed(o, ikeRekey)
	l.consistent(children)
	if closed != (l.alice.m == nil) {
		l.fail("closed: %v, want %v", l.alice.m == nil, closed)
	}
	if lost := l.alice.lost + l.bob.lost; lost > 0 && (o == childRekey || o == ikeRekey) {
		l.fail("%d packets lost", lost)
	}
	return e.ran < n
}

// TestCrashInHandshake does the same from the moment on when something is stored: when the peer is authenticated.
func TestCrashInHandshake(t *testing.T) {
	for _, who := range []string{"alice", "bob"} {
		for n := 1; ; n++ {
			a, b := policies()
			l := newLab(t, 1, false, a, b)
			e := l.end(who)
			e.crashAt = n
			l.establish()
			l.settle()
			l.consistent(1)
			if e.ran < n {
				break
			}
		}
	}
}

// TestOrder: within a step, actions come as Persist, InstallInbound, Send, InstallOutbound, and the rest.
func TestOrder(t *testing.T) {
	rank := func(a Action) int {
		switch a.(type) {
		case Persist:
			return 0
		case InstallInbound, MoveChildren:
			return 1
		case Send:
			return 2
		case InstallOutbound:
			return 3
		}
		return 4
	}
	a, b := policies()
	l := newLab(t, 1, false, a, b)
	l.establish()
	for _, e := range []*end{l.alice, l.bob} {
		for _, o := range operations() {
			e.actions = nil
			e.start(o)
			l.run(5*time.Second, nil)
			if o == ikeDelete {
				return
			}
			last := 5
			for i, a := range e.actions {
				if r := rank(a); r != 0 && r < last {
					l.fail("%s: %T is action %d, after one of a later kind, with no Persist between", e.name, a, i)
				} else {
					last = r
				}
			}
			if rank(e.actions[0]) != 0 {
				l.fail("%s begins with %T", e.name, e.actions[0])
			}
		}
	}
}
