package ike

import (
	"testing"
	"time"
)

// narrowed is a policy as it was, with less at the far end.
func narrowed(p Policy, remote string) SetPolicy {
	children := append([]ChildPolicy(nil), p.Children...)
	children[0].Remote = subnet(remote)
	p.Children = children
	return SetPolicy{Policy: p}
}

// TestNarrowerPolicy: a child that is wider than a new policy of the same name goes; whoever asked for it asks again.
func TestNarrowerPolicy(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, nil)
		l.alice.command(narrowed(l.alice.m.Policy, "10.2.3.0/24"))
		l.run(10*time.Second, nil)
		l.consistent(1)
		if got := l.alice.m.Children[0].Remote[0].String(); got != subnet("10.2.3.0/24")[0].String() {
			l.fail("a child for %v", got)
		}
		l.bob.command(narrowed(l.bob.m.Policy, "10.1.3.0/24"))
		l.run(10*time.Second, nil)
		l.consistent(0)
	})
}

// TestNarrowerPolicyMeanwhile: an answer that comes after the policy has become narrower makes no child.
func TestNarrowerPolicyMeanwhile(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		l := establishedLab(t, restoring, nil)
		l.alice.command(CreateChild{Name: "net"})
		l.alice.command(narrowed(l.alice.m.Policy, "10.2.3.0/24"))
		l.settle()
		for _, c := range l.alice.m.Children {
			if c.Remote[0].String() != subnet("10.2.3.0/24")[0].String() {
				l.fail("a child for %v", c.Remote)
			}
		}
		l.consistent(-1)
	})
}
