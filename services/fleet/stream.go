package fleet

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

const (
	// farewell is how long a stream that ends may take to say Removed.
	farewell = 2 * time.Second
	// reportPause is how often one host may change its status: each change concerns every peer.
	reportPause = 5 * time.Second
	closeTime   = 5 * time.Second
)

// stream is one Sync stream. Three goroutines serve it: receive takes answers in and never waits for
// the agent to read; follow marks what the world touches; deliver, the only sender, works it off.
type stream struct {
	service   *Service
	host      string
	uid       plan.UID
	epoch     plan.Epoch
	number    uint64
	caller    caller.Caller
	version   string
	admission admission
	created   int64 // create revision of the host's spec
	admitted  int64 // revision at which the store took the stream
	lease     int64 // under which the live record was put
	epochKey  string
	liveKey   string
	statusKey string

	wake    chan struct{} // capacity 1: deliver has something to look at
	over    chan struct{} // closed by end
	endOnce sync.Once
	why     error // set before over is closed

	mu          sync.Mutex
	ledger      ledger
	complete    bool // the inventory is there
	listed      int  // its entries
	dirtyConfig bool
	greet       bool                     // Welcome is due
	dirty       map[plan.PairID]struct{} // in queue
	queue       []plan.PairID
	revision    int64 // everything touched up to here is marked
	told        int64 // the agent knows that it has everything up to here
	settled     int64 // the agent has done everything up to here
	live        int64 // revision of the live record
	report      *fleetv1.HostReport
	fresh       bool      // the report has not become an edit yet
	reported    time.Time // when a report last became an edit
	nacked      time.Time // when operators were last told of a refusal
	burnt       time.Time // when a manual peer's generation was last made higher
}

func newStream(s *Service, host string, uid plan.UID, epoch plan.Epoch, number uint64) *stream {
	// The host's name has been checked when its spec's key was built.
	return &stream{
		service: s, host: host, uid: uid, epoch: epoch, number: number,
		epochKey: store.EpochPrefix + host, liveKey: store.LivePrefix + host,
		statusKey: store.StatusPrefix + string(store.KindHost) + "/" + host,
		wake:      make(chan struct{}, 1), over: make(chan struct{}),
		ledger: newLedger(), dirty: make(map[plan.PairID]struct{}), greet: true,
	}
}

// run serves the stream until it ends.
func (st *stream) run(ctx context.Context, rpc fleetv1.SyncService_SyncServer) error {
	sub := st.service.config.World.Subscribe(st.uid)
	defer sub.Close()
	st.opened(ctx)
	ended := make(chan error, 3)
	delivered := make(chan struct{})
	go func() { ended <- st.receive(ctx, rpc) }() // Recv ends with the RPC
	go func() { ended <- st.follow(ctx, sub) }()
	go func() {
		defer close(delivered)
		ended <- st.deliver(ctx, rpc)
	}()
	select {
	case err := <-ended:
		if errors.Is(err, io.EOF) {
			err = nil // the agent has closed the stream
		}
		st.end(err)
		return err
	case <-ctx.Done():
		st.end(context.Cause(ctx))
		return st.why
	case <-st.over:
	}
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-delivered:
	case <-timer.C: // an agent that does not read is not waited for
	}
	return st.why
}

// end makes the stream end, for the first reason given.
func (st *stream) end(why error) {
	st.endOnce.Do(func() {
		st.why = why
		close(st.over)
	})
}

func (st *stream) isOver() bool {
	select {
	case <-st.over:
		return true
	default:
		return false
	}
}

func (st *stream) nudge() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// opened notes the stream in the host's status.
func (st *stream) opened(ctx context.Context) {
	st.service.meter.streams.Add(1)
	st.service.log.Info("agent connected", "host", st.host, "epoch", st.epoch, "stream", st.number, "from", st.caller)
	if st.admission.begun {
		st.service.event(ctx, st.host, "AgentStarted", false, "the agent began a new epoch; it gets new associations")
	}
	if st.admission.duplicate && st.admission.begun {
		st.service.event(ctx, st.host, conditionDuplicate, true, duplicateMessage(st.admission.record))
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.submitStatus("open", st.service.now())
}

// close takes the stream out of the store. A newer one, here or elsewhere, is left alone.
func (st *stream) close() {
	st.end(errStopping)
	s := st.service
	s.exit(st)
	st.mu.Lock()
	st.submitStatus("close", s.now())
	live := st.live
	st.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	// A conflict means that the record is another stream's, or gone with its lease.
	_, err := s.config.Store.Commit(ctx, store.Txn{
		Compares: []store.Compare{store.Unchanged(st.liveKey, live)}, Deletes: []string{st.liveKey},
	})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		s.log.Warn("the record of a live agent could not be deleted; its lease ends it", "host", st.host, "err", err)
	}
	s.log.Info("agent disconnected", "host", st.host, "stream", st.number, "why", st.why)
}

// renewLive puts the live record under a new lease.
func (st *stream) renewLive(ctx context.Context, session *store.Session) {
	put, err := store.PutRecord(st.liveKey, &controllerv1.Live{Epoch: st.epoch[:], Stream: st.number, Controller: st.service.config.Controller})
	if err == nil {
		put.Lease = session.Lease()
		var revision int64
		revision, err = st.service.config.Store.Commit(ctx, store.Txn{Compares: []store.Compare{st.current()}, Puts: []store.Put{put}})
		if err == nil {
			st.mu.Lock()
			st.live = revision
			st.mu.Unlock()
			return
		}
	}
	st.end(errLease.Wrap(err))
}

// current holds while this is the newest stream of its host.
func (st *stream) current() store.Compare { return store.Unchanged(st.epochKey, st.admitted) }

// checkKey ends the stream when its key is no longer the host's.
func (st *stream) checkKey(snapshot *store.Snapshot) {
	if _, exists := snapshot.Get(specHostPrefix + st.host); exists && !st.service.config.Identity.Valid(st.caller) {
		st.end(errKey)
	}
}

func (st *stream) welcomeAgain() {
	st.mu.Lock()
	st.greet = true
	st.mu.Unlock()
	st.nudge()
}

// follow marks what changes in the world.
func (st *stream) follow(ctx context.Context, sub *world.Subscription) error {
	for {
		t, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		st.mu.Lock()
		if len(st.queue)+len(st.ledger.pending) == 0 {
			st.settled = t.Revision - 1
		}
		for _, pair := range t.Pairs {
			st.mark(pair)
		}
		if len(t.Hosts) > 0 { // the host itself: all that is made of it
			st.dirtyConfig = true
			st.service.config.World.Read(st.markPeers)
		}
		st.revision = max(st.revision, t.Revision)
		st.mu.Unlock()
		st.nudge()
	}
}

// mark puts a pair into the queue, once; the caller holds mu.
func (st *stream) mark(pair plan.PairID) {
	if _, there := st.dirty[pair]; !there {
		st.dirty[pair] = struct{}{}
		st.queue = append(st.queue, pair)
	}
}

// markPeers marks the pairs of the host's manual peers and peers; the caller holds mu.
func (st *stream) markPeers(w world.State) {
	for _, uid := range append(world.ManualPeersOf(w.Snapshot, st.host), world.PeerEntriesOf(w.Snapshot, st.host)...) {
		if uid != st.uid {
			st.mark(plan.PairOf(st.uid, uid))
		}
	}
}

// markAll begins the comparison with the inventory; the caller holds mu. Not every generation that
// names the host is looked for: what the agent holds, what is wanted, and what is to be deleted.
func (st *stream) markAll() {
	s := st.service
	st.dirtyConfig = true
	for r := range st.ledger.held {
		if r.kind == kindPair && plan.PairID(r.id).Has(st.uid) {
			st.mark(plan.PairID(r.id))
		}
	}
	s.config.World.Read(func(w world.State) {
		for pair := range w.World.PairsOf(st.uid) {
			st.mark(pair)
		}
		st.markPeers(w)
		st.revision = max(st.revision, w.Snapshot.Revision())
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for pair := range s.tombstones[st.uid] {
		st.mark(pair)
	}
}
