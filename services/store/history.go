package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// History returns the net changes under the prefixes (none = all keys) after
// revision after, up to and including through, in key order. Memory is bounded
// by the number of keys, not of writes. An Old whose value etcd has compacted
// away has an empty Value. Errors: ErrCompacted when after is below etcd's
// compacted revision: list again; ErrBehind when etcd never reached through.
func (s *Store) History(ctx context.Context, after, through int64, prefixes ...string) ([]Change, error) {
	if after >= through {
		return nil, nil
	}
	head, err := s.HeadRevision(ctx)
	switch {
	case err != nil:
		return nil, err
	case head < through:
		return nil, fmt.Errorf("%w: its head is %d, asked for %d", ErrBehind, head, through)
	}
	watcher := clientv3.NewWatcher(s.client)
	defer watcher.Close()
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	// From after itself, whose events are skipped: etcd then refuses a compacted
	// after, and no deletion that a compaction swallowed can be missed.
	responses := watcher.Watch(ctx, s.prefix, clientv3.WithPrefix(), clientv3.WithRev(max(after, 1)), clientv3.WithPrevKV())
	h := history{store: s, after: after, through: through, want: Subscription{prefixes: prefixes, pending: make(map[string]Change)}}
	return h.read(ctx, watcher, responses)
}

type history struct {
	store          *Store
	after, through int64
	want           Subscription // merges changes, as a subscription does
}

func (h *history) read(ctx context.Context, watcher clientv3.Watcher, responses clientv3.WatchChan) ([]Change, error) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		if err := watcher.RequestProgress(ctx); err != nil {
			return nil, h.store.wrap(ctx, "read history", err)
		}
		select {
		case resp, ok := <-responses:
			done, err := h.take(resp, ok)
			if err != nil || done {
				return h.changes(), err
			}
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take merges one response; done says that through has been passed.
func (h *history) take(resp clientv3.WatchResponse, ok bool) (done bool, err error) {
	switch {
	case resp.CompactRevision != 0:
		return false, fmt.Errorf("%w: asked for changes after %d, compacted at %d", ErrCompacted, h.after, resp.CompactRevision)
	case resp.Err() != nil:
		return false, fmt.Errorf("store: read history: %w", resp.Err())
	case !ok:
		return false, errors.New("store: read history: the watch ended")
	case resp.IsProgressNotify():
		return resp.Header.Revision >= h.through, nil
	}
	for _, e := range resp.Events {
		switch {
		case e.Kv.ModRevision > h.through:
			return true, nil
		case e.Kv.ModRevision > h.after:
			h.want.add(h.change(e))
		}
	}
	return false, nil
}

func (h *history) change(e *clientv3.Event) Change {
	c := Change{Key: strings.TrimPrefix(string(e.Kv.Key), h.store.prefix)}
	if e.Type == clientv3.EventTypePut {
		kv := h.store.kv(e.Kv)
		c.New = &kv
	}
	switch {
	case e.PrevKv != nil:
		kv := h.store.kv(e.PrevKv)
		c.Old = &kv
	case !e.IsCreate():
		c.Old = &KV{Key: c.Key}
	}
	return c
}

func (h *history) changes() []Change {
	out := make([]Change, 0, len(h.want.pending))
	for _, c := range h.want.pending {
		if !hiddenFromView(c.Key) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return cmp.Compare(a.Key, b.Key) })
	return out
}
