package keying

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

// Service keys while it leads. Run must be running.
type Service struct {
	fleetv1.UnimplementedRelayServiceServer
	operatorv1.UnimplementedPeerServiceServer
	config Config

	mu    sync.Mutex
	reign *reign // nil while another controller leads
}

// New checks c. It starts nothing.
func New(c Config) (*Service, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Service{config: c}, nil
}

// Waits of a service that does not lead.
const (
	retryReign   = time.Second
	resignWithin = 2 * time.Second
)

// Run campaigns, keys while it leads, and campaigns again, until ctx ends (then it returns nil) or the store's
// incarnation does.
func (s *Service) Run(ctx context.Context) error {
	for {
		err := s.term(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, store.ErrIncarnation) || errors.Is(err, store.ErrRestoring) || errors.Is(err, store.ErrClosed) || s.config.View.Err() != nil:
			return fmt.Errorf("keying: %w", errors.Join(err, s.config.View.Err()))
		}
		s.config.Log.Warn("keying of peers has stopped here; campaigning again", "err", err)
		pause(ctx, retryReign)
	}
}

// errDeposed ends a reign: another controller leads, or the lease could not be renewed.
var errDeposed = errors.New("keying: leadership lost")

// term is one leadership, from the campaign to its end.
func (s *Service) term(ctx context.Context) error {
	leadership, err := s.config.Store.Campaign(ctx, leaderName, s.config.Controller)
	if err != nil {
		return err
	}
	defer func() {
		farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), resignWithin)
		defer cancel()
		if err := leadership.Resign(farewell); err != nil {
			s.config.Log.Warn("keying could not resign; its lease will end", "err", err)
		}
	}()
	life, depose := context.WithCancelCause(ctx)
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
	r, err := newReign(life, s.config, leadership.Fence())
	if err != nil {
		return err
	}
	s.set(r)
	defer s.set(nil)
	return r.run()
}

func (s *Service) set(r *reign) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reign = r
}

// leading is the reign of this controller. The error says that another one has to be asked.
func (s *Service) leading() (*reign, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reign == nil {
		return nil, fault.New(fault.Unavailable, "this controller does not key peers now: another one does, or begins to").WithReason("NOT_LEADING")
	}
	return s.reign, nil
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
