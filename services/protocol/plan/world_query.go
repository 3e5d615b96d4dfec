package plan

import "iter"

// WantedPair is a pair that some policy wants. The pointers are into the world: read only, valid until
// its next change.
type WantedPair struct {
	ID     PairID
	A, B   *Host // A has the smaller uid
	Policy *Policy
}

// Wanted returns the pair if some policy wants it, with the policy that wins.
func (w *World) Wanted(id PairID) (WantedPair, bool) {
	a, okA := w.byUID[id.A()]
	b, okB := w.byUID[id.B()]
	if !okA || !okB || a == b {
		return WantedPair{}, false
	}
	for _, p := range w.policies {
		if p.wants(a, b) {
			return WantedPair{ID: id, A: w.hosts[a], B: w.hosts[b], Policy: &p.Policy}, true
		}
	}
	return WantedPair{}, false
}

// Host returns what is known of a host; read only, valid until the next change.
func (w *World) Host(uid UID) (*Host, bool) {
	i, ok := w.byUID[uid]
	if !ok {
		return nil, false
	}
	return w.hosts[i], true
}

// HostByName is Host by the host's name.
func (w *World) HostByName(name string) (*Host, bool) {
	i, ok := w.byName[name]
	if !ok {
		return nil, false
	}
	return w.hosts[i], true
}

// Hosts yields every host, in no order that means anything.
func (w *World) Hosts() iter.Seq[*Host] {
	return func(yield func(*Host) bool) {
		for _, h := range w.hosts {
			if h != nil && !yield(h) {
				return
			}
		}
	}
}

// HostCount returns how many hosts there are.
func (w *World) HostCount() int { return len(w.byUID) }

// Policy returns a policy by name; read only, valid until the next change.
func (w *World) Policy(name string) (*Policy, bool) {
	at, ok := w.findPolicy(name)
	if !ok {
		return nil, false
	}
	return &w.policies[at].Policy, true
}

// Policies yields every policy, those first that win.
func (w *World) Policies() iter.Seq[*Policy] {
	return func(yield func(*Policy) bool) {
		for _, p := range w.policies {
			if !yield(&p.Policy) {
				return
			}
		}
	}
}

// PairsOf yields the wanted pairs that a host is in.
func (w *World) PairsOf(uid UID) iter.Seq[PairID] {
	i, ok := w.byUID[uid]
	if !ok {
		return noPairs
	}
	return w.pairs(uid, w.partners(i))
}

// Pairs yields every wanted pair once.
func (w *World) Pairs() iter.Seq[PairID] { return w.pairsOfPolicies(w.policies) }

// PairCount returns how many pairs are wanted.
func (w *World) PairCount() int {
	n := 0
	for i, h := range w.hosts {
		if h != nil {
			n += w.partners(i).count()
		}
	}
	return n / 2
}

// PairCountOf returns how many pairs are wanted that a host is in.
func (w *World) PairCountOf(uid UID) int {
	i, ok := w.byUID[uid]
	if !ok {
		return 0
	}
	return w.partners(i).count()
}

// Selection returns how many hosts a policy selects and in how many pairs it wins; zeros for a policy
// that is not there.
func (w *World) Selection(name string) (hosts, pairs int) {
	at, ok := w.findPolicy(name)
	if !ok {
		return 0, 0
	}
	selected := w.policies[at].selected()
	for i := range selected.all() {
		var mine, theirs bitset
		w.policies[at].addPartners(&mine, i)
		mine.clear(i)
		for _, p := range w.policies[:at] {
			p.addPartners(&theirs, i)
		}
		mine.remove(theirs)
		pairs += mine.count()
	}
	return selected.count(), pairs / 2
}

func (w *World) partners(i int) bitset {
	var s bitset
	w.addPartners(&s, i)
	return s
}

// WantsNone reports whether a policy pairs nobody, be it overruled or not.
func (w *World) WantsNone(name string) bool {
	at, ok := w.findPolicy(name)
	if !ok {
		return true
	}
	p := w.policies[at]
	for i := range p.selected().all() {
		var partners bitset
		p.addPartners(&partners, i)
		partners.clear(i)
		if partners.count() > 0 {
			return false
		}
	}
	return true
}
