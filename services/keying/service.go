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

// retryReign is the pause of a service that has ceased to lead.
const retryReign = time.Second

// Run campaigns, keys while it leads, and campaigns again, until ctx ends (then it returns nil) or the store's
// incarnation does.
func (s *Service) Run(ctx context.Context) error {
	for {
		err := s.config.Store.Lead(ctx, leaderName, s.config.Controller, s.term)
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

// term is one leadership.
func (s *Service) term(ctx context.Context, leadership *store.Leadership) error {
	r, err := newReign(ctx, s.config, leadership.Fence())
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
