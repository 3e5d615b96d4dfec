package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// tellPause is how often operators are told that one agent refuses things.
const tellPause = time.Minute

// errHalted: delivery has stopped between the decision and the sending.
var errHalted = errors.New("fleet: delivery has stopped")

// errKeyLost: there is no key to deliver, and never will be. That has been written down.
var errKeyLost = errors.New("fleet: the key is lost")

// errNoKey: the store does not answer.
var errNoKey = errors.New("fleet: no key from the store")

// task is what deliver does next.
type task uint8

const (
	wait task = iota
	greeting
	config
	onePair
	position
	status
)

// deliver works off what is due. It is the only one that sends.
func (st *stream) deliver(ctx context.Context, rpc fleetv1.SyncService_SyncServer) error {
	for {
		if st.isOver() {
			return st.sayFarewell(rpc)
		}
		var err error
		switch what, pair := st.next(); what {
		case wait:
			if err := st.await(ctx); err != nil {
				return err
			}
		case greeting:
			err = st.sendWelcome(rpc)
		case config:
			err = st.sendConfig(rpc)
		case onePair:
			err = st.sendPair(ctx, rpc, pair)
		case position:
			err = st.sendPosition(rpc)
		case status:
			st.writeStatus()
		}
		if err != nil && !errors.Is(err, errHalted) {
			return err
		}
	}
}

// await waits until there may be something to do.
func (st *stream) await(ctx context.Context) error {
	st.mu.Lock()
	waits := st.fresh // a report, for its turn
	st.mu.Unlock()
	var turn <-chan time.Time
	if waits {
		timer := time.NewTimer(reportPause)
		defer timer.Stop()
		turn = timer.C
	}
	select {
	case <-st.wake:
	case <-turn:
	case <-st.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// next says what is due.
func (st *stream) next() (task, plan.PairID) {
	st.mu.Lock()
	defer st.mu.Unlock()
	_, halted := st.service.Halted()
	switch {
	case st.greet:
		st.greet = false
		return greeting, plan.PairID{}
	case st.reportDue():
		return status, plan.PairID{}
	case halted || !st.complete || len(st.ledger.pending) >= st.service.config.Window:
	case st.dirtyConfig:
		st.dirtyConfig = false
		return config, plan.PairID{}
	case len(st.queue) > 0:
		pair := st.queue[0]
		st.queue = st.queue[1:]
		delete(st.dirty, pair)
		return onePair, pair
	case st.told < st.revision:
		st.told = st.revision
		return position, plan.PairID{}
	}
	return wait, plan.PairID{}
}

func (st *stream) sendWelcome(rpc fleetv1.SyncService_SyncServer) error {
	s := st.service
	bundle, err := s.config.Identity.TrustBundle()
	if err != nil {
		return fmt.Errorf("fleet: trust bundle: %w", err)
	}
	p, err := s.prover.position(s.config.Incarnation, s.config.View.Revision())
	if err != nil {
		return err
	}
	return rpc.Send(&fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Welcome{Welcome: &fleetv1.Welcome{
		Position: p, ReportInterval: durationpb.New(s.config.ReportInterval), TrustBundle: bundle,
	}}})
}

// sendPosition tells the agent that it has everything up to a revision.
func (st *stream) sendPosition(rpc fleetv1.SyncService_SyncServer) error {
	st.mu.Lock()
	told := st.told
	st.mu.Unlock()
	p, err := st.service.prover.position(st.service.config.Incarnation, told)
	if err != nil {
		return err
	}
	return rpc.Send(&fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Position{Position: p}})
}

func (st *stream) sayFarewell(rpc fleetv1.SyncService_SyncServer) error {
	if errors.Is(st.why, errRemoved) {
		// The stream ends anyway.
		_ = rpc.Send(&fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Removed{
			Removed: &fleetv1.Removed{Reason: fmt.Sprintf("host %s was removed", st.host)},
		}})
	}
	return st.why
}

func (st *stream) sendConfig(rpc fleetv1.SyncService_SyncServer) error {
	s := st.service
	var c *fleetv1.HostConfig
	var err error
	s.config.World.Read(func(w world.State) {
		if h, ok := w.World.Host(st.uid); ok {
			var f *controllerv1.Fleet
			f, err = s.fleet(w.Snapshot)
			c = hostConfig(h, f, s.config.MTU)
		}
	})
	if c == nil || err != nil {
		return err // without a host the stream is about to end
	}
	version, err := contentVersion(c)
	if err != nil {
		return err
	}
	st.mu.Lock()
	_, waiting := st.ledger.pending[configResource]
	if waiting || st.ledger.held[configResource] == version || st.ledger.refused[configResource] == version {
		st.mu.Unlock()
		return nil
	}
	st.ledger.pending[configResource] = sent{version: version}
	st.mu.Unlock()
	s.meter.updates.Add(1)
	return rpc.Send(&fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Update{Update: &fleetv1.Update{
		Name: configResource.String(), Version: version, Resource: &fleetv1.Update_Config{Config: c},
	}}})
}

// fleet reads what the fleet is for ever; empty while nothing says so.
func (s *Service) fleet(snapshot *store.Snapshot) (*controllerv1.Fleet, error) {
	var f controllerv1.Fleet
	kv, ok := snapshot.Get(store.FleetKey)
	if !ok {
		return &f, nil
	}
	return &f, store.Decode(kv, &f)
}

// sendPair brings one pair of the agent into step.
func (st *stream) sendPair(ctx context.Context, rpc fleetv1.SyncService_SyncServer, pair plan.PairID) error {
	s := st.service
	var ps pairState
	var err error
	s.config.World.Read(func(w world.State) { ps, err = readPair(w, pair, st.uid, st.host) })
	if errors.Is(err, errUnreadable) {
		s.log.Error("a peer cannot be delivered", "host", st.host, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	e := st.asEnd()
	st.mu.Lock()
	out, acks := st.ledger.decide(e, ps)
	for _, a := range acks {
		st.submit(a.ref, phaseEdit{acks: a.acks})
	}
	if ps.manual != nil {
		st.settleManual(ps.manual, st.ledger.finished(pair, ps.manual))
	}
	if ps.peer != nil {
		st.settlePeer(pair, ps.peer)
	}
	st.mu.Unlock()
	var lost plan.SAID
	for _, o := range out {
		if o.half.ref.id == lost && lost != (plan.SAID{}) {
			continue // never outbound without inbound
		}
		err := st.sendOne(ctx, rpc, pair, o)
		if errors.Is(err, errKeyLost) {
			lost = o.half.ref.id
			continue
		}
		if errors.Is(err, errNoKey) {
			s.log.Warn("a key cannot be read; trying again", "host", st.host, "pair", pair, "err", err)
			st.mu.Lock()
			st.mark(pair)
			st.mu.Unlock()
			return st.rest(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rest waits a little, while the store is away.
func (st *stream) rest(ctx context.Context) error {
	timer := time.NewTimer(retryWrite)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-st.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (st *stream) sendOne(ctx context.Context, rpc fleetv1.SyncService_SyncServer, pair plan.PairID, o outgoing) error {
	m := &fleetv1.SyncResponse{}
	switch {
	case o.remove:
		m.Message = &fleetv1.SyncResponse_Remove{Remove: &fleetv1.Remove{Name: o.resource.String(), Version: o.version}}
		st.service.meter.removes.Add(1)
	case o.entry != nil:
		m.Message = &fleetv1.SyncResponse_Update{Update: &fleetv1.Update{
			Name: o.resource.String(), Version: o.version, Resource: &fleetv1.Update_Pair{Pair: o.entry},
		}}
		st.service.meter.updates.Add(1)
	default:
		fetch := func() (*fleetv1.SecurityAssociation, error) { return st.key(ctx, o.half) }
		if o.manual != nil {
			fetch = func() (*fleetv1.SecurityAssociation, error) { return st.manualKey(ctx, o) }
		}
		if o.child != nil {
			fetch = func() (*fleetv1.SecurityAssociation, error) { return st.peerKey(ctx, pair, o) }
		}
		sa, err := fetch()
		if err != nil {
			return err
		}
		defer clear(sa.Key) // Send has encoded it by then
		m.Message = &fleetv1.SyncResponse_Update{Update: &fleetv1.Update{
			Name: o.resource.String(), Version: o.version,
			Resource: &fleetv1.Update_SecurityAssociation{SecurityAssociation: sa},
		}}
		st.service.meter.keys.Add(1)
	}
	if _, halted := st.service.Halted(); halted || st.isOver() {
		return errHalted
	}
	st.mu.Lock()
	st.ledger.pending[o.resource] = sent{version: o.version, remove: o.remove, pair: pair}
	st.mu.Unlock()
	return rpc.Send(m)
}

// key fetches an association's key for this one delivery.
func (st *stream) key(ctx context.Context, h half) (*fleetv1.SecurityAssociation, error) {
	s := st.service
	key := store.SAKey(store.PairID(h.ref.pair), h.ref.number)
	kv, err := s.config.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		record := store.SAPhaseKey(store.PairID(h.ref.pair), h.ref.number)
		if _, gone := s.config.Store.Get(ctx, record); errors.Is(gone, store.ErrNotFound) {
			return nil, errKeyLost // forgotten meanwhile, as it should
		}
		return nil, st.lostKey(ctx, h, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoKey, err)
	}
	plain, err := s.config.Store.UnsealTraffic(key, kv.Value)
	if err != nil {
		return nil, st.lostKey(ctx, h, err)
	}
	defer clear(plain)
	var record controllerv1.GenerationKey
	if err := proto.Unmarshal(plain, &record); err != nil {
		return nil, st.lostKey(ctx, h, err)
	}
	sa, err := h.association(&record, s.now())
	if err != nil {
		clear(record.GetKeyAToB())
		clear(record.GetKeyBToA())
		return nil, st.lostKey(ctx, h, err)
	}
	// The other direction's key is not sent here.
	if h.ref.ofA != h.inbound {
		clear(record.GetKeyBToA())
	} else {
		clear(record.GetKeyAToB())
	}
	return sa, nil
}

// lostKey makes the planner plan again: the key was destroyed, or is not what its record says. It returns
// errKeyLost.
func (st *stream) lostKey(ctx context.Context, h half, err error) error {
	if remaining(h.g.Hard, st.service.now()) <= 0 {
		return errKeyLost // it has just ended, as it should
	}
	st.mu.Lock()
	st.ledger.refused[h.resource()] = versionInstalled
	st.submit(h.ref, phaseEdit{refusedBelow: refusedBelow(h.ref.number, h.ref.number)})
	st.mu.Unlock()
	st.service.log.Error("a key cannot be delivered; the pair is keyed anew", "pair", h.ref.pair, "generation", h.ref.number, "err", err)
	st.service.event(ctx, st.host, "KeyLost", true, fmt.Sprintf("the key of generation %d of pair %v cannot be opened; a new one is made", h.ref.number, h.ref.pair))
	return errKeyLost
}

// reportDue says whether a report waits and may be written now; the caller holds mu.
func (st *stream) reportDue() bool {
	return st.fresh && st.service.now().Sub(st.reported) >= reportPause
}

func (st *stream) writeStatus() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.submitStatus("report", time.Time{})
}

// submitStatus queues what there is to know of the host; the caller holds mu.
func (st *stream) submitStatus(slot string, transition time.Time) {
	s := st.service
	f, err := s.fleet(s.config.View.Snapshot())
	if err != nil {
		s.log.Error("the fleet's record cannot be read", "err", err)
		return
	}
	seen := see(st.report, st.caller.RemoteAddr, pools(f))
	seen.version, seen.transition = st.version, transition
	if st.admission.duplicate && sinceBegin(st.admission.record, s.now()) < duplicateWithin {
		seen.duplicate = duplicateMessage(st.admission.record)
	}
	s.writer.submit(seen.change(st.statusKey, slot, st.current(), s.now))
	st.reported, st.fresh = s.now(), false
}
