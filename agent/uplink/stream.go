package uplink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
)

const (
	// welcomeTimeout bounds the wait for Welcome; a controller may have to wait for its store.
	welcomeTimeout = time.Minute
	// maxQueued is how many messages may wait while one is carried out.
	maxQueued = 512
	// maxMessage bounds one message, bytes; the longest is a pair with all the selectors it may have.
	maxMessage = 256 << 10
	// Bounds of what a controller may ask for.
	leastReportInterval = time.Second
	mostReportInterval  = time.Hour
	// settleTime is from a change of the host's addresses or routes until they are looked at.
	settleTime = 500 * time.Millisecond
)

// ErrRemoved: the host is no longer of the fleet. Every association has been deleted.
var ErrRemoved = errors.New("uplink: this host was removed from the fleet")

// errStale: the controller stands below a position that this host has seen. Its store is an old copy,
// and what it says may be long undone (DESIGN.md rule 3).
var errStale = errors.New("uplink: the controller's store is older than what this host has seen; run sallyport restore there")

var (
	errNoWelcome = errors.New("uplink: the controller did not welcome the stream in time")
	errProtocol  = errors.New("uplink: the controller broke the protocol")
)

// stream is one Sync stream.
type stream struct {
	u       *Uplink
	rpc     grpc.BidiStreamingClient[fleetv1.SyncRequest, fleetv1.SyncResponse]
	apply   *applier
	sending sync.Mutex
	// welcomed gets the report interval.
	welcomed chan time.Duration
	// greetings is closed by the first Welcome.
	greetings chan struct{}
	greeted   bool
	// spoiled is set when the agent has refused a pair: what the controller has sent is then not all that
	// must be guarded.
	spoiled bool
	// ended says why receive has closed its channel.
	ended error
}

// serve opens a stream and obeys it until it ends. welcomed says whether the controller accepted it.
// When serve returns, nothing of the stream runs any more, so that no old stream is obeyed beside a
// new one.
func (u *Uplink) serve(ctx context.Context, conn grpc.ClientConnInterface) (welcomed bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rpc, err := fleetv1.NewSyncServiceClient(conn).Sync(ctx, grpc.MaxCallRecvMsgSize(maxMessage))
	if err != nil {
		return false, err
	}
	s := &stream{u: u, rpc: rpc, apply: u.applier, welcomed: make(chan time.Duration, 1), greetings: make(chan struct{})}
	patience := time.AfterFunc(welcomeTimeout, func() { cancel(errNoWelcome) })
	defer patience.Stop()
	incoming := make(chan *fleetv1.SyncResponse, maxQueued)
	var running sync.WaitGroup
	running.Go(func() { s.receive(ctx, incoming) })
	running.Go(s.open)
	running.Go(func() { s.reports(ctx) })
	if u.config.IKE != nil {
		running.Go(func() { u.relays(ctx, conn, s.greetings) })
	}
	err = s.obey(ctx, incoming, patience)
	cancel(nil)
	running.Wait()
	u.detach(s)
	if errors.Is(context.Cause(ctx), errNoWelcome) {
		err = errNoWelcome
	}
	return s.greeted, err
}

// open sends what a stream begins with.
func (s *stream) open() {
	hello := &fleetv1.Hello{
		Epoch: s.u.epoch[:], Stream: s.u.streams, Seen: s.u.highest.get(),
		AgentVersion: s.u.config.Version, Report: s.u.report(s.u.addresses()),
	}
	s.send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Hello{Hello: hello}})
	// From here on an event of the datapath goes into the stream. One that was noted before the
	// inventory is taken shows there.
	s.u.attach(s)
	for _, part := range s.u.held.inventory() {
		s.send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Inventory{Inventory: part}})
	}
	for _, n := range s.u.held.softExpired() {
		s.send(expire(n, fleetv1.ExpireReason_EXPIRE_REASON_SOFT))
	}
}

// send writes one message. Its error is not looked at: a broken stream also ends receive, which
// learns why.
func (s *stream) send(m *fleetv1.SyncRequest) {
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.rpc.Send(m)
}

// receive passes messages on in order, and closes out when the stream has ended.
func (s *stream) receive(ctx context.Context, out chan<- *fleetv1.SyncResponse) {
	defer close(out)
	for {
		m, err := s.rpc.Recv()
		if err != nil {
			s.ended = err
			return
		}
		select {
		case out <- m:
		case <-ctx.Done():
			s.ended = context.Cause(ctx)
			return
		}
	}
}

// obey carries out messages in order, and those that came before the stream's end too: the last one
// may be Removed.
func (s *stream) obey(ctx context.Context, in <-chan *fleetv1.SyncResponse, patience *time.Timer) error {
	var next *fleetv1.SyncResponse
	for ctx.Err() == nil {
		m, ok := next, true
		if next = nil; m == nil {
			m, ok = <-in
		}
		if !ok {
			return s.ended
		}
		if !s.greeted && m.GetWelcome() == nil {
			return fmt.Errorf("%w: its first message was %T, not Welcome", errProtocol, m.GetMessage())
		}
		var err error
		switch r := m.GetMessage().(type) {
		case *fleetv1.SyncResponse_Welcome:
			patience.Stop()
			err = s.welcome(r.Welcome)
		case *fleetv1.SyncResponse_Update:
			next = s.update(r.Update, in)
		case *fleetv1.SyncResponse_Remove:
			s.answer(r.Remove.GetName(), r.Remove.GetVersion(), s.apply.remove(r.Remove))
		case *fleetv1.SyncResponse_Position:
			s.position(r.Position)
		case *fleetv1.SyncResponse_Removed:
			return s.removed(r.Removed)
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// update carries out u. Pairs that wait already are set together; the first message after them is
// handed back.
func (s *stream) update(u *fleetv1.Update, in <-chan *fleetv1.SyncResponse) (next *fleetv1.SyncResponse) {
	if u.GetPair() == nil {
		s.answer(u.GetName(), u.GetVersion(), s.apply.update(u))
		return nil
	}
	batch, next := morePairs(u, in)
	for i, r := range s.apply.setPairs(batch) {
		s.spoiled = s.spoiled || r != nil
		s.answer(batch[i].GetName(), batch[i].GetVersion(), r)
	}
	return next
}

func morePairs(u *fleetv1.Update, in <-chan *fleetv1.SyncResponse) ([]*fleetv1.Update, *fleetv1.SyncResponse) {
	batch := []*fleetv1.Update{u}
	for len(batch) < maxQueued {
		select {
		case m := <-in: // nil when closed: obey asks again
			if m.GetUpdate().GetPair() == nil {
				return batch, m
			}
			batch = append(batch, m.GetUpdate())
		default:
			return batch, nil
		}
	}
	return batch, nil
}

// answer sends the Ack, or the Nack for r.
func (s *stream) answer(resource string, version uint64, r *refusal) {
	if r != nil {
		s.u.log.Warn("refused what the controller sent", "resource", brief(resource), "reason", r.reason.String(), "err", r.err)
	}
	s.send(answer(resource, version, r))
}

func (s *stream) welcome(w *fleetv1.Welcome) error {
	if !s.u.highest.raise(w.GetPosition()) {
		return errStale
	}
	if err := s.u.trust(w.GetTrustBundle()); err != nil {
		return err
	}
	if s.greeted {
		return nil // only the bundle or the position is new
	}
	s.greeted = true
	close(s.greetings)
	s.u.note.welcomed()
	interval := w.GetReportInterval().AsDuration()
	s.welcomed <- min(max(interval, leastReportInterval), mostReportInterval)
	return nil
}

func (s *stream) position(p *typesv1.Position) {
	s.u.highest.raise(p) // Welcome may have been of a newer one
	s.u.note.position(p)
	if s.spoiled {
		return // what the last life guarded stays guarded
	}
	if err := s.u.config.Installer.Synced(); err != nil {
		s.u.log.Error("what the last life of the agent left cannot be taken away", "err", err)
	}
}

func (s *stream) removed(r *fleetv1.Removed) error {
	err := s.apply.removeAll()
	return errors.Join(fmt.Errorf("%w: %s", ErrRemoved, brief(r.GetReason())), err)
}

// reports sends the state of the host when its addresses change, and as a heartbeat.
func (s *stream) reports(ctx context.Context) {
	var interval time.Duration
	select {
	case interval = <-s.welcomed:
	case <-ctx.Done():
		return
	}
	heartbeat := time.NewTicker(interval)
	defer heartbeat.Stop()
	changed := s.u.config.AddressesChanged
	var settled <-chan time.Time // a router's table changes all the time: look once a while, not each time
	var told []netip.Addr        // the report of Hello may be older
	for {
		select {
		case <-heartbeat.C:
		case _, open := <-changed:
			if !open {
				changed = nil // nobody watches any more; the heartbeat still tells
			} else if settled == nil {
				settled = time.After(settleTime)
			}
			continue
		case <-settled:
			settled = nil
			if slices.Equal(told, s.u.addresses()) {
				continue
			}
		case <-ctx.Done():
			return
		}
		told = s.u.addresses()
		s.send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Report{Report: s.u.report(told)}})
	}
}

func expire(n name, reason fleetv1.ExpireReason) *fleetv1.SyncRequest {
	return &fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Expire{Expire: &fleetv1.Expire{Name: n.String(), Reason: reason}}}
}
