package world

import (
	"context"
	"maps"
	"slices"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// Touched says what to look at again. It names each pair and host once, however often it changed.
type Touched struct {
	// Revision up to which changes are counted; the state of a later Read is at least as new.
	Revision int64
	// Pairs that may be wanted now or may have been before, or whose hosts, policy or generations
	// changed.
	Pairs []plan.PairID
	// Hosts that changed or are gone. A subscription to one host gets that host only.
	Hosts []plan.UID
}

// Subscription collects what is touched. A slow consumer costs one entry for each pair, and never delays
// the feed.
type Subscription struct {
	feed  *Feed
	host  plan.UID
	ready chan struct{} // capacity 1

	// Guarded by feed.mu.
	pending  *touched
	revision int64
	closed   bool
}

// Subscribe collects, from now on, what touches one host and its pairs, or, for the zero UID, everything.
// Read once after it to see where the changes begin.
func (f *Feed) Subscribe(host plan.UID) *Subscription {
	f.mu.Lock()
	defer f.mu.Unlock()
	sub := &Subscription{feed: f, host: host, ready: make(chan struct{}, 1), pending: newTouched()}
	if f.subs[host] == nil {
		f.subs[host] = make(map[*Subscription]struct{})
	}
	f.subs[host][sub] = struct{}{}
	return sub
}

// Next waits for something to look at. The error is ctx's, store.ErrClosed after Close, or what ended
// the feed.
func (s *Subscription) Next(ctx context.Context) (Touched, error) {
	for {
		if t, err := s.take(); err != nil || len(t.Pairs)+len(t.Hosts) > 0 {
			return t, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return Touched{}, ctx.Err()
		}
	}
}

func (s *Subscription) take() (Touched, error) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	switch {
	case s.closed:
		return Touched{}, store.ErrClosed
	case s.feed.err != nil:
		return Touched{}, s.feed.err
	}
	t := Touched{
		Revision: s.revision,
		Pairs:    slices.Collect(maps.Keys(s.pending.pairs)),
		Hosts:    slices.Collect(maps.Keys(s.pending.hosts)),
	}
	if len(t.Pairs)+len(t.Hosts) > 0 {
		s.pending = newTouched()
	}
	return t, nil
}

// Close ends the subscription; a waiting Next returns store.ErrClosed.
func (s *Subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	s.closed, s.pending = true, newTouched()
	if delete(s.feed.subs[s.host], s); len(s.feed.subs[s.host]) == 0 {
		delete(s.feed.subs, s.host)
	}
	s.wake()
}

func (s *Subscription) wake() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// publish hands a batch's touched pairs and hosts to whom they concern; the caller holds mu.
func (f *Feed) publish(revision int64, t *touched) {
	if len(f.subs) == 0 {
		return
	}
	woken := make(map[*Subscription]struct{})
	each := func(host plan.UID, note func(*Subscription)) {
		for sub := range f.subs[host] {
			note(sub)
			woken[sub] = struct{}{}
		}
	}
	for pair := range t.pairs {
		for _, host := range []plan.UID{{}, pair.A(), pair.B()} {
			each(host, func(s *Subscription) { s.pending.pairs[pair] = struct{}{} })
		}
	}
	for uid := range t.hosts {
		for _, host := range []plan.UID{{}, uid} {
			each(host, func(s *Subscription) { s.pending.hosts[uid] = struct{}{} })
		}
	}
	for sub := range woken {
		sub.revision = revision
		sub.wake()
	}
}
