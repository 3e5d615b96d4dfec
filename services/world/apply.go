package world

import (
	"iter"
	"strings"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// apply brings the world to the batch's revision and tells the subscriptions.
func (f *Feed) apply(b store.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshot = b.State
	t := newTouched()
	hosts, policies := make(map[string]struct{}), make(map[string]struct{})
	for _, c := range b.Changes {
		if pair, _, err := store.ParseSAPhaseKey(c.Key); err == nil {
			t.pairs[plan.PairID(pair)] = struct{}{}
		} else if host, uid, err := store.ParseManualPhaseKey(c.Key); err == nil {
			f.touchManual(host, uid, t)
		} else if f.touchPeer(c.Key, t) {
			continue
		} else if kind, name := subject(c.Key); kind == store.KindHost {
			hosts[name] = struct{}{}
		} else if kind == store.KindPolicy {
			policies[name] = struct{}{}
		}
	}
	for name := range hosts {
		f.setHost(name, b.Revision, t)
	}
	for name := range policies {
		f.setPolicy(name, b.Revision, t)
	}
	for _, c := range b.Changes {
		if c.New != nil && isIntent(c.Key) {
			f.intent(*c.New, t)
		}
	}
	state, now := f.state(), f.now()
	for pair := range t.pairs {
		state.count(pair, now)
	}
	f.reach(b.Revision)
	f.publish(b.Revision, t)
}

// subject is the host or policy that a key is about.
func subject(key string) (store.Kind, string) {
	for _, prefix := range []string{store.EpochPrefix, store.LivePrefix} {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			return store.KindHost, name
		}
	}
	kind, name, err := store.ParseSpecKey(key)
	if err != nil {
		kind, name, err = store.ParseStatusKey(key)
	}
	if err != nil {
		return "", ""
	}
	return kind, name
}

// setHost brings one host up to date with the snapshot. Whoever takes a spec away has deleted the host.
func (f *Feed) setHost(name string, revision int64, t *touched) {
	h, found, err := Host(f.snapshot, name)
	if err != nil {
		f.log.Error("a host's record cannot be read; what was known stays", "host", name, "err", err)
		return
	}
	if before, had := f.uids[name]; had && (!found || before != h.UID) {
		t.add(f.world.RemoveHost(before, revision))
		t.host(before)
		delete(f.uids, name)
	}
	if found {
		f.uids[name] = h.UID
		t.add(f.world.SetHost(h))
		t.host(h.UID)
	}
}

// setPolicy brings one policy up to date with the snapshot.
func (f *Feed) setPolicy(name string, revision int64, t *touched) {
	p, found, err := Policy(f.snapshot, name)
	switch {
	case err != nil:
		f.log.Error("a policy's record cannot be read; what was known stays", "policy", name, "err", err)
	case found:
		t.add(f.world.SetPolicy(p))
	default:
		if _, had := f.world.Policy(name); had {
			t.add(f.world.RemovePolicy(name, revision))
		}
	}
}

// touched collects what a batch touches; a nil one collects nothing.
type touched struct {
	pairs map[plan.PairID]struct{}
	hosts map[plan.UID]struct{}
}

func newTouched() *touched {
	return &touched{pairs: make(map[plan.PairID]struct{}), hosts: make(map[plan.UID]struct{})}
}

// add takes the pairs that a change of the world touches, before the next change.
func (t *touched) add(pairs iter.Seq[plan.PairID]) {
	if t == nil {
		return
	}
	for pair := range pairs {
		t.pairs[pair] = struct{}{}
	}
}

func (t *touched) host(uid plan.UID) {
	if t != nil {
		t.hosts[uid] = struct{}{}
	}
}
