package store

import (
	"context"
	"errors"
	"time"
)

// ErrDeposed is the cause for which a reign's context ends: another process leads, or the lease could not be renewed.
var ErrDeposed = errors.New("store: leadership lost")

// resignWithin bounds the farewell of a leader that stops.
const resignWithin = 2 * time.Second

// Lead campaigns for name, as Campaign does, and calls reign while this process leads; reign's context ends with the
// leadership, its cause being ErrDeposed. When reign has returned, Lead resigns and returns reign's error; if that says no more
// than that its context has ended, the cause.
func (s *Store) Lead(ctx context.Context, name, identity string, reign func(context.Context, *Leadership) error) error {
	l, err := s.Campaign(ctx, name, identity)
	if err != nil {
		return err
	}
	defer func() {
		farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignWithin)
		defer cancel()
		if err := l.Resign(farewell); err != nil {
			s.log.Warn("leadership not resigned; its lease will end", "name", name, "err", err)
		}
	}()
	life, depose := context.WithCancelCause(ctx)
	defer depose(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-l.Done():
			depose(ErrDeposed)
		case <-stop:
		}
	}()
	err = reign(life, l)
	if cause := context.Cause(life); cause != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return cause
	}
	return err
}
