package fleet

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// Defaults of Config.
const (
	DefaultReportInterval = 30 * time.Second
	DefaultMTU            = 1400
	DefaultWindow         = 512
)

// Identity knows whose keys are good.
type Identity interface {
	// Valid says, from what the view has, whether a caller's key still is the recorded one.
	Valid(caller.Caller) bool
	// TrustBundle is every root of the fleet that is trusted now, DER.
	TrustBundle() ([][]byte, error)
}

// World is the planner's picture of the fleet; a *world.Feed.
type World interface {
	Read(func(world.State))
	Subscribe(host plan.UID) *world.Subscription
	WaitRevision(ctx context.Context, revision int64) error
}

// EventWriter keeps what operators should know.
type EventWriter interface {
	Event(ctx context.Context, aboutKind, aboutName, reason string, warning bool, message string)
}

// Config is what New needs. Store, View, World, Incarnation, Identity and Controller are required.
type Config struct {
	Store       *store.Store
	View        *store.View
	World       World
	Incarnation uint64 // of the store
	Identity    Identity
	Controller  string      // name of this controller
	Events      EventWriter // nil: nobody is told

	ReportInterval time.Duration    // how often agents report; 0: DefaultReportInterval
	MTU            int              // largest inner packet; 0: DefaultMTU
	Window         int              // unanswered messages of one stream; 0: DefaultWindow
	Log            *slog.Logger     // nil: discard
	Now            func() time.Time // nil: time.Now
}

// Service serves Sync. Run must be running.
type Service struct {
	fleetv1.UnimplementedSyncServiceServer
	config Config
	log    *slog.Logger
	now    func() time.Time
	writer *writer
	prover prover
	halted atomic.Pointer[Halt]
	meter  meter
	pace   pace

	mu         sync.Mutex
	streams    map[string]*stream // the newest of each host here
	session    *store.Session
	leased     chan struct{} // closed while there is a session
	tombstones tombstones
}

// New checks c. It starts nothing.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.View == nil || c.World == nil || c.Identity == nil || c.Controller == "" || c.Incarnation == 0 {
		return nil, errors.New("fleet: store, view, world, identity, controller or incarnation are missing")
	}
	if c.ReportInterval <= 0 {
		c.ReportInterval = DefaultReportInterval
	}
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.Window <= 0 {
		c.Window = DefaultWindow
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Service{
		config: c, log: c.Log, now: c.Now, writer: newWriter(c.Store, c.View, c.Log),
		prover: prover{store: c.Store}, streams: make(map[string]*stream), tombstones: make(tombstones),
		leased: make(chan struct{}),
	}, nil
}

// Run writes what the streams submit, and tells them what changes around them, until ctx ends or the
// store's incarnation does. Streams that are open then end.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	part := func(run func(context.Context) error) {
		running.Go(func() { cancel(run(ctx)) })
	}
	part(s.writer.run)
	part(s.watch)
	part(s.keepSession)
	<-ctx.Done()
	s.endAll(errStopping)
	running.Wait()
	return context.Cause(ctx)
}

// event tells operators something about a host.
func (s *Service) event(ctx context.Context, host, reason string, warning bool, message string) {
	if s.config.Events != nil {
		s.config.Events.Event(ctx, "Host", host, reason, warning, message)
	}
}

// keepSession holds the lease under which the live records lie. When it is lost, they come back under
// the next one.
func (s *Service) keepSession(ctx context.Context) error {
	for ctx.Err() == nil {
		session, err := s.config.Store.Session(ctx, store.DefaultSessionTTL)
		if err != nil {
			s.log.Warn("no lease from the store; agents are not served", "err", err)
			pauseFor(ctx, retryWrite)
			continue
		}
		s.setSession(session)
		for _, st := range s.open() {
			st.renewLive(ctx, session)
		}
		select {
		case <-session.Done():
			s.setSession(nil)
			s.log.Warn("the store's lease was lost; taking a new one")
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

func (s *Service) setSession(session *store.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session = session; session != nil {
		close(s.leased)
	} else {
		s.leased = make(chan struct{})
	}
}

// awaitLease waits a little for the lease, which a controller that has just started lacks.
func (s *Service) awaitLease(ctx context.Context) (*store.Session, error) {
	s.mu.Lock()
	leased := s.leased
	s.mu.Unlock()
	timer := time.NewTimer(leaseTimeout)
	defer timer.Stop()
	select {
	case <-leased:
	case <-timer.C:
	case <-ctx.Done():
	}
	if session, ok := s.lease(); ok {
		return session, nil
	}
	return nil, errLease
}

func (s *Service) lease() (*store.Session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session, s.session != nil
}

// enter makes st the stream of its host, and ends an older one here.
func (s *Service) enter(st *stream) {
	s.mu.Lock()
	old := s.streams[st.host]
	s.streams[st.host] = st
	s.mu.Unlock()
	if old != nil {
		old.end(errSuperseded)
	}
}

func (s *Service) exit(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.host] == st {
		delete(s.streams, st.host)
	}
}

// open lists the streams.
func (s *Service) open() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		out = append(out, st)
	}
	return out
}

func (s *Service) streamOf(host string) (*stream, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.streams[host]
	return st, ok
}

func (s *Service) endAll(why error) {
	for _, st := range s.open() {
		st.end(why)
	}
}
