package world

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

const incarnation = 7

// fleet writes records as the services do.
type fleet struct {
	t     *testing.T
	ctx   context.Context
	store *store.Store
	view  *store.View
	now   time.Time
}

func newFleet(t *testing.T) *fleet {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	s := storetest.New(t)
	view, err := s.View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(view.Close)
	return &fleet{t: t, ctx: ctx, store: s, view: view, now: time.Unix(1_700_000_000, 0)}
}

func (f *fleet) feed() *Feed {
	return New(Config{View: f.view, Incarnation: incarnation, Now: func() time.Time { return f.now }})
}

// running starts a feed that ends with the test.
func (f *fleet) running() *Feed {
	feed, done := f.feed(), make(chan struct{})
	ctx, cancel := context.WithCancel(f.ctx)
	go func() {
		defer close(done)
		feed.Run(ctx)
	}()
	f.t.Cleanup(func() { cancel(); <-done })
	return feed
}

func (f *fleet) commit(puts map[string]proto.Message, deletes ...string) int64 {
	f.t.Helper()
	txn := store.Txn{Deletes: deletes}
	for key, m := range puts {
		put, err := store.PutRecord(key, m)
		if err != nil {
			f.t.Fatal(err)
		}
		txn.Puts = append(txn.Puts, put)
	}
	revision, err := f.store.Commit(f.ctx, txn)
	if err != nil {
		f.t.Fatal(err)
	}
	return revision
}

func uidOf(n byte) plan.UID { return plan.UID{0: 0xa0, 7: n} }

func epochOf(n byte) plan.Epoch { return plan.Epoch{0: 0xe0, 15: n} }

func name(n byte) string { return fmt.Sprintf("host-%d", n) }

// host is a connected host with these labels.
func (f *fleet) host(n byte, labels map[string]string) map[string]proto.Message {
	uid, epoch := uidOf(n), epochOf(n)
	return map[string]proto.Message{
		"spec/host/" + name(n): &operatorv1.Host{
			Metadata: &operatorv1.Metadata{Name: name(n), Uid: hex.EncodeToString(uid[:]), Labels: labels},
			Spec:     &operatorv1.HostSpec{Endpoints: []string{fmt.Sprintf("192.0.2.%d", n)}},
		},
		"status/host/" + name(n): &operatorv1.HostStatus{Number: uint32(n), Addresses: []string{fmt.Sprintf("10.86.0.%d", n)}},
		"epoch/" + name(n):       &controllerv1.Epoch{HostUid: uid[:], Epoch: epoch[:], Stream: 1},
		"live/" + name(n):        &controllerv1.Live{Epoch: epoch[:], Stream: 1},
	}
}

func policyRecord(name, hosts string, priority int32) map[string]proto.Message {
	return map[string]proto.Message{"spec/policy/" + name: &operatorv1.Policy{
		Metadata: &operatorv1.Metadata{Name: name},
		Spec: &operatorv1.PolicySpec{
			Hosts: hosts, Priority: priority, Proposal: "aes256gcm16", Start: "always",
			Lifetime: &operatorv1.PolicyLifetime{RekeyTime: durationpb.New(time.Hour), HardTime: durationpb.New(8 * time.Hour)},
		},
	}}
}

// generation is an SA pair of hosts a < b in a phase.
func (f *fleet) generation(a, b byte, number uint32, phase plan.Phase) map[string]proto.Message {
	pair := plan.PairOf(uidOf(a), uidOf(b))
	return map[string]proto.Message{store.SAPhaseKey(store.PairID(pair), number): GenerationRecord(plan.Generation{
		Phase: phase, EpochA: epochOf(a), EpochB: epochOf(b), Incarnation: incarnation,
		Create: uint32(f.now.Unix()), Hard: uint32(f.now.Add(8 * time.Hour).Unix()),
		Transform: plan.Transform{ID: 20, KeyBits: 256, ESN: true},
	})}
}

func (f *fleet) wait(feed *Feed, revision int64) {
	f.t.Helper()
	if err := feed.WaitRevision(f.ctx, revision); err != nil {
		f.t.Fatal(err)
	}
}

// summary is what a state says, in a form that can be compared.
func summary(feed *Feed) string {
	var lines []string
	feed.Read(func(s State) {
		lines = append(lines, fmt.Sprintf("hosts %d pairs %d up %d", s.World.HostCount(), s.World.PairCount(), s.PairsUp()))
		for h := range s.World.Hosts() {
			lines = append(lines, fmt.Sprintf("%s %s live %t labels %v wanted %d up %d", h.Name, h.UID, h.Live, h.Labels, s.World.PairCountOf(h.UID), s.PairsUpOf(h.UID)))
		}
		for p := range s.World.Policies() {
			selected, pairs := s.World.Selection(p.Name)
			lines = append(lines, fmt.Sprintf("policy %s rev %d hosts %d pairs %d up %d", p.Name, p.Revision, selected, pairs, s.PairsUpUnder(p.Name)))
		}
	})
	slices.Sort(lines)
	return fmt.Sprint(lines)
}

func TestFeedCountsPairs(t *testing.T) {
	f := newFleet(t)
	feed := f.running()
	for n := byte(1); n <= 3; n++ {
		f.commit(f.host(n, map[string]string{"site": "a"}))
	}
	f.commit(policyRecord("mesh", "site=a", 0))
	f.commit(f.generation(1, 2, 1, plan.Established))
	f.wait(feed, f.commit(f.generation(1, 3, 1, plan.Outbound)))
	check := func(when string, wanted, up, upOf1, underMesh int) {
		t.Helper()
		feed.Read(func(s State) {
			if s.World.PairCount() != wanted || s.PairsUp() != up || s.PairsUpOf(uidOf(1)) != upOf1 || s.PairsUpUnder("mesh") != underMesh {
				t.Errorf("%s: wanted %d up %d, of host 1 %d, under mesh %d; want %d %d %d %d", when,
					s.World.PairCount(), s.PairsUp(), s.PairsUpOf(uidOf(1)), s.PairsUpUnder("mesh"), wanted, up, upOf1, underMesh)
			}
		})
	}
	check("first", 3, 1, 1, 1)

	f.wait(feed, f.commit(f.generation(1, 3, 1, plan.Established)))
	check("second up", 3, 2, 2, 2)

	f.wait(feed, f.commit(policyRecord("better", "*", 10)))
	check("another policy wins", 3, 2, 2, 0)

	f.wait(feed, f.commit(nil, "spec/policy/better"))
	check("and is gone", 3, 2, 2, 2)

	f.wait(feed, f.commit(nil, "spec/host/host-3", "status/host/host-3", "epoch/host-3", "live/host-3"))
	check("a host is gone", 1, 1, 1, 1)

	f.wait(feed, f.commit(map[string]proto.Message{"epoch/host-2": &controllerv1.Epoch{
		HostUid: uidBytes(2), Epoch: make([]byte, 16),
	}}))
	check("an agent restarted", 1, 0, 0, 0)
}

func uidBytes(n byte) []byte {
	uid := uidOf(n)
	return uid[:]
}

// TestFeedEqualsFreshLoad writes at random and compares the feed that followed with one that starts anew.
func TestFeedEqualsFreshLoad(t *testing.T) {
	f := newFleet(t)
	feed := f.running()
	r := rand.New(rand.NewPCG(1, 2))
	const hosts = 8
	var last int64
	for step := range 300 {
		a, b := byte(1+r.IntN(hosts-1)), byte(0)
		b = a + 1 + byte(r.IntN(hosts-int(a)))
		switch r.IntN(8) {
		case 0, 1:
			last = f.commit(f.host(a, map[string]string{"site": string(rune('a' + r.IntN(2)))}))
		case 2:
			last = f.commit(nil, "spec/host/"+name(a), "status/host/"+name(a), "epoch/"+name(a), "live/"+name(a))
		case 3:
			last = f.commit(policyRecord(fmt.Sprintf("p%d", r.IntN(3)), []string{"*", "site=a", "site=b"}[r.IntN(3)], int32(r.IntN(3))))
		case 4:
			last = f.commit(nil, fmt.Sprintf("spec/policy/p%d", r.IntN(3)))
		case 5, 6:
			last = f.commit(f.generation(a, b, uint32(1+r.IntN(2)), plan.Phase(1+r.IntN(5))))
		case 7:
			last = f.commit(nil, store.SAPhaseKey(store.PairID(plan.PairOf(uidOf(a), uidOf(b))), uint32(1+r.IntN(2))))
		}
		if step%50 == 49 {
			f.wait(feed, last)
			if err := f.view.WaitRevision(f.ctx, last); err != nil {
				t.Fatal(err)
			}
			if got, want := summary(feed), summary(f.feed()); got != want {
				t.Fatalf("after step %d the feed says\n%s\nand a fresh one\n%s", step, got, want)
			}
		}
	}
}

func TestSubscriptionGetsOnlyItsPairs(t *testing.T) {
	f := newFleet(t)
	feed := f.running()
	all := maps.Clone(policyRecord("mesh", "*", 0))
	for n := byte(1); n <= 3; n++ {
		maps.Copy(all, f.host(n, nil))
	}
	f.wait(feed, f.commit(all))
	mine, third, every := feed.Subscribe(uidOf(1)), feed.Subscribe(uidOf(3)), feed.Subscribe(plan.UID{})
	defer mine.Close()
	defer third.Close()
	defer every.Close()

	f.commit(f.generation(2, 3, 1, plan.Inbound))
	revision := f.commit(f.generation(1, 2, 1, plan.Inbound))
	f.wait(feed, revision)
	got, err := mine.Next(f.ctx)
	if err != nil || len(got.Hosts) != 0 || !slices.Equal(got.Pairs, []plan.PairID{plan.PairOf(uidOf(1), uidOf(2))}) || got.Revision != revision {
		t.Errorf("host 1 got %+v, %v; want its one pair", got, err)
	}
	if got, err := third.Next(f.ctx); err != nil || !slices.Equal(got.Pairs, []plan.PairID{plan.PairOf(uidOf(2), uidOf(3))}) {
		t.Errorf("host 3 got %+v, %v; want its one pair", got, err)
	}
	if got, err := every.Next(f.ctx); err != nil || len(got.Pairs) != 2 {
		t.Errorf("everybody got %+v, %v; want two pairs", got, err)
	}

	moved := f.host(3, nil)
	moved["spec/host/host-3"].(*operatorv1.Host).Spec.Endpoints = []string{"198.51.100.3"}
	f.wait(feed, f.commit(moved))
	if got, err := mine.Next(f.ctx); err != nil || len(got.Hosts) != 0 || !slices.Equal(got.Pairs, []plan.PairID{plan.PairOf(uidOf(1), uidOf(3))}) {
		t.Errorf("host 1 got %+v, %v; want its pair with the host that moved", got, err)
	}
	if got, err := every.Next(f.ctx); err != nil || !slices.Equal(got.Hosts, []plan.UID{uidOf(3)}) {
		t.Errorf("everybody got %+v, %v; want host 3", got, err)
	}

	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	if got, err := mine.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %+v, %v after everything was taken; want nothing", got, err)
	}
	mine.Close()
	if _, err := mine.Next(f.ctx); !errors.Is(err, store.ErrClosed) {
		t.Errorf("error %v after Close, want ErrClosed", err)
	}
}

// TestWaitRevisionOutside waits for a revision that changes nothing of the world's keys.
func TestWaitRevisionOutside(t *testing.T) {
	f := newFleet(t)
	feed := f.running()
	for range 20 {
		revision, err := storetest.Client(t).Put(f.ctx, fmt.Sprintf("/elsewhere/%s/%d", t.Name(), rand.Uint64()), "v")
		if err != nil {
			t.Fatal(err)
		}
		f.wait(feed, revision.Header.Revision)
	}
}

// TestWaitRevisionBeforeRun asks before the feed has begun to follow.
func TestWaitRevisionBeforeRun(t *testing.T) {
	f := newFleet(t)
	feed := f.feed()
	revision, err := storetest.Client(t).Put(f.ctx, "/elsewhere/"+t.Name(), "v")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(f.ctx, sweepEvery/4)
	defer cancel()
	waited, ran := make(chan error, 1), make(chan struct{})
	go func() { waited <- feed.WaitRevision(ctx, revision.Header.Revision) }()
	for asked := false; !asked; {
		feed.mu.Lock()
		asked = feed.wanted > 0
		feed.mu.Unlock()
		if ctx.Err() != nil {
			t.Fatal("nobody asked")
		}
	}
	go func() { defer close(ran); feed.Run(ctx) }()
	if err := <-waited; err != nil {
		t.Errorf("error %v, want that the revision is reached", err)
	}
	cancel()
	<-ran
}

// TestHostMadeAgain: a host that was deleted and made again between two looks is another one.
func TestHostMadeAgain(t *testing.T) {
	f := newFleet(t)
	feed := f.running()
	f.wait(feed, f.commit(f.host(1, nil)))
	again := f.host(1, nil)
	again["spec/host/host-1"].(*operatorv1.Host).Metadata.Uid = uidOf(9).String()
	f.wait(feed, f.commit(again))
	feed.Read(func(s State) {
		_, old := s.World.Host(uidOf(1))
		h, made := s.World.Host(uidOf(9))
		if old || !made || h.Live || s.World.HostCount() != 1 {
			t.Errorf("the old host is there: %t, the new one: %t; %d hosts; want the new one only, not connected", old, made, s.World.HostCount())
		}
	})
}

func TestTallyExpires(t *testing.T) {
	f := newFleet(t)
	all := policyRecord("mesh", "*", 0)
	maps.Copy(all, f.host(1, nil))
	maps.Copy(all, f.host(2, nil))
	maps.Copy(all, f.generation(1, 2, 1, plan.Established))
	if err := f.view.WaitRevision(f.ctx, f.commit(all)); err != nil {
		t.Fatal(err)
	}
	feed := f.feed()
	for _, tt := range []struct {
		at time.Duration
		up int
	}{{0, 1}, {8*time.Hour - time.Second, 1}, {8*time.Hour + sweepEvery, 0}} {
		f.now = time.Unix(1_700_000_000, 0).Add(tt.at)
		feed.sweep()
		feed.Read(func(s State) {
			if s.PairsUp() != tt.up {
				t.Errorf("after %v: %d pairs up, want %d", tt.at, s.PairsUp(), tt.up)
			}
		})
	}
}

func TestLateKeys(t *testing.T) {
	f := newFleet(t)
	all := policyRecord("mesh", "*", 0)
	for n := byte(1); n <= 3; n++ {
		maps.Copy(all, f.host(n, nil))
	}
	maps.Copy(all, f.generation(1, 2, 1, plan.Established)) // rekey after 1 h, ends after 8
	short := f.generation(1, 3, 1, plan.Established)        // rekey after 2 min, ends after 10
	for _, m := range short {
		r := m.(*controllerv1.GenerationPhase)
		r.SoftTime, r.HardTime = r.GetCreateTime()+120, r.GetCreateTime()+600
	}
	maps.Copy(all, short)
	if err := f.view.WaitRevision(f.ctx, f.commit(all)); err != nil {
		t.Fatal(err)
	}
	f.feed().Read(func(s State) {
		for _, tt := range []struct {
			after time.Duration
			late  int
			stops time.Duration
		}{
			{0, 0, 0}, {2 * time.Minute, 0, 0}, {3 * time.Minute, 1, 10 * time.Minute},
			{6*time.Hour - time.Second, 1, 10 * time.Minute}, {6 * time.Hour, 2, 10 * time.Minute},
		} {
			begin := time.Unix(1_700_000_000, 0)
			late, stops := s.Late(begin.Add(tt.after))
			if late != tt.late || late > 0 && !stops.Equal(begin.Add(tt.stops)) {
				t.Errorf("after %v: %d late, the first stops after %v; want %d, %v", tt.after, late, stops.Sub(begin), tt.late, tt.stops)
			}
		}
	})
}

func TestHeldPairs(t *testing.T) {
	f := newFleet(t)
	hosts := maps.Clone(f.host(1, nil))
	maps.Copy(hosts, f.host(2, nil))
	f.commit(hosts)
	feed := f.running()
	held := func(of *Feed) (pairs []plan.PairID) {
		of.Read(func(s State) { pairs = s.Held() })
		return pairs
	}
	want := []plan.PairID{plan.PairOf(uidOf(1), uidOf(2))}
	f.wait(feed, f.commit(f.generation(1, 2, 1, plan.Established)))
	if got, fresh := held(feed), held(f.feed()); !slices.Equal(got, want) || !slices.Equal(fresh, want) {
		t.Errorf("held: %v, to a fresh feed %v; want %v", got, fresh, want)
	}
	f.wait(feed, f.commit(f.generation(1, 2, 1, plan.Deleting)))
	if got := held(feed); len(got) != 0 {
		t.Errorf("what is being deleted is held: %v", got)
	}
	f.wait(feed, f.commit(f.generation(1, 2, 2, plan.Draining)))
	if got := held(feed); !slices.Equal(got, want) {
		t.Errorf("held: %v, want %v", got, want)
	}
	revision, err := f.store.Commit(f.ctx, store.Txn{Puts: []store.Put{{Key: "intent/confirm/host-2", Value: []byte("x")}}})
	if err != nil {
		t.Fatal(err)
	}
	f.wait(feed, revision)
	if got := held(feed); len(got) != 0 {
		t.Errorf("what is confirmed is held: %v", got)
	}
}

// TestUnreadableRecordKeepsWhatWasKnown: a broken record must not look like a deletion.
func TestUnreadableRecordKeepsWhatWasKnown(t *testing.T) {
	f := newFleet(t)
	feed := f.running()
	f.wait(feed, f.commit(f.host(1, nil)))
	revision, err := f.store.Commit(f.ctx, store.Txn{Puts: []store.Put{{Key: "spec/host/host-1", Value: []byte("\xff")}}})
	if err != nil {
		t.Fatal(err)
	}
	f.wait(feed, revision)
	feed.Read(func(s State) {
		if _, ok := s.World.Host(uidOf(1)); !ok {
			t.Error("the host is gone because its record cannot be read")
		}
	})
}

// TestIntentsWitnessDeletions: a planner that starts after a deletion knows that it was meant.
func TestIntentsWitnessDeletions(t *testing.T) {
	f := newFleet(t)
	all := maps.Clone(f.host(1, nil))
	maps.Copy(all, f.host(2, nil))
	created := f.commit(all)
	pair := plan.PairOf(uidOf(1), uidOf(3))
	explained := func(feed *Feed) (yes bool) {
		feed.Read(func(s State) { yes = s.World.Explained(pair, created) })
		return yes
	}
	following := f.running()
	if explained(following) {
		t.Fatal("the absence of host 3 is explained by nothing")
	}
	touched := following.Subscribe(plan.UID{})
	defer touched.Close()
	f.commit(f.generation(1, 3, 1, plan.Established))

	for key, value := range map[string]string{
		"intent/host/host-3": uidOf(3).String(), "intent/policy/mesh": "", "intent/confirm/host-1": "", "intent/confirm/ALL": "",
	} {
		revision, err := f.store.Commit(f.ctx, store.Txn{Puts: []store.Put{{Key: key, Value: []byte(value)}}})
		if err != nil {
			t.Fatal(err)
		}
		f.wait(following, revision)
		if fresh := f.feed(); !explained(following) || !explained(fresh) {
			t.Errorf("%s explains it to the feed that ran: %t, to a fresh one: %t; want both", key, explained(following), explained(fresh))
		}
		created = revision // what is made from now on is not explained by it
		if explained(following) {
			t.Errorf("%s explains what was made after it", key)
		}
	}
	if got, err := touched.Next(f.ctx); err != nil || !slices.Equal(got.Pairs, []plan.PairID{pair}) {
		t.Errorf("touched %v, %v, want %s", got.Pairs, err, pair)
	}
}
