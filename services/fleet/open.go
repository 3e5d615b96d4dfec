package fleet

import (
	"context"
	"errors"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

const (
	// helloTimeout bounds the wait for the first message.
	helloTimeout = 15 * time.Second
	// openTimeout bounds the writes and waits before Welcome.
	openTimeout  = 30 * time.Second
	leaseTimeout = 5 * time.Second
	// admitAttempts bounds how often the epoch record may change under an admission.
	admitAttempts = 8
	maxUnderlay   = 64
	maxVersion    = 64
)

// Why a stream ends.
var (
	errSuperseded = fault.New(fault.FailedPrecondition, "a newer stream of this host is open").WithReason(ReasonSuperseded)
	errRemoved    = fault.New(fault.PermissionDenied, "the host is no longer of the fleet").WithReason(ReasonRemoved)
	errKey        = fault.New(fault.Unauthenticated, "the host's key is no longer the recorded one, or its certificate has expired")
	errStopping   = fault.New(fault.Unavailable, "the controller stops; connect again")
	errLease      = fault.New(fault.Unavailable, "the controller has no lease from its store yet; connect again")
)

// Sync implements fleetv1.SyncServiceServer.
func (s *Service) Sync(rpc fleetv1.SyncService_SyncServer) error {
	ctx := rpc.Context()
	c, ok := caller.FromContext(ctx)
	if !ok || c.Role != caller.RoleAgent || c.Name == "" {
		return fault.New(fault.PermissionDenied, "Sync is for agents")
	}
	hello, err := firstMessage(ctx, rpc)
	if err != nil {
		return err
	}
	st, err := s.admitStream(ctx, c, hello)
	if err != nil {
		return err
	}
	defer st.close()
	return st.run(ctx, rpc)
}

func firstMessage(ctx context.Context, rpc fleetv1.SyncService_SyncServer) (*fleetv1.Hello, error) {
	type first struct {
		m   *fleetv1.SyncRequest
		err error
	}
	got := make(chan first, 1)
	go func() { // ends with the RPC at the latest
		m, err := rpc.Recv()
		got <- first{m, err}
	}()
	timer := time.NewTimer(helloTimeout)
	defer timer.Stop()
	select {
	case f := <-got:
		if f.err != nil {
			return nil, f.err
		}
		return f.m.GetHello(), checkHello(f.m.GetHello())
	case <-timer.C:
		return nil, fault.New(fault.DeadlineExceeded, "no Hello came")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// checkHello repeats what the contract says, whether or not somebody has validated it before.
func checkHello(h *fleetv1.Hello) error {
	if h == nil {
		return fault.New(fault.InvalidArgument, "the first message of a stream must be Hello").WithField("hello", "is missing")
	}
	if len(h.GetEpoch()) != len(plan.Epoch{}) || plan.Epoch(h.GetEpoch()).IsZero() {
		return fault.New(fault.InvalidArgument, "Hello is wrong").WithField("hello.epoch", "must be 16 bytes, not all zero")
	}
	if h.GetSeen().GetRevision() < 0 {
		return fault.New(fault.InvalidArgument, "Hello is wrong").WithField("hello.seen.revision", "must not be negative")
	}
	if len(h.GetAgentVersion()) > maxVersion {
		return fault.New(fault.InvalidArgument, "Hello is wrong").WithField("hello.agent_version", "must be at most 64 bytes")
	}
	return checkReport(h.GetReport())
}

func checkReport(r *fleetv1.HostReport) error {
	switch {
	case r == nil:
		return fault.New(fault.InvalidArgument, "the report is missing").WithField("report", "is missing")
	case r.GetEspPort() < 1 || r.GetEspPort() > 65535:
		return fault.New(fault.InvalidArgument, "the report is wrong").WithField("report.esp_port", "must be 1 to 65535")
	case len(r.GetUnderlayAddresses()) > maxUnderlay:
		return fault.New(fault.InvalidArgument, "the report is wrong").WithField("report.underlay_addresses", "must be at most 64")
	}
	return nil
}

// admitStream writes the stream into the store, before anything is sent.
func (s *Service) admitStream(ctx context.Context, c caller.Caller, hello *fleetv1.Hello) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := s.pace.wait(ctx, c.Name, s.now()); err != nil {
		return nil, err
	}
	if err := s.reach(ctx, c.Name, hello.GetSeen()); err != nil {
		return nil, err
	}
	session, err := s.awaitLease(ctx)
	if err != nil {
		return nil, err
	}
	st, err := s.writeEpoch(ctx, c.Name, hello, session)
	if err != nil {
		return nil, s.admissionFailed(ctx, c.Name, err)
	}
	st.caller, st.version, st.report = c, hello.GetAgentVersion(), hello.GetReport()
	s.enter(st)
	if err := s.settle(ctx, st); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// admissionFailed puts into words why a stream is refused. What the store cannot take, it cannot fence:
// then the host is not served here.
func (s *Service) admissionFailed(ctx context.Context, host string, err error) error {
	if fault.ReasonOf(err) == ReasonDuplicate {
		s.event(ctx, host, "DuplicateIdentity", true, err.Error())
	}
	if _, worded := errors.AsType[*fault.Error](err); worded || ctx.Err() != nil {
		return err
	}
	return fault.New(fault.Unavailable, "the controller cannot write to its store, so it gives no keys; what is installed stays").Wrap(err)
}

// writeEpoch admits the stream by compare-and-swap.
func (s *Service) writeEpoch(ctx context.Context, host string, hello *fleetv1.Hello, session *store.Session) (*stream, error) {
	for range admitAttempts {
		st, txn, err := s.prepare(ctx, host, hello, session)
		if err != nil {
			return nil, err
		}
		revision, err := s.config.Store.Commit(ctx, txn)
		if err == nil {
			st.admitted, st.live = revision, revision
			return st, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
	}
	return nil, fault.New(fault.Unavailable, "too many streams of this host open at once; connect again")
}

// prepare decides from what the store holds now, read linearizably.
func (s *Service) prepare(ctx context.Context, host string, hello *fleetv1.Hello, session *store.Session) (*stream, store.Txn, error) {
	specKey, err := store.SpecKey(store.KindHost, host)
	if err != nil {
		return nil, store.Txn{}, errRemoved.Wrap(err)
	}
	spec, err := s.config.Store.Get(ctx, specKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil, store.Txn{}, errRemoved
	}
	if err != nil {
		return nil, store.Txn{}, err
	}
	uid, err := hostUID(spec)
	if err != nil {
		return nil, store.Txn{}, err
	}
	st := newStream(s, host, uid, plan.Epoch(hello.GetEpoch()), hello.GetStream())
	st.created = spec.CreateRevision
	old, revision, err := s.epochRecord(ctx, st.epochKey)
	if err != nil {
		return nil, store.Txn{}, err
	}
	if st.admission, err = admit(old, uid, st.epoch, st.number, s.now()); err != nil {
		return nil, store.Txn{}, err
	}
	live := &controllerv1.Live{Epoch: st.epoch[:], Stream: st.number, Controller: s.config.Controller}
	putEpoch, err := store.PutRecord(st.epochKey, st.admission.record)
	if err != nil {
		return nil, store.Txn{}, err
	}
	putLive, err := store.PutRecord(st.liveKey, live)
	if err != nil {
		return nil, store.Txn{}, err
	}
	putLive.Lease, st.lease = session.Lease(), session.Lease()
	return st, store.Txn{
		Compares: []store.Compare{store.Unchanged(st.epochKey, revision), store.CreateRevisionIs(specKey, spec.CreateRevision)},
		Puts:     []store.Put{putEpoch, putLive},
	}, nil
}

func (s *Service) epochRecord(ctx context.Context, key string) (*controllerv1.Epoch, int64, error) {
	var record controllerv1.Epoch
	revision, err := store.Load(ctx, s.config.Store, key, &record)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	return &record, revision, err
}

// settle waits until the world shows the stream, so that all that is sent is decided from there or
// later.
func (s *Service) settle(ctx context.Context, st *stream) error {
	if err := s.config.World.WaitRevision(ctx, st.admitted); err != nil {
		return err
	}
	if session, ok := s.lease(); !ok || session.Lease() != st.lease {
		return errLease // lost before keepSession could know of the stream
	}
	known := false
	s.config.World.Read(func(w world.State) { _, known = w.World.Host(st.uid) })
	if !known {
		return errRemoved
	}
	if !s.config.Identity.Valid(st.caller) {
		return errKey
	}
	return nil
}
