package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sallyport.dev/sallyport/services/store"
)

const (
	// maxEdits bounds what waits for one key. The oldest are of streams that have ended long ago.
	maxEdits    = 32
	retryWrite  = time.Second
	catchUpTime = 5 * time.Second
	// maxAttempts bounds how often one batch meets conflicts before it waits its turn again.
	maxAttempts = 16
)

// edit changes one key, from what it is to what it shall be. It must be idempotent: it is applied again
// after a conflict, and after a commit of unknown outcome.
type edit struct {
	key string
	// slot, if set, makes the edit replace one of the same key and slot that still waits.
	slot string
	// while, if it has a key, must hold too and is an Unchanged; an edit whose condition is over is
	// dropped.
	while store.Compare
	// apply returns the new value; nil when nothing is to be done, deleteKey's when the key shall go. An
	// absent key has no value.
	apply func(have store.KV, exists bool) ([]byte, error)
}

// deleteKey is what an edit's apply returns to delete the key: no record that a writer changes is empty.
func deleteKey() []byte { return []byte{} }

// writer is the one place where all streams' acks and reports go into the store: it joins what waits into
// few transactions. Each compares the ModRevision of every key that it changes.
type writer struct {
	store *store.Store
	view  *store.View
	log   *slog.Logger

	mu     sync.Mutex
	queued map[string][]edit // by key
	order  []string
	ready  chan struct{} // capacity 1
}

func newWriter(s *store.Store, v *store.View, log *slog.Logger) *writer {
	return &writer{store: s, view: v, log: log, queued: make(map[string][]edit), ready: make(chan struct{}, 1)}
}

// submit queues an edit and never blocks. What streams submit is bounded: they note what they have
// submitted.
func (w *writer) submit(e edit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := w.queued[e.key]
	if len(waiting) == 0 {
		w.order = append(w.order, e.key)
	}
	at := slices.IndexFunc(waiting, func(o edit) bool { return e.slot != "" && o.slot == e.slot })
	switch {
	case at >= 0:
		waiting = slices.Delete(waiting, at, at+1)
	case len(waiting) == maxEdits:
		waiting = slices.Delete(waiting, 0, 1)
	}
	w.queued[e.key] = append(waiting, e)
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// take returns as many edits as one transaction can hold: each key costs a compare, and each edit one
// more at most.
func (w *writer) take() map[string][]edit {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := make(map[string][]edit)
	n, compares := 0, 0
	for _, key := range w.order {
		compares += 1 + len(w.queued[key])
		if compares > store.MaxTxnCompares {
			break
		}
		batch[key] = w.queued[key]
		delete(w.queued, key)
		n++
	}
	w.order = append([]string(nil), w.order[n:]...)
	return batch
}

func (w *writer) depth() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.order)
}

// run writes until ctx ends. The error is store.ErrIncarnation when a restore has ended this process's
// incarnation.
func (w *writer) run(ctx context.Context) error {
	for {
		select {
		case <-w.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		for batch := w.take(); len(batch) > 0; batch = w.take() {
			if err := w.write(ctx, batch); err != nil {
				return err
			}
		}
	}
}

// write commits a batch, over and over until it is in or has become void.
func (w *writer) write(ctx context.Context, batch map[string][]edit) error {
	fresh := make(map[string]*store.KV) // read again after a conflict; nil for absent
	for attempt := 0; len(batch) > 0; attempt++ {
		txn, conditions := w.transaction(batch, fresh)
		if len(txn.Puts)+len(txn.Deletes) == 0 {
			return nil
		}
		revision, err := w.store.Commit(ctx, txn)
		conflict, isConflict := errors.AsType[*store.ConflictError](err)
		switch {
		case err == nil:
			w.catchUp(ctx, revision)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, store.ErrIncarnation), errors.Is(err, store.ErrClosed):
			return err
		case isConflict && conditions[conflict.Key]:
			drop(batch, store.Unchanged(conflict.Key, conflict.Have))
		case isConflict && attempt < maxAttempts:
			w.refresh(ctx, fresh, conflict.Key)
		default:
			w.log.Warn("writing acks and reports to the store failed; trying again", "keys", len(batch), "err", err)
			pauseFor(ctx, retryWrite)
			clear(fresh)
			for key := range batch {
				w.refresh(ctx, fresh, key)
			}
			attempt = 0
		}
	}
	return nil
}

// transaction applies the edits to what the keys hold. conditions are the keys of the edits' own
// compares.
func (w *writer) transaction(batch map[string][]edit, fresh map[string]*store.KV) (store.Txn, map[string]bool) {
	var txn store.Txn
	conditions := make(map[string]bool)
	for key, edits := range batch {
		have, exists := w.current(key, fresh)
		put, changed := store.KV{Key: key, Value: have.Value}, false
		for _, e := range edits {
			value, err := e.apply(put, exists)
			if err != nil {
				w.log.Error("a record cannot be changed", "key", key, "err", err)
				continue
			}
			if value == nil {
				continue
			}
			put.Value, exists, changed = value, len(value) > 0, true
			if c := e.while; c.Key() != "" {
				conditions[c.Key()] = true
				if !slices.Contains(txn.Compares, c) {
					txn.Compares = append(txn.Compares, c)
				}
			}
		}
		if changed {
			txn.Compares = append(txn.Compares, store.Unchanged(key, have.ModRevision))
			if exists {
				txn.Puts = append(txn.Puts, store.Put{Key: key, Value: put.Value, Lease: have.Lease})
			} else {
				txn.Deletes = append(txn.Deletes, key)
			}
		}
	}
	return txn, conditions
}

func (w *writer) current(key string, fresh map[string]*store.KV) (store.KV, bool) {
	if kv, ok := fresh[key]; ok {
		if kv == nil {
			return store.KV{}, false
		}
		return *kv, true
	}
	return w.view.Get(key)
}

// drop takes out the edits that stood on another state of a key than the one it is in.
func drop(batch map[string][]edit, is store.Compare) {
	for key, edits := range batch {
		var rest []edit
		for _, e := range edits {
			if e.while.Key() != is.Key() || e.while == is {
				rest = append(rest, e)
			}
		}
		if batch[key] = rest; len(rest) == 0 {
			delete(batch, key)
		}
	}
}

// refresh reads a key past the view, which lags a little.
func (w *writer) refresh(ctx context.Context, fresh map[string]*store.KV, key string) {
	kv, err := w.store.Get(ctx, key)
	switch {
	case err == nil:
		fresh[key] = &kv
	case errors.Is(err, store.ErrNotFound):
		fresh[key] = nil
	}
}

// catchUp lets the view see the write before the next batch, which would else meet its own conflicts;
// more edits gather meanwhile.
func (w *writer) catchUp(ctx context.Context, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	_ = w.view.WaitRevision(ctx, revision) // a lagging view costs conflicts, nothing else
}

func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
