package sad

import (
	"math"
	"testing"
	"time"
)

func TestAccountPackets(t *testing.T) {
	a := NewAccount(Lifetime{Soft: Limits{Packets: 2}, Hard: Limits{Packets: 3}})
	for i, want := range []State{OK, Soft, Soft, Hard, Hard} {
		if got := a.Count(0, 10); got != want {
			t.Errorf("packet %d: %v, want %v", i+1, got, want)
		}
	}
	if a.Packets() != 3 || a.Bytes() != 30 {
		t.Errorf("%d packets, %d bytes were counted, want 3 and 30", a.Packets(), a.Bytes())
	}
}

func TestAccountBytes(t *testing.T) {
	a := NewAccount(Lifetime{Soft: Limits{Bytes: 100}, Hard: Limits{Bytes: 150}})
	for i, tt := range []struct {
		n    int
		want State
	}{{99, OK}, {0, OK}, {1, Soft}, {50, Soft}, {0, Soft}, {1, Hard}, {0, Hard}} {
		if got := a.Count(0, tt.n); got != tt.want {
			t.Errorf("packet %d: %v, want %v", i+1, got, tt.want)
		}
	}
	if a.Bytes() != 150 || a.Packets() != 5 {
		t.Errorf("%d bytes, %d packets were counted, want 150 and 5", a.Bytes(), a.Packets())
	}
}

// A packet that would exceed the limit ends the SA even though a smaller one would fit.
func TestAccountBytesPartly(t *testing.T) {
	a := NewAccount(Lifetime{Hard: Limits{Bytes: 100}})
	if a.Count(0, 60) != OK || a.Count(0, 60) != Hard || a.Count(0, 1) != Hard || a.Bytes() != 60 {
		t.Errorf("%d bytes were counted, want 60", a.Bytes())
	}
}

func TestAccountDeadline(t *testing.T) {
	a := NewAccount(Lifetime{Soft: Limits{Deadline: time.Hour}, Hard: Limits{Deadline: 8 * time.Hour}})
	for _, tt := range []struct {
		now  time.Duration
		want State
	}{
		{0, OK}, {time.Hour - 1, OK}, {time.Hour, Soft}, {8*time.Hour - 1, Soft},
		{time.Hour - 1, Soft}, // a state never goes back
		{8 * time.Hour, Hard}, {math.MaxInt64, Hard}, {0, Hard},
	} {
		if got := a.State(tt.now); got != tt.want {
			t.Errorf("State at %v: %v, want %v", tt.now, got, tt.want)
		}
		if got := a.Count(tt.now, 1); got != tt.want {
			t.Errorf("Count at %v: %v, want %v", tt.now, got, tt.want)
		}
	}
	if a.Packets() != 5 {
		t.Errorf("%d packets were counted, want 5", a.Packets())
	}
}

// A hard limit ends the SA without a soft one before it.
func TestAccountHardOnly(t *testing.T) {
	a := NewAccount(Lifetime{Hard: Limits{Deadline: 5}})
	if a.Count(4, 1) != OK || a.Count(5, 1) != Hard {
		t.Error("the hard limit does not hold alone")
	}
}

func TestAccountWithoutLimits(t *testing.T) {
	a := NewAccount(Lifetime{})
	for range 100 {
		if got := a.Count(math.MaxInt64, 1<<40); got != OK {
			t.Fatalf("state %v without a limit", got)
		}
	}
	if a.Count(0, -5) != OK || a.Bytes() != 100<<40 {
		t.Errorf("a negative length counts: %d bytes", a.Bytes())
	}
}

// The largest limits do not overflow into none.
func TestAccountHugeLimits(t *testing.T) {
	a := NewAccount(Lifetime{Hard: Limits{Bytes: math.MaxUint64}})
	a.bytes = math.MaxUint64 - 10
	if a.Count(0, 10) != OK || a.Count(0, 1) != Hard {
		t.Errorf("%d bytes were counted", a.bytes)
	}
}

func TestCountDoesNotAllocate(t *testing.T) {
	a := NewAccount(Lifetime{Soft: Limits{Packets: 500}, Hard: Limits{Packets: 800}})
	if n := testing.AllocsPerRun(1000, func() { a.Count(1, 1400) }); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
