package identity

import (
	"net/netip"
	"testing"
	"time"
)

func TestAttempts(t *testing.T) {
	a := newAttempts(2)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	try := func(addr string) bool {
		ip := netip.MustParseAddr(addr)
		ok := a.allowed(ip, now)
		if ok {
			a.failed(ip, now)
		}
		return ok
	}
	for i := range attemptBurst {
		if !try("192.0.2.1") {
			t.Fatalf("attempt %d refused", i)
		}
	}
	if try("192.0.2.1") || try("::ffff:192.0.2.1") {
		t.Error("one too many")
	}
	if !try("192.0.2.2") {
		t.Error("another address pays for the first")
	}
	now = now.Add(attemptEvery)
	if !try("192.0.2.1") || try("192.0.2.1") {
		t.Error("one attempt comes back each interval")
	}
}

func TestGoodAttemptsAreFree(t *testing.T) {
	a := newAttempts(2)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 5 * attemptBurst {
		if !a.allowed(netip.MustParseAddr("192.0.2.1"), now) {
			t.Fatal("good attempts are counted")
		}
	}
}

// TestAttemptsInParallel: they all were allowed before the first one failed.
func TestAttemptsInParallel(t *testing.T) {
	a := newAttempts(2)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	addr := netip.MustParseAddr("192.0.2.1")
	for range 1000 {
		a.failed(addr, now)
	}
	now = now.Add(attemptBurst * attemptEvery)
	if a.allowed(addr, now) {
		t.Error("parallel attempts cost nothing")
	}
	now = now.Add(2 * attemptEvery)
	if !a.allowed(addr, now) {
		t.Error("the debt is not bounded")
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	a := newAttempts(3)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	addr := netip.MustParseAddr("2001:db8::1")
	for range attemptBurst {
		a.failed(addr, now)
	}
	// The same /64 is the same attacker.
	if a.allowed(netip.MustParseAddr("2001:db8::ffff:2"), now) {
		t.Error("another address of the same /64 got through")
	}
	for i := range 100 {
		a.failed(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), now)
		if a.allowed(addr, now) { // asked for, so it stays
			t.Fatal("a busy address was forgotten")
		}
		if len(a.byAddr) > 3 || a.recent.Len() != len(a.byAddr) {
			t.Fatalf("%d addresses kept", len(a.byAddr))
		}
	}
}
