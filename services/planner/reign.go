package planner

import (
	"context"
	"fmt"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// roundSize is how many pairs one round looks at: few enough for the feed's lock, enough to fill
// transactions.
const roundSize = 1024

// lookEvery is how often deadlines are looked at, at least: the clock may jump.
const lookEvery = time.Second

// reign is the state of one leadership. One goroutine owns it.
type reign struct {
	*Planner
	fence     store.Compare
	always    chan struct{} // closed: what a select takes while pairs wait
	queue     *queue
	spis      spiTable
	lingering lingering
	shy       map[plan.PairID]struct{} // pairs that conflicted: each gets a transaction of its own
	hold      *hold
	reports   *reports
}

func newReign(p *Planner, fence store.Compare) *reign {
	always := make(chan struct{})
	close(always)
	return &reign{
		Planner: p, fence: fence, always: always, queue: newQueue(), spis: make(spiTable),
		lingering: make(lingering), shy: make(map[plan.PairID]struct{}),
		hold: newHold(), reports: newReports(),
	}
}

// run plans until ctx or the feed ends, or the fence is lost.
func (r *reign) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	sub := r.config.Feed.Subscribe(plan.UID{})
	touched, pumped := make(chan world.Touched), make(chan error, 1)
	go func() { pumped <- pump(ctx, sub, touched) }()
	defer func() {
		cancel()
		sub.Close()
		<-pumped
	}()
	if err := r.begin(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for retry := (backoff{}); ; {
		select {
		case t := <-touched:
			r.touch(t)
		case err := <-pumped:
			pumped <- err
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-r.ready():
		case <-tick.C:
		}
		err := r.turn(ctx)
		switch {
		case err == nil:
			retry = backoff{}
		case ctx.Err() != nil || hopeless(err) || r.deposed(err):
			return err
		default:
			r.note(func(s *Stats) { s.Failures++ })
			r.config.Log.Error("planning failed; it is tried again", "err", err)
			if !retry.wait(ctx) {
				return ctx.Err()
			}
		}
	}
}

// pump hands on what the feed touched. The feed merges while nobody takes.
func pump(ctx context.Context, sub *world.Subscription, to chan<- world.Touched) error {
	for {
		t, err := sub.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: %w", errFeed, err)
		}
		select {
		case to <- t:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ready is a channel that can be received from while pairs wait.
func (r *reign) ready() <-chan struct{} {
	if r.queue.len() == 0 {
		return nil
	}
	return r.always
}

// begin looks at everything once: all that is wanted and all that there is. The feed must have what the
// forerunner wrote, lest the first rounds be spent on conflicts.
func (r *reign) begin(ctx context.Context) error {
	if err := r.catchUp(ctx, 0); err != nil {
		return err
	}
	var snapshot *store.Snapshot
	r.config.Feed.Read(func(s world.State) {
		for id := range s.World.Pairs() {
			r.queue.add(id)
		}
		snapshot = s.Snapshot
	})
	snapshot.Range(store.SAPhasePrefix, func(kv store.KV) bool {
		if id, g, err := world.Generation(kv); err != nil {
			r.config.Log.Error("a generation's record cannot be read; its pair stands still", "key", kv.Key, "err", err)
		} else {
			r.spis.note(id, &g)
			r.queue.add(id)
		}
		return true
	})
	return nil
}

// catchUp waits until the feed shows a revision; 0 means all that is in the store now.
func (r *reign) catchUp(ctx context.Context, revision int64) (err error) {
	if revision == 0 {
		if revision, err = r.config.Store.HeadRevision(ctx); err != nil {
			return err
		}
	}
	return r.config.Feed.WaitRevision(ctx, revision)
}

// touch queues what changed, and of each host that changed the pairs that the world no longer knows of.
func (r *reign) touch(t world.Touched) {
	for _, id := range t.Pairs {
		r.queue.add(id)
	}
	for _, uid := range t.Hosts {
		for id := range r.lingering[uid] {
			r.queue.add(id)
		}
	}
}

// turn is one round: decide about some pairs, write, and wait to see it.
func (r *reign) turn(ctx context.Context) error {
	now := r.config.Now()
	r.queue.due(now)
	pairs := r.queue.take(roundSize)
	if len(pairs) > 0 {
		if err := r.write(ctx, r.decide(pairs, now)); err != nil {
			for _, id := range pairs { // what was done is found done
				r.queue.add(id)
			}
			return err
		}
	}
	r.report(ctx, now)
	r.note(func(s *Stats) {
		s.Steps += uint64(len(pairs))
		s.Queued, s.Scheduled, s.Held = r.queue.len(), len(r.queue.when), len(r.hold.pairs)
	})
	return nil
}
