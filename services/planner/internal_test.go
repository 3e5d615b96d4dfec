package planner

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/protocol/transform"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
	"sallyport.dev/sallyport/services/world"
)

// stand is a reign that is turned by hand, on a store with a mesh of connected hosts.
type stand struct {
	*reign
	t     *testing.T
	store *store.Store
	lead  *store.Leadership
}

func newStand(t *testing.T, hosts int) *stand {
	t.Helper()
	s := storetest.New(t)
	for n := 1; n <= hosts; n++ {
		connectHost(t, s, n, 1)
	}
	spec := &operatorv1.Policy{Metadata: &operatorv1.Metadata{Name: "mesh"}, Spec: &operatorv1.PolicySpec{
		Hosts: "*", Proposal: "chacha20poly1305",
		Lifetime: &operatorv1.PolicyLifetime{RekeyTime: durationpb.New(time.Hour), HardTime: durationpb.New(8 * time.Hour)},
	}}
	commit(t, s, store.Txn{Puts: []store.Put{record(t, must(store.SpecKey(store.KindPolicy, "mesh")), spec)}})
	ctx, stop := context.WithCancel(context.Background())
	view := must(s.View(ctx))
	feed := world.New(world.Config{View: view, Incarnation: 1})
	ended := make(chan error, 1)
	go func() { ended <- feed.Run(ctx) }()
	t.Cleanup(func() { stop(); view.Close(); <-ended })
	p := must(New(Config{Store: s, Feed: feed, Identity: "test", Log: slog.New(slog.DiscardHandler)}))
	lead := must(s.Campaign(t.Context(), leaderName, "test"))
	r := &stand{reign: newReign(p, lead.Fence()), t: t, store: s, lead: lead}
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func record(t *testing.T, key string, m proto.Message) store.Put {
	t.Helper()
	return must(store.PutRecord(key, m))
}

func commit(t *testing.T, s *store.Store, txn store.Txn) {
	t.Helper()
	if _, err := s.Commit(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
}

func hostUID(n int) (u plan.UID) {
	binary.BigEndian.PutUint64(u[:], uint64(n))
	return u
}

// connectHost makes a host and connects a life of its agent.
func connectHost(t *testing.T, s *store.Store, n, life int) {
	t.Helper()
	name, u := fmt.Sprintf("host-%d", n), hostUID(n)
	var e plan.Epoch
	binary.BigEndian.PutUint64(e[:], uint64(n))
	binary.BigEndian.PutUint64(e[8:], uint64(life))
	commit(t, s, store.Txn{Puts: []store.Put{
		record(t, must(store.SpecKey(store.KindHost, name)), &operatorv1.Host{Metadata: &operatorv1.Metadata{Name: name, Uid: u.String()}}),
		record(t, must(store.StatusKey(store.KindHost, name)), &operatorv1.HostStatus{ObservedAddress: "192.0.2.1"}),
		record(t, must(store.EpochKey(name)), &controllerv1.Epoch{HostUid: u[:], Epoch: e[:], Stream: 1}),
		record(t, must(store.LiveKey(name)), &controllerv1.Live{Epoch: e[:], Stream: 1}),
	}})
}

func (s *stand) keys(prefix string) []store.KV {
	s.t.Helper()
	kvs, _, err := s.store.List(s.t.Context(), prefix, store.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return kvs
}

// The transaction of a planner whose leadership is gone fails as a whole, and says so.
func TestDeposedWriteFails(t *testing.T) {
	s := newStand(t, 4)
	if err := s.lead.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := s.turn(t.Context())
	if !s.deposed(err) {
		t.Fatalf("turn: %v, want a conflict on %s", err, s.fence.Key())
	}
	if n := len(s.keys("sa/")); n > 0 {
		t.Errorf("a deposed planner wrote %d keys", n)
	}
}

// A decision that something has changed under is not written, and made again from what is there then.
func TestConflict(t *testing.T) {
	for name, change := range map[string]func(*stand){
		"an agent restarted": func(s *stand) { connectHost(t, s.store, 1, 2) },
		"the policy changed": func(s *stand) {
			key := must(store.SpecKey(store.KindPolicy, "mesh"))
			kv := must(s.store.Get(t.Context(), key))
			commit(t, s.store, store.Txn{Puts: []store.Put{{Key: key, Value: kv.Value}}})
		},
		"somebody made the generation": func(s *stand) {
			id := plan.PairOf(hostUID(1), hostUID(2))
			g := plan.Generation{Number: 1, Phase: plan.Inbound, Incarnation: 1, Create: 1, Soft: 2, Hard: math.MaxUint32}
			commit(t, s.store, store.Txn{Puts: []store.Put{record(t, store.SAPhaseKey(store.PairID(id), 1), world.GenerationRecord(g))}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, 3)
			works := s.decide(s.queue.take(10), s.config.Now())
			if len(works) != 3 {
				t.Fatalf("%d works", len(works))
			}
			change(s)
			if err := s.write(t.Context(), works); err != nil {
				t.Fatal(err)
			}
			if n := len(s.keys(store.SAKeyPrefix)); n > 0 {
				t.Fatalf("%d keys were written", n)
			}
			if st := s.Stats(); st.Conflicts != 1 || st.Created != 0 || s.queue.len() != 3 || len(s.shy) != 3 {
				t.Fatalf("stats %+v, %d pairs wait", st, s.queue.len())
			}
			for uid, spis := range s.spis {
				t.Errorf("host %s keeps %d SPIs of generations that are not", uid, len(spis))
			}
			if err := s.turn(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(s.keys(store.SAKeyPrefix)); n != 3 || len(s.shy) > 0 {
				t.Errorf("%d keys after the second try, want 3; %d are shy", n, len(s.shy))
			}
		})
	}
}

// Rounds are written in few transactions within etcd's bounds.
func TestPacking(t *testing.T) {
	s := newStand(t, 40)
	for s.queue.len() > 0 {
		if err := s.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, st := len(s.keys(store.SAKeyPrefix)), s.Stats(); n != 780 || st.Transactions > 30 || st.Conflicts > 0 {
		t.Errorf("%d keys by %d transactions, %d conflicts", n, st.Transactions, st.Conflicts)
	}
	works := s.decide(nil, s.config.Now())
	if packets := s.pack(works); len(packets) > 0 {
		t.Errorf("nothing makes %d transactions", len(packets))
	}
}

// The moving record stays small whatever it holds.
func TestPhaseRecordSize(t *testing.T) {
	most := plan.Generation{
		Number: math.MaxUint32, Phase: plan.Deleting, Acks: math.MaxUint8, Incarnation: math.MaxUint64,
		Create: math.MaxUint32, PhaseTime: math.MaxUint32, Soft: math.MaxUint32, Hard: math.MaxUint32,
		RefusedBelow: math.MaxUint32, SPIAB: math.MaxUint32, SPIBA: math.MaxUint32,
		Transform: plan.Transform{ID: 12, KeyBits: 256, Integrity: transform.IntegBLAKE2s128, ESN: true},
	}
	b := must(store.Encode(world.GenerationRecord(most)))
	if len(b) > 128 {
		t.Errorf("the record has %d bytes, at most 128 are allowed", len(b))
	}
}

// A tombstone that no operator asked for passes while few do, and waits with the others above a tenth.
func TestHoldTenth(t *testing.T) {
	s := newStand(t, 2)
	d := decider{reign: s.reign, now: s.config.Now()}
	a := hostUID(1)
	for n := range 20 {
		s.spis.add(a, uint32(n))
	}
	for n := range uint32(2000) {
		s.spis.add(hostUID(9), n)
	}
	passed := 0
	for range 20 {
		if d.pass(plan.PairOf(a, hostUID(9)), 1) {
			passed++
		}
	}
	if passed != 2 {
		t.Errorf("%d of 20 deletions passed, want 2", passed)
	}
}

func TestSPITable(t *testing.T) {
	table, host := make(spiTable), hostUID(1)
	// The same number comes twice, then another.
	random := bytes.NewReader([]byte{1, 2, 3, 1, 2, 3, 4, 5, 6})
	if spi := must(table.pick(random, 7, host)); spi != 0x07010203 {
		t.Errorf("SPI %#x", spi)
	}
	if spi := must(table.pick(random, 7, host)); spi != 0x07040506 {
		t.Errorf("SPI %#x, want the one that is free", spi)
	}
	if _, err := table.pick(random, 7, host); err == nil {
		t.Error("an SPI without random numbers")
	}
	if _, err := table.pick(bytes.NewReader(make([]byte, 3*spiTries+3)), 0, host); err != nil {
		t.Error(err)
	}
	if _, err := table.pick(bytes.NewReader(make([]byte, 3*spiTries)), 0, host); err == nil {
		t.Error("an SPI that is taken")
	}
	id := plan.PairOf(host, hostUID(2))
	g := &plan.Generation{SPIAB: 1 << 24, SPIBA: 2 << 24}
	table.note(id, g)
	if table.generations(host) != 4 || table.generations(hostUID(2)) != 1 {
		t.Errorf("%d and %d generations", table.generations(host), table.generations(hostUID(2)))
	}
	table.forget(id, g)
	if table.generations(host) != 3 || table.generations(hostUID(2)) != 0 {
		t.Errorf("%d and %d generations", table.generations(host), table.generations(hostUID(2)))
	}
}

func TestQueue(t *testing.T) {
	q, now := newQueue(), time.Unix(1000, 0)
	ids := make([]plan.PairID, 5)
	for i := range ids {
		ids[i] = plan.PairOf(hostUID(1), hostUID(i+2))
		q.add(ids[i])
		q.add(ids[0])
	}
	if got := q.take(2); !slices.Equal(got, ids[:2]) || q.len() != 3 {
		t.Errorf("took %v, %d left", got, q.len())
	}
	q.add(ids[0])
	if got := q.take(9); !slices.Equal(got, append(slices.Clone(ids[2:]), ids[0])) || q.len() != 0 {
		t.Errorf("took %v, %d left", got, q.len())
	}
	q.at(ids[0], now.Add(3*time.Second))
	q.at(ids[1], now.Add(2*time.Second))
	q.at(ids[2], now.Add(1*time.Second))
	q.at(ids[0], now.Add(1*time.Second)) // earlier
	q.at(ids[1], now.Add(9*time.Second)) // later
	q.at(ids[2], time.Time{})            // never
	if q.due(now); q.len() != 0 {
		t.Errorf("%d are due too early", q.len())
	}
	if q.due(now.Add(5 * time.Second)); q.len() != 1 || q.take(1)[0] != ids[0] {
		t.Error("the first deadline is not that of pair 0")
	}
	if q.due(now.Add(9 * time.Second)); q.len() != 1 || q.take(1)[0] != ids[1] {
		t.Error("the second deadline is not that of pair 1")
	}
	if q.due(now.Add(time.Hour)); q.len() != 0 || len(q.later) != 0 || len(q.when) != 0 {
		t.Error("something is left")
	}
}

// soft is the limit less the jitter in time, and never more.
func TestSoft(t *testing.T) {
	life := plan.Lifetime{Rekey: time.Hour}
	g := &plan.Generation{Create: 1000, Soft: 1000 + 3600 - 360}
	for limit, want := range map[uint64]uint64{0: 0, 3600: 3240, 100: 100, math.MaxUint64: math.MaxUint64 - math.MaxUint64/3600*360} {
		if got := soft(g, life, limit); got != want {
			t.Errorf("soft limit of %d is %d, want %d", limit, got, want)
		}
	}
	if got := soft(g, plan.Lifetime{}, 7); got != 7 {
		t.Errorf("without a rekey time: %d", got)
	}
}

// Keys come from the configured source, and two generations never share one.
func TestKeysAreFresh(t *testing.T) {
	s := newStand(t, 2)
	seen := make(map[string]bool)
	id := plan.PairOf(hostUID(1), hostUID(2))
	for n := range uint32(50) {
		g := plan.Generation{Number: n + 1, Hard: uint32(time.Now().Add(time.Hour).Unix()), Transform: plan.Transform{ID: 28, ESN: true}}
		put := must(s.sealedKey(id, &g, plan.Lifetime{}))
		var k controllerv1.GenerationKey
		plain := must(s.store.UnsealTraffic(put.Key, put.Value))
		if err := store.Decode(store.KV{Value: plain}, &k); err != nil {
			t.Fatal(err)
		}
		for _, key := range [][]byte{k.GetKeyAToB(), k.GetKeyBToA()} {
			if len(key) != 36 || seen[string(key)] {
				t.Fatalf("a key of %d bytes, seen before: %v", len(key), seen[string(key)])
			}
			seen[string(key)] = true
		}
	}
	for _, suite := range append(transform.Suites(), transform.InsecureSuites()...) {
		g := plan.Generation{Number: 1, Hard: uint32(time.Now().Add(time.Hour).Unix()), Transform: plan.TransformOf(suite, true)}
		put := must(s.sealedKey(id, &g, plan.Lifetime{}))
		var k controllerv1.GenerationKey
		if err := store.Decode(store.KV{Value: must(s.store.UnsealTraffic(put.Key, put.Value))}, &k); err != nil {
			t.Fatal(err)
		}
		if len(k.GetKeyAToB()) != suite.KeymatLen() || len(k.GetKeyBToA()) != suite.KeymatLen() ||
			uint16(k.GetTransform().GetIntegrity()) != suite.Integrity.ID {
			t.Errorf("%v: keys of %d and %d bytes, want %d; transform %v", suite, len(k.GetKeyAToB()), len(k.GetKeyBToA()), suite.KeymatLen(), k.GetTransform())
		}
	}
	s.config.Random = bytes.NewReader(make([]byte, 10))
	g := plan.Generation{Number: 1, Hard: uint32(time.Now().Add(time.Hour).Unix()), Transform: plan.Transform{ID: 28}}
	if _, err := s.sealedKey(id, &g, plan.Lifetime{}); err == nil {
		t.Error("a key without random numbers")
	}
	s.config.Random = rand.Reader
}
