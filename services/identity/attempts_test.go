package identity

import (
	"net/netip"
	"testing"
	"time"
)

func TestAttempts(t *testing.T) {
	a := newAttempts(2)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	begin := func(addr string) bool {
		_, ok := a.begin(netip.MustParseAddr(addr), now)
		return ok
	}
	for i := range attemptBurst {
		if !begin("192.0.2.1") {
			t.Fatalf("attempt %d refused", i)
		}
	}
	if begin("192.0.2.1") || begin("::ffff:192.0.2.1") {
		t.Error("one too many")
	}
	if !begin("192.0.2.2") {
		t.Error("another address pays for the first")
	}
	now = now.Add(attemptEvery)
	if !begin("192.0.2.1") || begin("192.0.2.1") {
		t.Error("one attempt comes back each interval")
	}
}

func TestAttemptsRefund(t *testing.T) {
	a := newAttempts(2)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 5 * attemptBurst {
		refund, ok := a.begin(netip.MustParseAddr("192.0.2.1"), now)
		if !ok {
			t.Fatal("good attempts are counted")
		}
		refund()
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	a := newAttempts(3)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	addr := netip.MustParseAddr("2001:db8::1")
	for range attemptBurst {
		a.begin(addr, now)
	}
	// The same /64 is the same attacker.
	if _, ok := a.begin(netip.MustParseAddr("2001:db8::ffff:2"), now); ok {
		t.Error("another address of the same /64 got through")
	}
	for i := range 100 {
		a.begin(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), now)
		a.begin(addr, now) // stays, since it is in use
		if len(a.byAddr) > 3 || a.recent.Len() != len(a.byAddr) {
			t.Fatalf("%d addresses kept", len(a.byAddr))
		}
	}
	if _, ok := a.begin(addr, now); ok {
		t.Error("a busy address was forgotten")
	}
}
