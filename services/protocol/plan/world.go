package plan

import (
	"iter"
	"slices"
)

// World is what is wanted: hosts, policies, and the pairs that follow. Pairs are not stored; they are
// found from a set of host indexes for each side of each policy, so that memory grows with hosts and
// policies and a change of one host visits that host's pairs only.
//
// The zero value is an empty world. A World is not safe for concurrent use. Each change returns the
// pairs that it may touch: every pair that was wanted before or is wanted now and has the host, or that
// the policy wants. Range over them before the next change.
type World struct {
	// Incarnation of the store. Generations of an older one are only ever deleted.
	Incarnation uint64

	hosts    []*Host // by index; nil where a host was removed
	free     []int   // indexes to use again
	byUID    map[UID]int
	byName   map[string]int
	policies []*policySlot // who wins first

	removed       map[UID]int64 // revision at which an operator removed a host
	policyRemoved int64         // the last revision at which an operator removed a policy
	confirmed     map[UID]int64 // the last revision at which an operator confirmed deletions; zero UID: of all
}

// noPairs is what a change returns that touches nothing.
func noPairs(func(PairID) bool) {}

// SetHost adds a host or replaces what is known of it.
func (w *World) SetHost(h Host) iter.Seq[PairID] {
	i, known := w.byUID[h.UID]
	if known && w.hosts[i].equal(&h) {
		return noPairs
	}
	var touched bitset
	if known {
		w.addPartners(&touched, i)
		delete(w.byName, w.hosts[i].Name)
	} else {
		i = w.newIndex(h.UID)
	}
	w.hosts[i] = &h
	w.byName[h.Name] = i
	for _, p := range w.policies {
		p.place(i, h.Labels)
	}
	w.addPartners(&touched, i)
	return w.pairs(h.UID, touched)
}

// RemoveHost forgets a host. The revision is the one at which an operator deleted it, or 0 when the
// host is just absent: then a deletion that follows from it is not explained, see Explained.
func (w *World) RemoveHost(uid UID, revision int64) iter.Seq[PairID] {
	if revision > 0 {
		if w.removed == nil {
			w.removed = make(map[UID]int64)
		}
		w.removed[uid] = revision
	}
	i, known := w.byUID[uid]
	if !known {
		return noPairs
	}
	var touched bitset
	w.addPartners(&touched, i)
	for _, p := range w.policies {
		p.drop(i)
	}
	if w.byName[w.hosts[i].Name] == i {
		delete(w.byName, w.hosts[i].Name)
	}
	delete(w.byUID, uid)
	w.hosts[i] = nil
	w.free = append(w.free, i)
	return w.pairs(uid, touched)
}

// SetPolicy adds a policy or replaces it.
func (w *World) SetPolicy(p Policy) iter.Seq[PairID] {
	at, known := w.findPolicy(p.Name)
	if known && w.policies[at].equal(&p) {
		return noPairs
	}
	slot := &policySlot{Policy: p}
	for i, h := range w.hosts {
		if h != nil {
			slot.place(i, h.Labels)
		}
	}
	changed := []*policySlot{slot}
	if known {
		changed = append(changed, w.policies[at])
		w.policies = slices.Delete(w.policies, at, at+1)
	}
	w.policies = append(w.policies, slot)
	slices.SortFunc(w.policies, func(x, y *policySlot) int { return x.before(&y.Policy) })
	return w.pairsOfPolicies(changed)
}

// RemovePolicy forgets a policy. The revision is as in RemoveHost.
func (w *World) RemovePolicy(name string, revision int64) iter.Seq[PairID] {
	w.policyRemoved = max(w.policyRemoved, revision)
	at, known := w.findPolicy(name)
	if !known {
		return noPairs
	}
	gone := w.policies[at]
	w.policies = slices.Delete(w.policies, at, at+1)
	return w.pairsOfPolicies([]*policySlot{gone})
}

// newIndex gives a host the lowest index that is free, so that the sets stay dense.
func (w *World) newIndex(uid UID) int {
	if w.byUID == nil {
		w.byUID, w.byName = make(map[UID]int), make(map[string]int)
	}
	i := len(w.hosts)
	if n := len(w.free); n > 0 {
		i, w.free = w.free[n-1], w.free[:n-1]
	} else {
		w.hosts = append(w.hosts, nil)
	}
	w.byUID[uid] = i
	return i
}

func (w *World) findPolicy(name string) (int, bool) {
	at := slices.IndexFunc(w.policies, func(p *policySlot) bool { return p.Name == name })
	return at, at >= 0
}

// addPartners adds to s every host that some policy pairs with host i.
func (w *World) addPartners(s *bitset, i int) {
	for _, p := range w.policies {
		p.addPartners(s, i)
	}
	s.clear(i)
}

// pairs yields the pairs of one host with those of a set.
func (w *World) pairs(uid UID, others bitset) iter.Seq[PairID] {
	return func(yield func(PairID) bool) {
		for j := range others.all() {
			if !yield(PairOf(uid, w.hosts[j].UID)) {
				return
			}
		}
	}
}

// pairsOfPolicies yields once each pair that one of the policies wants.
func (w *World) pairsOfPolicies(ps []*policySlot) iter.Seq[PairID] {
	return func(yield func(PairID) bool) {
		var hosts bitset
		for _, p := range ps {
			hosts.add(p.selected())
		}
		for i := range hosts.all() {
			var others bitset
			for _, p := range ps {
				p.addPartners(&others, i)
			}
			for j := range others.all() {
				if j > i && !yield(PairOf(w.hosts[i].UID, w.hosts[j].UID)) {
					return
				}
			}
		}
	}
}
