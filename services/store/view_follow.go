package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/btree"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// followRetry is the pause after a watch or a list that failed.
const followRetry = 200 * time.Millisecond

// follow keeps the view current until ctx ends or a restore is seen.
//
//	watch ──ends──▶ watch again from the next revision
//	  └──compacted──▶ list, compare, apply the net difference ──▶ watch
func (v *View) follow(ctx context.Context) {
	defer close(v.stopped)
	defer v.watcher.Close()
	for ctx.Err() == nil {
		err := v.watch(ctx)
		if errors.Is(err, ErrCompacted) {
			err = v.resync(ctx)
		}
		switch {
		case errors.Is(err, ErrIncarnation), errors.Is(err, ErrBehind):
			v.store.log.Error("store view ended", "err", err)
			v.fail(err)
			return
		case err != nil && ctx.Err() == nil:
			v.store.log.Warn("store watch interrupted", "revision", v.Revision(), "err", err)
			pause(ctx, followRetry)
		}
	}
	v.fail(ErrClosed)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// watch applies events until the watch ends. Without fragments, which are not
// asked for, etcd never splits a revision over two responses.
func (v *View) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	responses := v.watcher.Watch(ctx, v.store.prefix, clientv3.WithPrefix(),
		clientv3.WithRev(v.Revision()+1), clientv3.WithProgressNotify())
	for resp := range responses {
		if resp.CompactRevision != 0 {
			return fmt.Errorf("%w: watch from %d, compacted at %d", ErrCompacted, v.Revision()+1, resp.CompactRevision)
		}
		if err := resp.Err(); err != nil {
			return err
		}
		if err := v.applyResponse(ctx, &resp); err != nil {
			return err
		}
	}
	return errors.New("the watch ended")
}

func (v *View) applyResponse(ctx context.Context, resp *clientv3.WatchResponse) error {
	if resp.IsProgressNotify() {
		return v.progress(ctx, resp.Header.Revision)
	}
	for events := resp.Events; len(events) > 0; {
		revision := events[0].Kv.ModRevision
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == revision {
			n++
		}
		changes, err := v.changes(events[:n])
		if err != nil {
			return err
		}
		v.apply(revision, changes)
		events = events[n:]
	}
	return nil
}

// progress takes etcd's word that there is no event up to revision. A revision
// below ours is normal on a member that lags; when the head itself is below,
// the database was rolled back under us.
func (v *View) progress(ctx context.Context, revision int64) error {
	have := v.Revision()
	if revision >= have {
		v.apply(revision, nil)
		return nil
	}
	head, err := v.store.HeadRevision(ctx)
	if err == nil && head < have {
		return fmt.Errorf("%w: its head is %d, seen was %d", ErrBehind, head, have)
	}
	return err
}

// changes turns one revision's events into changes. The incarnation's end stops
// the view before any of them is shown.
func (v *View) changes(events []*clientv3.Event) ([]Change, error) {
	out := make([]Change, 0, len(events))
	for _, e := range events {
		key := strings.TrimPrefix(string(e.Kv.Key), v.store.prefix)
		if begun := v.store.begun.Load(); begun != nil && endsIncarnation(key, e, begun) {
			return nil, ErrIncarnation
		}
		if hiddenFromView(key) {
			continue
		}
		c := Change{Key: key}
		if e.Type == clientv3.EventTypePut {
			kv := v.store.kv(e.Kv)
			c.New = &kv
		}
		out = append(out, c)
	}
	return out, nil
}

func endsIncarnation(key string, e *clientv3.Event, begun *Incarnation) bool {
	switch key {
	case IncarnationKey:
		return e.Kv.ModRevision != begun.ModRevision
	case RestoringKey:
		return e.Type == clientv3.EventTypePut
	}
	return false
}

// resync lists again after a compaction and applies the net difference as one
// step.
func (v *View) resync(ctx context.Context) error {
	fresh, revision, err := v.store.loadTree(ctx)
	if err != nil {
		return err
	}
	if err := v.store.fencedBy(fresh); err != nil {
		return err
	}
	if have := v.Revision(); revision < have {
		return fmt.Errorf("%w: it lists revision %d, seen was %d", ErrBehind, revision, have)
	}
	v.apply(revision, difference(v.Snapshot(), fresh))
	return nil
}

// difference is what turns the old state into the fresh one.
func difference(old *Snapshot, fresh *btree.BTreeG[*KV]) []Change {
	var changes []Change
	old.Range("", func(kv KV) bool {
		if !fresh.Has(&kv) {
			changes = append(changes, Change{Key: kv.Key})
		}
		return true
	})
	fresh.Ascend(func(kv *KV) bool {
		if have, ok := old.Get(kv.Key); !ok || have.ModRevision != kv.ModRevision {
			changes = append(changes, Change{Key: kv.Key, New: kv})
		}
		return true
	})
	return changes
}
