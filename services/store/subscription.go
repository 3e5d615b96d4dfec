package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// Change is the net difference of one key since the last batch. Old is nil for
// a new key, New for a deleted one. Both may be set while the key was deleted
// and created again in between: compare the CreateRevisions where it matters.
type Change struct {
	Key      string
	Old, New *KV
}

// Batch is what has changed up to Revision, in key order. It never contains a
// part of a revision.
type Batch struct {
	Revision int64
	State    *Snapshot // the view at just that revision
	Changes  []Change
}

// Subscription collects the changes under some prefixes. A slow consumer costs
// at most one Change for each key: changes merge, and the view never waits.
type Subscription struct {
	view     *View
	prefixes []string
	start    *Snapshot
	ready    chan struct{} // capacity 1: something is pending, or the end

	// Guarded by view.mu.
	pending map[string]Change
	closed  bool
}

// Subscribe begins to collect changes under the prefixes (none = all keys) from
// now on; Start shows the state that they are relative to.
func (v *View) Subscribe(prefixes ...string) *Subscription {
	v.mu.Lock()
	defer v.mu.Unlock()
	sub := &Subscription{
		view: v, prefixes: slices.Clone(prefixes), start: v.snapshot(),
		ready: make(chan struct{}, 1), pending: make(map[string]Change),
	}
	v.subs[sub] = struct{}{}
	if v.err != nil {
		sub.wake()
	}
	return sub
}

// Start is the view as it was when the subscription began. It is forgotten at
// the first Next, so that it does not pin old values.
func (s *Subscription) Start() *Snapshot {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	return s.start
}

// Next waits for changes and returns them. The error is ctx's, ErrClosed, or
// what ended the view.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	for {
		if batch, err := s.take(); err != nil || len(batch.Changes) > 0 {
			return batch, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

func (s *Subscription) take() (Batch, error) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.start = nil
	switch {
	case s.closed:
		return Batch{}, ErrClosed
	case s.view.err != nil:
		return Batch{}, s.view.err
	case len(s.pending) == 0:
		return Batch{}, nil
	}
	batch := Batch{Revision: s.view.revision, State: s.view.snapshot(), Changes: make([]Change, 0, len(s.pending))}
	for _, c := range s.pending {
		batch.Changes = append(batch.Changes, c)
	}
	s.pending = make(map[string]Change)
	slices.SortFunc(batch.Changes, func(a, b Change) int { return cmp.Compare(a.Key, b.Key) })
	return batch, nil
}

// Close ends the subscription; a waiting Next returns ErrClosed.
func (s *Subscription) Close() {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.closed = true
	s.pending = nil
	s.start = nil
	delete(s.view.subs, s)
	s.wake()
}

func (s *Subscription) wants(key string) bool {
	if len(s.prefixes) == 0 {
		return true
	}
	for _, p := range s.prefixes {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return false
}

// add merges one change; the caller holds view.mu.
func (s *Subscription) add(c Change) {
	if !s.wants(c.Key) {
		return
	}
	if earlier, ok := s.pending[c.Key]; ok {
		c.Old = earlier.Old
	}
	if c.Old == nil && c.New == nil {
		delete(s.pending, c.Key) // came and went unseen
		return
	}
	s.pending[c.Key] = c
}

func (s *Subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
