package manual

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
)

// raiser notes the ceilings.
type raiser struct {
	mu  sync.Mutex
	ids map[datapath.SAID]uint64
	err error
}

func (r *raiser) RaiseCeiling(id datapath.SAID, n uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids[id] = n
	return r.err
}

func (r *raiser) ceiling(id datapath.SAID) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ids[id]
}

// text is a log that several goroutines write to.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

func newKeeper(t *testing.T) (*Keeper, *raiser, *text) {
	log := new(text)
	r := &raiser{ids: make(map[datapath.SAID]uint64)}
	return NewKeeper(openReservations(t, t.TempDir()), r, slog.New(slog.NewTextHandler(log, nil))), r, log
}

func TestKeeperExtends(t *testing.T) {
	k, raised, log := newKeeper(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events := make(chan datapath.Event)
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx, events) }()
		id := datapath.SAID{1}
		if s, c, err := k.reserve("branch", id, Fingerprint{}, true); err != nil || s != 0 || c != Block {
			t.Fatal(s, c, err)
		}
		near := datapath.Event{Kind: datapath.CeilingNear, SA: id, RemoteHost: "branch"}
		events <- near
		synctest.Wait()
		if got := raised.ceiling(id); got != 2*Block {
			t.Errorf("ceiling %d", got)
		}
		// The disk fails for a while.
		good := k.reservations.replace
		k.reservations.mu.Lock()
		k.reservations.replace = func(string, []byte) error { return errors.New("disk full") }
		k.reservations.mu.Unlock()
		events <- near
		time.Sleep(3 * retryExtend)
		synctest.Wait()
		if got := raised.ceiling(id); got != 2*Block || !strings.Contains(log.String(), "disk full") {
			t.Errorf("ceiling %d, log %s", got, log)
		}
		k.reservations.mu.Lock()
		k.reservations.replace = good
		k.reservations.mu.Unlock()
		time.Sleep(retryExtend)
		synctest.Wait()
		if got := raised.ceiling(id); got != 3*Block {
			t.Errorf("ceiling %d", got)
		}
		time.Sleep(10 * retryExtend)
		synctest.Wait()
		if got := raised.ceiling(id); got != 3*Block {
			t.Errorf("nobody asked for the ceiling %d", got)
		}
		k.forget(id)
		events <- near
		events <- datapath.Event{Kind: datapath.SoftLifetime, RemoteHost: "branch"}
		events <- datapath.Event{Kind: datapath.HardLifetime, RemoteHost: "branch"}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if got := raised.ceiling(id); got != 3*Block {
			t.Errorf("an SA that is gone got the ceiling %d", got)
		}
	})
	if !strings.Contains(log.String(), "soft lifetime") || !strings.Contains(log.String(), "hard lifetime") || !strings.Contains(log.String(), "policy=branch") {
		t.Error(log)
	}
}

// Two SAs of one key, one after the other: neither ever gets numbers of the other.
func TestKeeperSuccessor(t *testing.T) {
	k, raised, _ := newKeeper(t)
	old, next, third := datapath.SAID{1}, datapath.SAID{2}, datapath.SAID{3}
	reserve := func(id datapath.SAID, first uint64) {
		t.Helper()
		if s, c, err := k.reserve("p", id, Fingerprint{}, true); err != nil || s != first || c != first+Block {
			t.Fatal(s, c, err)
		}
	}
	reserve(old, 0)
	reserve(next, Block)
	k.extend(old)
	if got := raised.ceiling(old); got != 0 {
		t.Fatalf("the old SA got numbers up to %d", got)
	}
	k.giveBack(next) // it was not installed after all
	k.again()
	if got := raised.ceiling(old); got != 2*Block {
		t.Fatalf("the numbers that were given back did not help: %d", got)
	}
	reserve(next, 2*Block)
	k.giveBack(next)
	reserve(third, 2*Block) // once more
	k.extend(third)
	if got := raised.ceiling(third); got != 4*Block {
		t.Errorf("ceiling %d", got)
	}
	// What was reserved with ESN is not for an SA without.
	k.reservations.reserved[Fingerprint{7}] = math.MaxUint32 - 1
	if _, _, err := k.reserve("p", old, Fingerprint{7}, true); err != nil {
		t.Fatal(err)
	}
	k.giveBack(old)
	if _, _, err := k.reserve("p", old, Fingerprint{7}, false); !errors.Is(err, ErrExhausted) {
		t.Error(err)
	}
}

func TestKeeperEnd(t *testing.T) {
	k, raised, log := newKeeper(t)
	id := datapath.SAID{1}
	k.reservations.reserved[Fingerprint{}] = math.MaxUint32 - Block - 7
	if _, _, err := k.reserve("p", id, Fingerprint{}, false); err != nil {
		t.Fatal(err)
	}
	k.extend(id)
	if got := raised.ceiling(id); got != math.MaxUint32 || !strings.Contains(log.String(), "nine tenths") {
		t.Errorf("%d %s", got, log)
	}
	k.extend(id)
	k.again()
	if got := raised.ceiling(id); got != math.MaxUint32 || strings.Count(log.String(), "nearly used up") != 1 {
		t.Errorf("%d %s", got, log)
	}
}
