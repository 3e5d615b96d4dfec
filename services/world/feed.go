package world

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// sweepEvery is how often the tally looks for generations that have ended by themselves.
const sweepEvery = time.Minute

// Config is what a Feed needs.
type Config struct {
	View        *store.View
	Incarnation uint64           // of the store
	Now         func() time.Time // default time.Now
	Log         *slog.Logger     // default: discard
}

// Feed follows a View. It is safe for concurrent use; Run must be running.
type Feed struct {
	view *store.View
	sub  *store.Subscription
	now  func() time.Time
	log  *slog.Logger

	mu        sync.RWMutex
	world     plan.World
	snapshot  *store.Snapshot
	uids      map[string]plan.UID // of the hosts in world, by name
	up        tally
	reached   int64         // every change up to this revision is in
	advanced  chan struct{} // closed when reached grows, and at the end
	interrupt context.CancelFunc
	wanted    int64 // somebody waits for this revision
	sweepAt   time.Time
	subs      map[plan.UID]map[*Subscription]struct{}
	err       error // why Run ended
}

// New reads the view as it is now; Run follows it from there, and must be called.
func New(c Config) *Feed {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f := &Feed{
		view: c.View, sub: c.View.Subscribe(prefixes()...), now: c.Now, log: c.Log,
		uids: make(map[string]plan.UID), up: newTally(), advanced: make(chan struct{}),
		subs: make(map[plan.UID]map[*Subscription]struct{}),
	}
	f.world.Incarnation = c.Incarnation
	f.load(f.sub.Start())
	return f
}

// prefixes are the keys that a World is made of.
func prefixes() []string {
	host, policy := string(store.KindHost)+"/", string(store.KindPolicy)+"/"
	return []string{
		store.SpecPrefix + host, store.SpecPrefix + policy, store.StatusPrefix + host, store.StatusPrefix + policy,
		store.EpochPrefix, store.LivePrefix, store.SAPhasePrefix, store.IntentPrefix, store.ManualPhasePrefix,
		store.PeerEntryPrefix, store.IKEChildPrefix,
	}
}

// load fills an empty feed. No pair is touched: nobody has seen anything yet.
func (f *Feed) load(s *store.Snapshot) {
	f.snapshot, f.reached = s, s.Revision()
	names := func(kind store.Kind, set func(string)) {
		prefix := store.SpecPrefix + string(kind) + "/"
		s.Range(prefix, func(kv store.KV) bool {
			set(strings.TrimPrefix(kv.Key, prefix))
			return true
		})
	}
	names(store.KindHost, func(name string) { f.setHost(name, s.Revision(), nil) })
	names(store.KindPolicy, func(name string) { f.setPolicy(name, s.Revision(), nil) })
	s.Range(store.IntentPrefix, func(kv store.KV) bool {
		f.intent(kv, nil)
		return true
	})
	var last plan.PairID
	s.Range(store.SAPhasePrefix, func(kv store.KV) bool {
		if pair, _, err := store.ParseSAPhaseKey(kv.Key); err == nil && plan.PairID(pair) != last {
			last = plan.PairID(pair)
			f.state().count(last, f.now())
		}
		return true
	})
}

func (f *Feed) state() State { return State{World: &f.world, Snapshot: f.snapshot, up: &f.up} }

// Read calls do with the newest state, under a read lock: do must be quick and must not call the feed.
func (f *Feed) Read(do func(State)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	do(f.state())
}

// Run follows the view until ctx or the view ends, and returns why.
func (f *Feed) Run(ctx context.Context) error {
	defer f.sub.Close()
	for {
		batch, err := f.next(ctx)
		if err != nil {
			f.end(err)
			return err
		}
		if len(batch.Changes) > 0 {
			f.apply(batch)
		}
		f.sweep()
	}
}

// next waits for changes, an impatient WaitRevision, or the time to sweep. Without changes it notes how
// far the view is.
func (f *Feed) next(ctx context.Context) (store.Batch, error) {
	wait, cancel := context.WithTimeout(ctx, sweepEvery)
	defer cancel()
	f.mu.Lock()
	f.interrupt = cancel
	if f.wanted > f.reached {
		cancel()
	}
	f.mu.Unlock()
	batch, err := f.sub.Next(wait)
	if err == nil || ctx.Err() != nil || wait.Err() == nil {
		return batch, err
	}
	// With wait over, Next returns what is pending, or that nothing is: then all changes up to the
	// revision read before are in.
	revision := f.view.Revision()
	batch, err = f.sub.Next(wait)
	if err != nil && errors.Is(err, wait.Err()) {
		f.mu.Lock()
		f.reach(revision)
		f.mu.Unlock()
		return store.Batch{}, nil
	}
	return batch, err
}

// WaitRevision waits until every change up to revision is in the world. The errors are the view's, ctx's
// and what ended Run.
func (f *Feed) WaitRevision(ctx context.Context, revision int64) error {
	if err := f.view.WaitRevision(ctx, revision); err != nil {
		return err
	}
	for {
		f.mu.Lock()
		reached, advanced, err := f.reached, f.advanced, f.err
		f.wanted = max(f.wanted, revision)
		if reached < revision && err == nil && f.interrupt != nil {
			f.interrupt()
		}
		f.mu.Unlock()
		if reached >= revision || err != nil {
			return err
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reach notes a revision; the caller holds mu.
func (f *Feed) reach(revision int64) {
	f.reached = max(f.reached, revision)
	close(f.advanced)
	f.advanced = make(chan struct{})
}

func (f *Feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.reach(0)
	for _, subs := range f.subs {
		for sub := range subs {
			sub.wake()
		}
	}
}

// sweep recounts pairs whose keys have ended without anybody's doing.
func (f *Feed) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if now.Before(f.sweepAt) {
		return
	}
	f.sweepAt = now.Add(sweepEvery)
	for _, pair := range f.up.expired(now) {
		f.state().count(pair, now)
	}
}
