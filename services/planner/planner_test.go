package planner_test

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/planner"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
	"sallyport.dev/sallyport/services/world"
)

// A mesh comes up; the secret records hold what agents need, and nothing of it is to be seen.
func TestMeshComesUp(t *testing.T) {
	f := newFleet(t)
	f.addHosts(1, 6)
	f.setMesh(time.Hour, 8*time.Hour)
	f.agents()
	p, _ := f.planner(nil)
	f.eventually("5 hosts are up", time.Minute, f.up(5))
	spis := make(map[plan.UID]map[uint32]bool)
	for id, gens := range f.generations() {
		g := gens[0]
		f.checkKey(id, g)
		for host, spi := range map[plan.UID]uint32{id.A(): g.SPIBA, id.B(): g.SPIAB} {
			if spi>>24 != 1 {
				t.Errorf("SPI %#x does not carry shard 1", spi)
			}
			if spis[host] == nil {
				spis[host] = make(map[uint32]bool)
			}
			if spis[host][spi] {
				t.Errorf("SPI %#x is used twice at one host", spi)
			}
			spis[host][spi] = true
		}
	}
	if s := p.Stats(); s.Created != 10 || s.Advanced != 20 || !s.Leading {
		t.Errorf("stats: %+v", s)
	}
}

func (f *fleet) checkKey(id plan.PairID, g plan.Generation) {
	f.t.Helper()
	key := store.SAKey(store.PairID(id), g.Number)
	kv, err := f.store.Get(f.t.Context(), key)
	if err != nil {
		f.t.Fatal(err)
	}
	if kv.CreateRevision != kv.ModRevision {
		f.t.Errorf("%s was written more than once", key)
	}
	plain, err := f.store.UnsealTraffic(key, kv.Value)
	if err != nil {
		f.t.Fatal(err)
	}
	var r controllerv1.GenerationKey
	if err := store.Decode(store.KV{Key: key, Value: plain}, &r); err != nil {
		f.t.Fatal(err)
	}
	switch {
	case !bytes.Equal(r.GetId(), g.ID[:]), r.GetSpiAToB() != g.SPIAB, r.GetSpiBToA() != g.SPIBA:
		f.t.Errorf("%s does not belong to its phase record", key)
	case len(r.GetKeyAToB()) != 36 || len(r.GetKeyBToA()) != 36 || bytes.Equal(r.GetKeyAToB(), r.GetKeyBToA()):
		f.t.Errorf("%s: keys of %d and %d bytes", key, len(r.GetKeyAToB()), len(r.GetKeyBToA()))
	case bytes.Contains(kv.Value, r.GetKeyAToB()) || bytes.Contains(kv.Value, r.GetKeyBToA()):
		f.t.Errorf("%s shows its key", key)
	case r.GetTransform().GetEncryption() != 20 || r.GetTransform().GetKeyBits() != 256 || !r.GetTransform().GetEsn():
		f.t.Errorf("%s: transform %v", key, r.GetTransform())
	case r.GetReplayWindow() != 2048 || r.GetSoftBytes() > 1<<40 || r.GetSoftBytes() < 1<<40/10*9:
		f.t.Errorf("%s: window %d, soft bytes %d", key, r.GetReplayWindow(), r.GetSoftBytes())
	}
}

// Rekeying leaves one newer generation; an agent's new life gets new keys; a policy that goes takes all.
func TestLifeOfAPair(t *testing.T) {
	f := newFleet(t)
	f.addHosts(1, 4)
	f.setMesh(time.Hour, 8*time.Hour)
	f.agents()
	f.planner(func(c *planner.Config) { c.Limits.Drain = time.Second })
	f.eventually("3 hosts are up", time.Minute, f.up(3))
	first := f.generations()

	f.restart(2, 2)
	f.eventually("host 2 is up in its second life", time.Minute, func() bool {
		for id, gens := range f.generations() {
			has := id.Has(uid(2))
			if len(gens) != 1 || gens[0].Phase != plan.Established || has == (gens[0].ID == first[id][0].ID) {
				return false
			}
		}
		return f.up(3)()
	})

	f.setMesh(time.Hour, 4*time.Hour) // a shorter life: every pair is rekeyed
	f.eventually("every pair has the shorter life", time.Minute, func() bool {
		for _, gens := range f.generations() {
			if g := gens[0]; len(gens) != 1 || g.Hard-g.Create != 4*3600 {
				return false
			}
		}
		return f.up(3)()
	})

	f.removeMesh()
	f.eventually("nothing is left", time.Minute, func() bool { return len(f.generations()) == 0 })
	if kvs, _, err := f.store.List(t.Context(), store.SAKeyPrefix, store.ListOptions{}); err != nil || len(kvs) > 0 {
		t.Errorf("%d keys are left, %v", len(kvs), err)
	}
}

// The clock decides when to rekey, also when it jumps.
func TestClock(t *testing.T) {
	f := newFleet(t)
	f.addHosts(1, 3)
	f.setMesh(time.Minute, time.Hour)
	f.agents()
	var ahead atomic.Int64
	ahead.Store(int64(-3 * time.Second))
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	f.planner(func(c *planner.Config) { c.Now = now })
	f.eventually("2 hosts are up", time.Minute, f.up(2))
	newest := func() uint32 {
		var n uint32
		for _, gens := range f.generations() {
			n = gens[len(gens)-1].Number
		}
		return n
	}
	for want := uint32(2); want < 5; want++ {
		before := newest()
		ahead.Add(int64(time.Minute))
		f.eventually("a rekey", 20*time.Second, func() bool { return newest() == before+1 })
		ahead.Add(int64(12 * time.Second))
		f.eventually("the old generation is gone", 20*time.Second, f.up(2))
	}
}

// Two planners: one leads. When it dies in the middle, the other one goes on.
func TestTakeover(t *testing.T) {
	f := newFleet(t)
	g := joinFleet(t, storetest.Another(t, f.store))
	f.addHosts(1, 31)
	f.setMesh(time.Hour, 8*time.Hour)
	one, stop := f.planner(nil)
	f.eventually("a planner leads", time.Minute, func() bool { return one.Stats().Leading })
	two, _ := g.planner(nil)
	f.eventually("keys are made", time.Minute, func() bool { return one.Stats().Created > 100 })
	if s := two.Stats(); s.Leading || s.Steps > 0 {
		t.Fatalf("both planners act: %+v", s)
	}
	if err := stop(); err != nil {
		t.Fatalf("the first planner: %v", err)
	}
	f.agents()
	f.eventually("30 hosts are up", time.Minute, f.up(30))
	if s := two.Stats(); !s.Leading || s.Advanced == 0 {
		t.Errorf("the second planner did nothing: %+v", s)
	}
	for id, gens := range f.generations() {
		if gens[0].Number != 1 {
			t.Errorf("%s was keyed twice by the change of planner", id)
		}
	}
}

// A planner whose leadership was taken away writes nothing, although nobody has told it.
func TestDeposed(t *testing.T) {
	f := newFleet(t)
	f.addHosts(1, 3)
	p, stop := f.planner(nil)
	f.eventually("it leads", time.Minute, func() bool { return p.Stats().Leading })
	kvs, _, err := f.store.List(t.Context(), store.LeaderPrefix, store.ListOptions{})
	if err != nil || len(kvs) != 1 {
		t.Fatalf("%d candidates, %v", len(kvs), err)
	}
	// In one revision: the leader is gone, and there is work. The planner cannot have seen the first alone.
	mesh := must(store.SpecKey(store.KindPolicy, "mesh"))
	f.setMesh(time.Hour, 8*time.Hour)
	f.eventually("two hosts have a generation", time.Minute, func() bool { return len(f.generations()) == 1 })
	spec, err := f.store.Get(t.Context(), mesh)
	if err != nil {
		t.Fatal(err)
	}
	before := f.generations()
	f.commit(store.Txn{
		Puts:    append(f.life(1, 2), store.Put{Key: mesh, Value: spec.Value}),
		Deletes: []string{kvs[0].Key},
	})
	f.eventually("it leads again, by a new campaign", time.Minute, func() bool {
		now, _, err := f.store.List(t.Context(), store.LeaderPrefix, store.ListOptions{})
		return err == nil && len(now) == 1 && now[0].CreateRevision > kvs[0].CreateRevision && p.Stats().Leading
	})
	f.eventually("the work is done under the new leadership", time.Minute, func() bool {
		for id, gens := range f.generations() {
			if len(gens) != len(before[id])+1 {
				return false
			}
			now, _, err := f.store.List(t.Context(), store.LeaderPrefix, store.ListOptions{})
			if err != nil || gens[1].CreateRevision < now[0].CreateRevision {
				t.Fatalf("generation 2 was written at %d, before the new leadership", gens[1].CreateRevision)
			}
		}
		return true
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// Deletions that nobody asked for wait; a change by an operator lets them go.
func TestUnexplainedDeletionsAreHeld(t *testing.T) {
	f := newFleet(t)
	f.addHosts(1, 5)
	f.setMesh(time.Hour, 8*time.Hour)
	f.agents()
	_, stop := f.planner(nil)
	f.eventually("4 hosts are up", time.Minute, f.up(4))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	f.removeMesh() // no planner sees it, and a new process finds only that no policy is there

	g := joinFleet(t, storetest.Another(t, f.store))
	events := new(recorder)
	p, _ := g.planner(func(c *planner.Config) { c.Events = events })
	f.eventually("6 deletions are held", time.Minute, func() bool { return p.Stats().Held == 6 })
	f.eventually("operators are told", time.Minute, func() bool { return events.count("DeletionsHeld") == 4 })
	for _, gens := range f.generations() {
		if gens[0].Phase != plan.Established {
			t.Fatalf("a pair was deleted: %v", gens[0].Phase)
		}
	}
	f.commit(store.Txn{Puts: []store.Put{{Key: must(store.IntentKey(world.IntentConfirm, world.ConfirmAll)), Value: []byte("x")}}})
	f.eventually("the confirmed deletions are done", time.Minute, func() bool { return len(f.generations()) == 0 })
	f.eventually("nothing is held", time.Minute, func() bool { return p.Stats().Held == 0 })
}

// A policy that pairs nobody is reported once.
func TestPolicySelectsNobody(t *testing.T) {
	f := newFleet(t)
	f.addHosts(1, 2)
	f.setMesh(time.Hour, 8*time.Hour)
	events := new(recorder)
	f.planner(func(c *planner.Config) { c.Events = events })
	f.eventually("the event", time.Minute, func() bool { return events.count("PolicySelectsNobody") == 1 })
}

// After a restore the process must stop.
func TestRestoreEndsThePlanner(t *testing.T) {
	s := storetest.New(t)
	if _, err := s.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := joinFleet(t, s)
	f.addHosts(1, 3)
	p, err := planner.New(planner.Config{Store: s, Feed: f.feed, Identity: "test"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context()) }()
	f.eventually("it leads", time.Minute, func() bool { return p.Stats().Leading })
	other := storetest.Another(t, s)
	put := f.put(store.IncarnationKey, &controllerv1.Incarnation{Number: 2})
	if _, err := other.Commit(t.Context(), store.Txn{Puts: []store.Put{put}}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, store.ErrIncarnation) {
			t.Errorf("Run: %v, want ErrIncarnation", err)
		}
	case <-time.After(time.Minute):
		t.Error("the planner goes on in an incarnation that is over")
	}
}

// 200 hosts, 19,900 pairs, through real transactions.
func TestTwoHundredHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a while; not in -short")
	}
	f := newFleet(t)
	f.addHosts(1, 201)
	f.setMesh(time.Hour, 8*time.Hour)
	f.agents()
	began := time.Now()
	p, _ := f.planner(nil)
	f.eventually("200 hosts are up", 3*time.Minute, func() bool { return p.Stats().Advanced >= 2*19900 && f.up(200)() })
	s := p.Stats()
	t.Logf("19,900 pairs up after %v; %d transactions, %d conflicts", time.Since(began).Round(time.Millisecond), s.Transactions, s.Conflicts)
	if s.Created != 19900 {
		t.Errorf("%d generations were made for 19,900 pairs", s.Created)
	}
}
