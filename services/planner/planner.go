package planner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

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

// resignWithin bounds the farewell of a planner that stops.
const resignWithin = 2 * time.Second

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
		err := p.term(ctx)
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

// term is one leadership, from the campaign to its end.
func (p *Planner) term(ctx context.Context) error {
	leadership, err := p.config.Store.Campaign(ctx, leaderName, p.config.Identity)
	if err != nil {
		return err
	}
	defer func() {
		farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignWithin)
		defer cancel()
		if err := leadership.Resign(farewell); err != nil {
			p.config.Log.Warn("planner could not resign; its lease will end", "err", err)
		}
	}()
	reign, depose := context.WithCancelCause(ctx)
	defer depose(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-leadership.Done():
			depose(errDeposed)
		case <-stop:
		}
	}()
	p.config.Log.Info("planner leads", "token", leadership.Token())
	p.note(func(s *Stats) { s.Leading = true })
	defer p.note(func(s *Stats) { *s = s.retired() })
	err = newReign(p, leadership.Fence()).run(reign)
	if cause := context.Cause(reign); cause != nil && !hopeless(err) {
		err = cause
	}
	return err
}

// errDeposed ends a term: another planner leads, or the lease could not be renewed.
var errDeposed = errors.New("planner: leadership lost")

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
