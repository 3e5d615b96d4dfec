package planner

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"sallyport.dev/sallyport/services/store"
)

// Planner plans while it leads, and waits to lead otherwise.
type Planner struct {
	config Config

	mu    sync.Mutex
	stats Stats
}

// New returns a planner that does nothing before Run.
func New(c Config) (*Planner, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Planner{config: c}, nil
}

// Run campaigns, plans while it leads, and campaigns again, until ctx ends (then it returns nil) or
// planning in this process has no future: the store was restored or closed, or the feed ended.
func (p *Planner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var sweeper sync.WaitGroup
	sweeper.Go(func() { p.sweep(ctx) })
	defer sweeper.Wait()
	defer cancel()
	for retry := (backoff{}); ; {
		began := p.config.Now()
		err := p.config.Store.Lead(ctx, leaderName, p.config.Identity, p.term)
		switch {
		case ctx.Err() != nil:
			return nil
		case hopeless(err):
			return fmt.Errorf("planner: %w", err)
		}
		if p.config.Now().Sub(began) > backoffMax {
			retry = backoff{}
		}
		p.config.Log.Warn("planner stopped leading; it campaigns again", "err", err)
		if !retry.wait(ctx) {
			return nil
		}
	}
}

// term is one leadership.
func (p *Planner) term(ctx context.Context, leadership *store.Leadership) error {
	p.config.Log.Info("planner leads", "token", leadership.Token())
	p.note(func(s *Stats) { s.Leading = true })
	defer p.note(func(s *Stats) { *s = s.retired() })
	return newReign(p, leadership.Fence()).run(ctx)
}

// hopeless errors end Run: what stands behind them does not come back in this process.
func hopeless(err error) bool {
	for _, end := range []error{store.ErrIncarnation, store.ErrRestoring, store.ErrClosed, store.ErrBehind, errFeed} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// errFeed says that the feed ended: this process sees the store no more.
var errFeed = errors.New("planner: the feed of the store ended")
