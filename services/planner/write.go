package planner

import (
	"context"
	"errors"
	"sync"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// writers is how many transactions are on their way to etcd at once.
const writers = 4

// outcome is what came of one transaction.
type outcome struct {
	packet   *packet
	revision int64
	err      error
}

// write commits works, and returns when the feed shows all of it. A conflict concerns the pairs of its
// transaction only: they are looked at again. Other errors end the round.
func (r *reign) write(ctx context.Context, works []work) error {
	packets := r.pack(works)
	if len(packets) == 0 {
		return nil
	}
	var newest int64
	conflicts := 0
	var failed error
	outcomes := r.commit(ctx, packets)
	for _, unsent := range packets[len(outcomes):] {
		r.again(unsent)
	}
	for _, o := range outcomes {
		switch {
		case o.err == nil:
			newest = max(newest, o.revision)
			r.done(o.packet)
		case r.deposed(o.err) || !errors.Is(o.err, store.ErrConflict):
			failed = errors.Join(failed, o.err)
		default:
			conflicts++
			r.again(o.packet)
			for _, w := range o.packet.works {
				r.shy[w.pair] = struct{}{}
			}
		}
	}
	r.note(func(s *Stats) { s.Conflicts += uint64(conflicts) })
	if failed != nil {
		return failed
	}
	if conflicts > 0 {
		newest = 0 // whatever was in the way is in the store by now
	}
	return r.catchUp(ctx, newest)
}

// deposed reports whether an error says that another planner leads.
func (r *reign) deposed(err error) bool {
	conflict, ok := errors.AsType[*store.ConflictError](err)
	return ok && conflict.Key == r.fence.Key()
}

// commit sends the packets, writers at a time, and stops to send after an error that is no conflict.
func (r *reign) commit(ctx context.Context, packets []*packet) []outcome {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	outcomes := make([]outcome, len(packets))
	next := make(chan int)
	var senders sync.WaitGroup
	for range min(writers, len(packets)) {
		senders.Go(func() {
			for i := range next {
				revision, err := r.config.Store.Commit(ctx, packets[i].txn)
				if err != nil && (r.deposed(err) || !errors.Is(err, store.ErrConflict)) {
					stop()
				}
				outcomes[i] = outcome{packets[i], revision, err}
			}
		})
	}
	for i := range packets {
		if ctx.Err() != nil {
			outcomes = outcomes[:i]
			break
		}
		next <- i
	}
	close(next)
	senders.Wait()
	return outcomes
}

// done keeps the tables in step with what was written.
func (r *reign) done(p *packet) {
	for i := range p.works {
		w := &p.works[i]
		delete(r.shy, w.pair)
		for j := range w.changes {
			if c := &w.changes[j]; c.Kind == plan.Forget {
				r.spis.forget(w.pair, &c.Generation)
			}
		}
	}
	r.note(func(s *Stats) {
		s.Transactions++
		for _, w := range p.works {
			for _, c := range w.changes {
				s.count(c)
			}
		}
	})
}

func (s *Stats) count(c plan.Change) {
	switch c.Kind {
	case plan.Create:
		s.Created++
	case plan.Advance:
		s.Advanced++
	case plan.Forget:
		s.Forgotten++
	}
	if c.Cause == plan.Refused {
		s.Refused++
	}
}

// again queues the pairs of a transaction that was not applied.
func (r *reign) again(p *packet) {
	for i := range p.works {
		r.unmake(&p.works[i])
		r.queue.add(p.works[i].pair)
	}
}

// unmake gives back the SPIs of generations that will not be.
func (r *reign) unmake(w *work) {
	for i := range w.changes {
		if c := &w.changes[i]; c.Kind == plan.Create && c.Generation.SPIAB != 0 {
			r.spis.forget(w.pair, &c.Generation)
		}
	}
}

// puts turns a work's changes into writes.
func (r *reign) puts(w *work) (puts []store.Put, deletes []string, err error) {
	for i := range w.changes {
		g := &w.changes[i].Generation
		phaseKey := store.SAPhaseKey(store.PairID(w.pair), g.Number)
		if w.changes[i].Kind == plan.Forget {
			deletes = append(deletes, phaseKey, store.SAKey(store.PairID(w.pair), g.Number))
			continue
		}
		phase, err := store.PutRecord(phaseKey, world.GenerationRecord(*g))
		if err != nil {
			return nil, nil, err
		}
		puts = append(puts, phase)
		if w.changes[i].Kind == plan.Create {
			key, err := r.sealedKey(w.pair, g, w.lifetime)
			if err != nil {
				return nil, nil, err
			}
			puts = append(puts, key)
		}
	}
	return puts, deletes, nil
}
