package planner_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/planner"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
	"sallyport.dev/sallyport/services/world"
)

// fleet is a store with hosts and policies, and agents that are modelled by one goroutine: it acks
// whatever a phase asks for, as services/fleet would.
type fleet struct {
	t     testing.TB
	store *store.Store
	feed  *world.Feed
	view  *store.View
	serve sync.WaitGroup
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	return joinFleet(t, storetest.New(t))
}

// joinFleet is one more process on a fleet's store, with a view and a feed of its own.
func joinFleet(t testing.TB, s *store.Store) *fleet {
	t.Helper()
	f := &fleet{t: t, store: s}
	ctx, stop := context.WithCancel(context.Background())
	view, err := s.View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f.view, f.feed = view, world.New(world.Config{View: view, Incarnation: 1})
	f.serve.Go(func() { f.feed.Run(ctx) })
	t.Cleanup(func() { // before the store's, which closes it
		stop()
		view.Close()
		f.serve.Wait()
	})
	return f
}

// uid is the host's identifier: its number.
func uid(n int) (u plan.UID) {
	binary.BigEndian.PutUint64(u[:], uint64(n))
	return u
}

func epoch(n, life int) (e plan.Epoch) {
	binary.BigEndian.PutUint64(e[:], uint64(n))
	binary.BigEndian.PutUint64(e[8:], uint64(life))
	return e
}

func hostName(n int) string { return fmt.Sprintf("host-%d", n) }

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func (f *fleet) put(key string, m proto.Message) store.Put { return must(store.PutRecord(key, m)) }

func (f *fleet) commit(t store.Txn) {
	f.t.Helper()
	if _, err := f.store.Commit(f.t.Context(), t); err != nil {
		f.t.Fatal(err)
	}
}

// addHosts makes hosts from to to-1, connected in their first life.
func (f *fleet) addHosts(from, to int) {
	f.t.Helper()
	for n := from; n < to; n++ {
		u, name := uid(n), hostName(n)
		puts := []store.Put{
			f.put(must(store.SpecKey(store.KindHost, name)), &operatorv1.Host{
				Metadata: &operatorv1.Metadata{Name: name, Uid: u.String()}, Spec: &operatorv1.HostSpec{},
			}),
			f.put(must(store.StatusKey(store.KindHost, name)), &operatorv1.HostStatus{
				ObservedAddress: fmt.Sprintf("192.0.%d.%d", n/250, n%250+1), EspPort: 4500,
			}),
		}
		f.commit(store.Txn{Puts: append(puts, f.life(n, 1)...)})
	}
}

// life is the epoch and the live record of a host.
func (f *fleet) life(n, life int) []store.Put {
	u, e := uid(n), epoch(n, life)
	return []store.Put{
		f.put(must(store.EpochKey(hostName(n))), &controllerv1.Epoch{HostUid: u[:], Epoch: e[:], Stream: 1}),
		f.put(must(store.LiveKey(hostName(n))), &controllerv1.Live{Epoch: e[:], Stream: 1}),
	}
}

func (f *fleet) restart(n, life int) { f.commit(store.Txn{Puts: f.life(n, life)}) }

func (f *fleet) setMesh(rekey, hard time.Duration) {
	f.commit(store.Txn{Puts: []store.Put{f.put(must(store.SpecKey(store.KindPolicy, "mesh")), &operatorv1.Policy{
		Metadata: &operatorv1.Metadata{Name: "mesh"},
		Spec: &operatorv1.PolicySpec{
			Hosts: "*", Start: "always", Proposal: "aes256gcm16",
			Lifetime: &operatorv1.PolicyLifetime{RekeyTime: durationpb.New(rekey), HardTime: durationpb.New(hard), RekeyBytes: 1 << 40},
		},
	})}})
}

func (f *fleet) removeMesh() {
	f.commit(store.Txn{Deletes: []string{must(store.SpecKey(store.KindPolicy, "mesh"))}})
}

// planner starts a planner of this process; stop ends it and waits.
func (f *fleet) planner(change func(*planner.Config)) (p *planner.Planner, stop func() error) {
	f.t.Helper()
	c := planner.Config{Store: f.store, Feed: f.feed, Identity: "test", Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	p, err := planner.New(c)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	f.t.Cleanup(func() { stop() })
	return p, stop
}

// agents acks everything until the test ends.
func (f *fleet) agents() {
	ctx, cancel := context.WithCancel(context.Background())
	sub := f.view.Subscribe(store.SAPhasePrefix)
	var done sync.WaitGroup
	done.Go(func() { f.answer(ctx, sub) })
	f.t.Cleanup(func() {
		cancel()
		sub.Close()
		done.Wait()
	})
}

func (f *fleet) answer(ctx context.Context, sub *store.Subscription) {
	var open []store.KV
	sub.Start().Range(store.SAPhasePrefix, func(kv store.KV) bool {
		open = append(open, kv)
		return true
	})
	for {
		for len(open) > 0 && ctx.Err() == nil {
			n := min(len(open), 100)
			if !f.ack(ctx, open[:n]) { // something changed meanwhile: each on its own
				for i := range open[:n] {
					f.ack(ctx, open[i:i+1])
				}
			}
			open = open[n:]
		}
		batch, err := sub.Next(ctx)
		if err != nil {
			return
		}
		for _, c := range batch.Changes {
			if c.New != nil {
				open = append(open, *c.New)
			}
		}
	}
}

// ack writes what both agents answer to some records; false when one has changed.
func (f *fleet) ack(ctx context.Context, records []store.KV) bool {
	var t store.Txn
	for _, kv := range records {
		_, g, err := world.Generation(kv)
		if err != nil {
			f.t.Error(err)
			return true
		}
		acks := g.Acks | asked(g.Phase)
		if acks == g.Acks {
			continue
		}
		g.Acks = acks
		t.Compares = append(t.Compares, store.Unchanged(kv.Key, kv.ModRevision))
		t.Puts = append(t.Puts, f.put(kv.Key, world.GenerationRecord(g)))
	}
	if len(t.Puts) == 0 {
		return true
	}
	_, err := f.store.Commit(ctx, t)
	for errors.Is(err, store.ErrUnavailable) && ctx.Err() == nil { // repeating is safe: it compares
		_, err = f.store.Commit(ctx, t)
	}
	if err != nil && !errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
		f.t.Errorf("ack: %v", err)
	}
	return err == nil
}

func asked(p plan.Phase) plan.Acks {
	switch p {
	case plan.Inbound:
		return plan.InA | plan.InB
	case plan.Outbound, plan.Established:
		return plan.InA | plan.InB | plan.OutA | plan.OutB
	case plan.Draining:
		return plan.OutDeletedA | plan.OutDeletedB
	}
	return plan.OutDeletedA | plan.OutDeletedB | plan.DeletedA | plan.DeletedB
}

// generations reads every generation from etcd itself.
func (f *fleet) generations() map[plan.PairID][]plan.Generation {
	f.t.Helper()
	kvs, _, err := f.store.List(f.t.Context(), store.SAPhasePrefix, store.ListOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
	out := make(map[plan.PairID][]plan.Generation)
	for _, kv := range kvs {
		id, g, err := world.Generation(kv)
		if err != nil {
			f.t.Fatal(err)
		}
		out[id] = append(out[id], g)
	}
	return out
}

// eventually waits until ok holds; the store is the only thing that tells.
func (f *fleet) eventually(what string, within time.Duration, ok func() bool) {
	f.t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			f.t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// up reports whether exactly the pairs of n hosts are up, each with one established generation.
func (f *fleet) up(n int) func() bool {
	return func() bool {
		pairs := 0
		f.feed.Read(func(s world.State) { pairs = s.PairsUp() })
		if pairs != n*(n-1)/2 {
			return false
		}
		gens := f.generations()
		for _, gs := range gens {
			if len(gs) != 1 || gs[0].Phase != plan.Established {
				return false
			}
		}
		return len(gens) == pairs
	}
}
