package operator

import (
	"context"
	"errors"
	"slices"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// watchLimits bound what one watcher costs.
type watchLimits struct {
	buffer   int           // messages that wait for a watcher
	patience time.Duration // how long a full buffer is waited for
	bookmark time.Duration // how often a quiet watcher is told how far it is
}

func defaultWatchLimits() watchLimits {
	return watchLimits{buffer: 1024, patience: 30 * time.Second, bookmark: time.Minute}
}

// Watch implements ResourceService. What exists, or what happened since start_revision, comes first, as
// net changes; then a bookmark; then every change. Changes that come faster than the watcher reads merge.
func (s *Service) Watch(req *operatorv1.WatchRequest, stream operatorv1.ResourceService_WatchServer) error {
	match, err := parseFilter("selector", req.GetSelector())
	if err != nil {
		return err
	}
	w := &watch{
		service: s, ctx: stream.Context(), kinds: req.GetKinds(), match: match, names: make(map[plan.UID]string),
		out: make(chan *operatorv1.WatchResponse, s.limits.buffer), failed: make(chan struct{}),
	}
	if len(w.kinds) == 0 {
		w.kinds = []operatorv1.Kind{kindHost, kindPolicy, kindToken, kindSA, kindEvent, kindManual, kindPeer, kindCredential, kindIKESA}
	}
	// Sending has a goroutine of its own, so that a watcher that does not read cannot hold the handler:
	// gRPC ends a blocked Send when the handler returns.
	go w.send(stream)
	defer close(w.out)
	return w.run(req.GetStartRevision())
}

// watch is one Watch call.
type watch struct {
	service *Service
	ctx     context.Context
	kinds   []operatorv1.Kind
	match   filter
	names   map[plan.UID]string // so that the associations of a deleted host keep their names
	out     chan *operatorv1.WatchResponse
	failed  chan struct{} // closed when Send has failed
}

// read is Service.read for a watch.
func (w *watch) read(snapshot *store.Snapshot, do func(reader) error) error {
	return w.service.read(snapshot, func(r reader) error {
		r.names = w.names
		return do(r)
	})
}

func (w *watch) send(stream operatorv1.ResourceService_WatchServer) {
	defer close(w.failed)
	for m := range w.out {
		if stream.Send(m) != nil {
			return
		}
	}
}

// push hands one message to the sender. The error ends the watch.
func (w *watch) push(m *operatorv1.WatchResponse) error {
	select {
	case w.out <- m:
		return nil
	default:
	}
	patience := time.NewTimer(w.service.limits.patience)
	defer patience.Stop()
	select {
	case w.out <- m:
		return nil
	case <-w.failed:
		return fault.New(fault.Canceled, "the watcher is gone")
	case <-w.ctx.Done():
		return w.ctx.Err()
	case <-patience.C:
		return fault.Newf(fault.Exhausted, "the watcher reads too slowly: it had %d changes to read for %v; watch again",
			w.service.limits.buffer, w.service.limits.patience).WithReason(ReasonSlowWatcher)
	}
}

func (w *watch) run(start int64) error {
	if err := w.service.view.Err(); err != nil {
		return err
	}
	if start > 0 {
		if err := w.service.view.WaitRevision(w.ctx, start); err != nil {
			return future(err)
		}
	}
	sub := w.service.view.Subscribe(w.prefixes()...)
	defer sub.Close()
	now := sub.Start()
	begin := w.existing
	if start > 0 {
		begin = func(s *store.Snapshot) error { return w.since(start, s) }
	}
	if err := begin(now); err != nil {
		return err
	}
	if err := w.bookmark(now.Revision()); err != nil {
		return err
	}
	for {
		if err := w.next(sub); err != nil {
			return err
		}
	}
}

// future says what a revision that etcd never had means: the store was restored or the revision made up.
func future(err error) error {
	if errors.Is(err, store.ErrBehind) {
		return listAgain("the start revision is above the store's: it is of another life of the store")
	}
	return err
}

// prefixes are the keys that the kinds are made of.
func (w *watch) prefixes() []string {
	var out []string
	for _, k := range w.kinds {
		out = append(out, keyPrefix(k))
		if sk, ok := storeKind(k); ok {
			out = append(out, store.StatusPrefix+string(sk)+"/")
		}
		switch k {
		case kindHost:
			out = append(out, store.EpochPrefix, store.LivePrefix, store.HostIDPrefix)
		case kindManual:
			out = append(out, store.ManualPhasePrefix)
		case kindPeer:
			out = append(out, store.PeerWishPrefix)
		case kindIKESA:
			out = append(out, store.IKEChildPrefix)
		}
	}
	return out
}

// existing sends all that there is.
func (w *watch) existing(snapshot *store.Snapshot) error {
	for _, k := range w.kinds {
		for from := ""; ; {
			p := page{kind: k, size: defaultPageSize, match: w.match, after: from}
			if err := w.read(snapshot, p.fill); err != nil {
				return err
			}
			for _, r := range p.resources {
				if err := w.push(&operatorv1.WatchResponse{Type: added, Resource: r, Revision: snapshot.Revision()}); err != nil {
					return err
				}
			}
			if !p.more {
				break
			}
			from = p.last
		}
	}
	return nil
}

// since sends the net changes after a revision, up to the snapshot's.
func (w *watch) since(start int64, snapshot *store.Snapshot) error {
	changes, err := w.service.store.History(w.ctx, start, snapshot.Revision(), w.prefixes()...)
	if errors.Is(err, store.ErrCompacted) {
		return listAgain("the start revision is compacted: the changes since then are gone").Wrap(err)
	}
	if err != nil {
		return future(err)
	}
	return w.changes(store.Batch{Revision: snapshot.Revision(), State: snapshot, Changes: changes})
}

// next sends the next changes, or a bookmark when there were none for a while.
func (w *watch) next(sub *store.Subscription) error {
	ctx, cancel := context.WithTimeout(w.ctx, w.service.limits.bookmark)
	defer cancel()
	batch, err := sub.Next(ctx)
	if err == nil {
		return w.changes(batch)
	}
	if w.ctx.Err() != nil || ctx.Err() == nil {
		return errors.Join(w.ctx.Err(), err)
	}
	// The time is over: now Next returns what is pending, or says that nothing is. Then all up to the
	// revision read before has been sent.
	revision := w.service.view.Revision()
	if batch, err = sub.Next(ctx); err == nil {
		return w.changes(batch)
	} else if errors.Is(err, context.DeadlineExceeded) {
		return w.bookmark(revision)
	}
	return err
}

func (w *watch) bookmark(revision int64) error {
	return w.push(&operatorv1.WatchResponse{Type: operatorv1.ChangeType_CHANGE_TYPE_BOOKMARK, Revision: revision})
}

func (w *watch) watches(k operatorv1.Kind) bool { return slices.Contains(w.kinds, k) }
