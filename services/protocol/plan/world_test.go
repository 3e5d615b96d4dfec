package plan_test

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// plainWorld says what a World should say, without an index.
type plainWorld struct {
	hosts    map[plan.UID]plan.Host
	policies map[string]plan.Policy
}

// wanted returns every wanted pair and the policy that wins it.
func (w plainWorld) wanted() map[plan.PairID]string {
	won := make(map[plan.PairID]string)
	order := slices.SortedFunc(maps.Values(w.policies), func(x, y plan.Policy) int {
		if x.Priority != y.Priority {
			return int(y.Priority) - int(x.Priority)
		}
		if x.Name < y.Name {
			return -1
		}
		return 1
	})
	for _, p := range order {
		to := p.To
		if to.IsZero() {
			to = p.Hosts
		}
		for x := range maps.Values(w.hosts) {
			for y := range maps.Values(w.hosts) {
				id := plan.PairOf(x.UID, y.UID)
				if _, taken := won[id]; x.UID != y.UID && !taken && p.Hosts.Matches(x.Labels) && to.Matches(y.Labels) {
					won[id] = p.Name
				}
			}
		}
	}
	return won
}

// TestWorld changes a world by chance and compares it each time with one that is worked out from nothing;
// whatever changed must be among the pairs that the change says it touches.
func TestWorld(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	var w plan.World
	plain := plainWorld{make(map[plan.UID]plan.Host), make(map[string]plan.Policy)}
	selectors := []string{"*", "a", "!a", "a=1", "a!=1", "b in (1,2)", "a,b", "nobody"}
	before := plain.wanted()
	for step := range 1500 {
		uid := plan.UID{byte(r.IntN(5)), byte(r.IntN(5)), 1}
		name := fmt.Sprintf("p%d", r.IntN(4))
		var touched iter.Seq[plan.PairID]
		switch r.IntN(6) {
		case 0, 1, 2:
			h := plan.Host{UID: uid, Name: uid.String(), Labels: map[string]string{}}
			for _, k := range []string{"a", "b"} {
				if r.IntN(2) == 0 {
					h.Labels[k] = fmt.Sprint(r.IntN(3))
				}
			}
			plain.hosts[uid] = h
			touched = w.SetHost(h)
		case 3:
			delete(plain.hosts, uid)
			touched = w.RemoveHost(uid, 0)
		case 4:
			p := meshPolicy(name, selectors[r.IntN(len(selectors))], "")
			if r.IntN(2) == 0 {
				p.To = selector(selectors[r.IntN(len(selectors))])
			}
			p.Priority = int32(r.IntN(3))
			plain.policies[name] = p
			touched = w.SetPolicy(p)
		case 5:
			delete(plain.policies, name)
			touched = w.RemovePolicy(name, 0)
		}
		told := make(map[plan.PairID]int)
		for id := range touched {
			told[id]++
		}
		after := plain.wanted()
		for id := range union(before, after) {
			if before[id] != after[id] && told[id] == 0 {
				t.Fatalf("step %d: %s went from %q to %q, untold", step, id, before[id], after[id])
			}
		}
		for id, n := range told {
			if n > 1 {
				t.Fatalf("step %d: %s was told %d times", step, id, n)
			}
		}
		compareWorld(t, &w, plain, after)
		before = after
	}
}

func union(x, y map[plan.PairID]string) map[plan.PairID]string {
	u := maps.Clone(x)
	maps.Copy(u, y)
	return u
}

func compareWorld(t *testing.T, w *plan.World, plain plainWorld, want map[plan.PairID]string) {
	t.Helper()
	if w.PairCount() != len(want) || w.HostCount() != len(plain.hosts) {
		t.Fatalf("%d pairs of %d hosts, want %d of %d", w.PairCount(), w.HostCount(), len(want), len(plain.hosts))
	}
	got := maps.Collect(func(yield func(plan.PairID, string) bool) {
		for id := range w.Pairs() {
			pair, ok := w.Wanted(id)
			if !ok || pair.A.UID != id.A() || pair.B.UID != id.B() {
				t.Fatalf("Wanted(%s): %v, %v", id, pair, ok)
			}
			if !yield(id, pair.Policy.Name) {
				return
			}
		}
	})
	if !maps.Equal(got, want) {
		t.Fatalf("pairs %v\nwant %v", got, want)
	}
	wins := make(map[string]int)
	for _, name := range want {
		wins[name]++
	}
	for name := range plain.policies {
		if _, pairs := w.Selection(name); pairs != wins[name] {
			t.Fatalf("policy %s wins %d pairs, want %d", name, pairs, wins[name])
		}
		if w.WantsNone(name) && wins[name] > 0 {
			t.Fatalf("policy %s wins %d pairs and wants none", name, wins[name])
		}
	}
	for uid := range plain.hosts {
		n := 0
		for id := range want {
			if id.Has(uid) {
				n++
			}
		}
		if len(slices.Collect(w.PairsOf(uid))) != n || w.PairCountOf(uid) != n {
			t.Fatalf("host %s has %d pairs, want %d", uid, w.PairCountOf(uid), n)
		}
	}
}

// The same again touches nothing; a host that is made again under its old name is another host.
func TestWorldSame(t *testing.T) {
	var w plan.World
	a := plan.Host{UID: plan.UID{1}, Name: "a", Labels: map[string]string{"x": "y"}}
	b := plan.Host{UID: plan.UID{2}, Name: "b"}
	w.SetPolicy(meshPolicy("mesh", "*", ""))
	w.SetHost(a)
	if n := len(slices.Collect(w.SetHost(b))); n != 1 {
		t.Errorf("the second host touches %d pairs, want 1", n)
	}
	if n := len(slices.Collect(w.SetHost(b))); n != 0 {
		t.Errorf("the same host again touches %d pairs", n)
	}
	if n := len(slices.Collect(w.SetPolicy(meshPolicy("mesh", "*", "")))); n != 0 {
		t.Errorf("the same policy again touches %d pairs", n)
	}
	w.RemoveHost(a.UID, 0)
	again := plan.Host{UID: plan.UID{3}, Name: "a"}
	w.SetHost(again)
	if h, ok := w.HostByName("a"); !ok || h.UID != again.UID {
		t.Errorf("host a is %v, %v", h, ok)
	}
	if _, ok := w.Host(a.UID); ok {
		t.Error("the removed host is still there")
	}
	if _, ok := w.Wanted(plan.PairOf(a.UID, b.UID)); ok {
		t.Error("a pair of the removed host is wanted")
	}
}

func TestExplained(t *testing.T) {
	a, b := plan.Host{UID: plan.UID{1}, Name: "a", Revision: 10}, plan.Host{UID: plan.UID{2}, Name: "b", Revision: 10}
	id := plan.PairOf(a.UID, b.UID)
	for name, test := range map[string]struct {
		change func(*plan.World)
		want   bool
	}{
		"nothing happened":             {func(*plan.World) {}, false},
		"a policy is absent":           {func(w *plan.World) { w.RemovePolicy("p", 0) }, false},
		"a host is absent":             {func(w *plan.World) { w.RemoveHost(a.UID, 0) }, false},
		"another host was changed":     {func(w *plan.World) { w.SetHost(plan.Host{UID: plan.UID{3}, Name: "c", Revision: 90}) }, false},
		"another host was removed":     {func(w *plan.World) { w.RemoveHost(plan.UID{3}, 90) }, false},
		"another host was confirmed":   {func(w *plan.World) { w.Confirm(plan.UID{3}, 90) }, false},
		"a policy was removed":         {func(w *plan.World) { w.RemovePolicy("p", 90) }, true},
		"it was removed long before":   {func(w *plan.World) { w.RemovePolicy("p", 20) }, false},
		"a policy was changed":         {func(w *plan.World) { p := meshPolicy("p", "none", ""); p.Revision = 90; w.SetPolicy(p) }, true},
		"one of the hosts was removed": {func(w *plan.World) { w.RemoveHost(a.UID, 90) }, true},
		"one of the hosts was changed": {func(w *plan.World) { b.Revision = 90; w.SetHost(b) }, true},
		"one of the hosts confirmed":   {func(w *plan.World) { w.Confirm(b.UID, 90) }, true},
		"all was confirmed":            {func(w *plan.World) { w.Confirm(plan.UID{}, 90) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var w plan.World
			p := meshPolicy("p", "*", "")
			p.Revision = 10
			w.SetHost(a)
			w.SetHost(plan.Host{UID: plan.UID{2}, Name: "b", Revision: 10})
			w.SetPolicy(p)
			test.change(&w)
			if got := w.Explained(id, 50); got != test.want {
				t.Errorf("explained: %v, want %v", got, test.want)
			}
		})
	}
}
