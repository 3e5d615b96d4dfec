package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/btree"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// View is the process's copy of everything under the prefix except sa/key/,
// kept current by one watch. A revision is applied whole: no reader sees a part
// of a transaction.
type View struct {
	store   *Store
	watcher clientv3.Watcher
	cancel  context.CancelFunc
	stopped chan struct{}

	mu       sync.Mutex
	tree     *btree.BTreeG[*KV]
	revision int64
	shown    *Snapshot     // of revision; nil when it has to be made
	advanced chan struct{} // closed at each advance of revision, and at the end
	subs     map[*Subscription]struct{}
	err      error // set once: the view has ended
}

// View reads everything under the prefix once, and then follows it until ctx
// ends, Close is called, or a restore ends this incarnation.
func (s *Store) View(ctx context.Context) (*View, error) {
	tree, revision, err := s.loadTree(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.fencedBy(tree); err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(ctx)
	v := &View{
		store: s, watcher: clientv3.NewWatcher(s.client), cancel: cancel, stopped: make(chan struct{}),
		tree: tree, revision: revision, advanced: make(chan struct{}), subs: make(map[*Subscription]struct{}),
	}
	detach := context.AfterFunc(s.ctx, cancel)
	go func() {
		defer detach()
		v.follow(life)
	}()
	return v, nil
}

// loadTree lists all keys but sa/key/ as of one revision.
func (s *Store) loadTree(ctx context.Context) (*btree.BTreeG[*KV], int64, error) {
	end := clientv3.GetPrefixRangeEnd(s.prefix)
	hidden := s.prefix + SAKeyPrefix
	before, revision, err := s.rangeKeys(ctx, s.prefix, hidden, 0, 0)
	if err != nil {
		return nil, 0, err
	}
	after, _, err := s.rangeKeys(ctx, clientv3.GetPrefixRangeEnd(hidden), end, 0, revision)
	if err != nil {
		return nil, 0, err
	}
	tree := newTree()
	for _, part := range [][]KV{before, after} {
		for i := range part {
			tree.ReplaceOrInsert(&part[i])
		}
	}
	return tree, revision, nil
}

// Close ends the view and its subscriptions.
func (v *View) Close() {
	v.cancel()
	<-v.stopped
}

// Err is nil while the view follows etcd, and then says why it ended.
func (v *View) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// Done is closed when the view has ended: see Err.
func (v *View) Done() <-chan struct{} { return v.stopped }

// Revision is the last revision that was applied.
func (v *View) Revision() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revision
}

// Snapshot is the view as it is now, for as long as the caller keeps it.
func (v *View) Snapshot() *Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.snapshot()
}

func (v *View) snapshot() *Snapshot {
	if v.shown == nil {
		v.shown = &Snapshot{tree: v.tree.Clone(), revision: v.revision}
	}
	return v.shown
}

// Get returns the value of one key. Keys under sa/key/ are never found.
func (v *View) Get(key string) (KV, bool) { return v.Snapshot().Get(key) }

// Range is Snapshot().Range: it walks one consistent state.
func (v *View) Range(prefix string, f func(KV) bool) { v.Snapshot().Range(prefix, f) }

// progressEvery is how often a waiter asks etcd how far the watch is.
const progressEvery = 50 * time.Millisecond

// WaitRevision waits until the view has applied revision. The error is ErrBehind
// when etcd's head itself is below it: the database was rolled back, and nothing
// may be delivered from it.
func (v *View) WaitRevision(ctx context.Context, revision int64) error {
	reached, advanced, err := v.reached(revision)
	if reached || err != nil {
		return err
	}
	head, err := v.store.HeadRevision(ctx)
	if err != nil {
		return err
	}
	if head < revision {
		return fmt.Errorf("%w: its head is %d, seen was %d", ErrBehind, head, revision)
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for !reached {
		v.askProgress(ctx)
		select {
		case <-advanced:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if reached, advanced, err = v.reached(revision); err != nil {
			return err
		}
	}
	return nil
}

func (v *View) reached(revision int64) (bool, <-chan struct{}, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err != nil {
		return false, nil, v.err
	}
	return v.revision >= revision, v.advanced, nil
}

// askProgress makes etcd report the watch's revision, which also counts writes
// outside the prefix. An error here shows as a watch that ends.
func (v *View) askProgress(ctx context.Context) {
	_ = v.watcher.RequestProgress(clientv3.WithRequireLeader(ctx))
}

// apply puts whole revisions into the tree: changes are all those up to and
// including revision. It never blocks on a reader.
func (v *View) apply(revision int64, changes []Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if revision <= v.revision {
		return
	}
	for _, c := range changes {
		v.set(c)
	}
	v.advance(revision)
	if len(changes) == 0 {
		return
	}
	for sub := range v.subs {
		if len(sub.pending) > 0 {
			sub.wake()
		}
	}
}

// set changes the tree and tells the subscriptions; it fills in c.Old.
func (v *View) set(c Change) {
	if c.New != nil {
		c.Old, _ = v.tree.ReplaceOrInsert(c.New)
	} else {
		c.Old, _ = v.tree.Delete(&KV{Key: c.Key})
	}
	if c.Old == nil && c.New == nil {
		return
	}
	for sub := range v.subs {
		sub.add(c)
	}
}

func (v *View) advance(revision int64) {
	v.revision, v.shown = revision, nil
	close(v.advanced)
	v.advanced = make(chan struct{})
}

// fail ends the view: readers keep the last state, waiters get err.
func (v *View) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
	close(v.advanced)
	v.advanced = make(chan struct{})
	for sub := range v.subs {
		sub.wake()
	}
}

func hiddenFromView(key string) bool { return strings.HasPrefix(key, SAKeyPrefix) }
