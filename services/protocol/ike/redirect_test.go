package ike

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

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

// TestRedirectedInAuth: the answer of IKE_AUTH redirects (RFC 5685 section 6), which an initiator that has not said
// REDIRECT_SUPPORTED takes for a refusal.
func TestRedirectedInAuth(t *testing.T) {
	for _, supported := range []bool{true, false} {
		l := halfOpenLab(t)
		l.alice.m.Policy.Redirects = supported
		n, err := ikewire.NewRedirect(ikewire.RedirectTo, ikewire.Redirect{Addr: netip.MustParseAddr("192.0.2.99")})
		if err != nil {
			t.Fatal(err)
		}
		l.inject(l.bob, ikewire.IKEAuth, 1, true, n)
		want := map[bool]Reason{true: WasRedirected, false: AuthenticationFailed}[supported]
		if l.alice.closed == nil || l.alice.closed.Reason != want {
			l.fail("supported %v: %v", supported, l.alice.closed)
		}
	}
}
