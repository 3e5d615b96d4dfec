package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func view(t *testing.T, s *store.Store) *store.View {
	t.Helper()
	v, err := s.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// seen is what a snapshot holds under a prefix.
func seen(s *store.Snapshot, prefix string) map[string]string {
	out := make(map[string]string)
	s.Range(prefix, func(kv store.KV) bool {
		out[kv.Key] = string(kv.Value)
		return true
	})
	return out
}

func next(t *testing.T, sub *store.Subscription) store.Batch {
	t.Helper()
	return must(sub.Next(bounded(t)))(t)
}

func TestViewStartsFullAndFollows(t *testing.T) {
	s := storetest.New(t)
	first := put(t, s, "spec/host/a", "1", "spec/policy/p", "1")
	v := view(t, s)
	if v.Revision() < first {
		t.Errorf("revision %d, want at least %d", v.Revision(), first)
	}
	if kv, ok := v.Get("spec/host/a"); !ok || string(kv.Value) != "1" || kv.ModRevision != first {
		t.Errorf("Get = %+v, %v", kv, ok)
	}
	old := v.Snapshot()
	put(t, s, "spec/host/b", "2")
	last := remove(t, s, "spec/host/a")
	if err := v.WaitRevision(bounded(t), last); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(seen(v.Snapshot(), "spec/host/")); got != "map[spec/host/b:2]" {
		t.Errorf("now: %s", got)
	}
	if got := fmt.Sprint(seen(old, "spec/host/")); got != "map[spec/host/a:1]" || old.Len() != 2 {
		t.Errorf("an old snapshot changed: %s, %d keys", got, old.Len())
	}
}

func TestViewHidesSAKeys(t *testing.T) {
	s := storetest.New(t)
	pair := store.PairID{1}
	put(t, s, store.SAKey(pair, 1), "sealed", store.SAPhaseKey(pair, 1), "phase")
	v := view(t, s)
	sub := v.Subscribe()
	last := put(t, s, store.SAKey(pair, 2), "sealed", store.SAPhaseKey(pair, 2), "phase", "spec/z", "v")
	if err := v.WaitRevision(bounded(t), last); err != nil {
		t.Fatal(err)
	}
	if got := seen(v.Snapshot(), ""); len(got) != 3 || got[store.SAPhaseKey(pair, 2)] != "phase" {
		t.Errorf("view holds %v", got)
	}
	if batch := next(t, sub); len(batch.Changes) != 2 || batch.Changes[0].Key != store.SAPhaseKey(pair, 2) {
		t.Errorf("changes %+v", batch.Changes)
	}
}

// A writer moves two keys together; no reader ever sees them apart.
func TestRevisionIsAppliedWhole(t *testing.T) {
	s := storetest.New(t)
	put(t, s, "spec/host/a", "0", "status/host/z", "0")
	v := view(t, s)
	sub := v.Subscribe()
	const writes = 300
	ctx := bounded(t)
	failed := make(chan error, 1)
	go func() {
		for i := range writes {
			value := []byte(fmt.Sprint(i + 1))
			_, err := s.Commit(ctx, store.Txn{Puts: []store.Put{{Key: "status/host/z", Value: value}, {Key: "spec/host/a", Value: value}}})
			if err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	same := func(what string, s *store.Snapshot) string {
		a, _ := s.Get("spec/host/a")
		z, _ := s.Get("status/host/z")
		if string(a.Value) != string(z.Value) || a.ModRevision != z.ModRevision || a.ModRevision > s.Revision() {
			t.Fatalf("%s at %d: a is %s of %d, z is %s of %d", what, s.Revision(), a.Value, a.ModRevision, z.Value, z.ModRevision)
		}
		return string(a.Value)
	}
	batches := 0
	for last := ""; last != fmt.Sprint(writes); batches++ {
		same("snapshot", v.Snapshot())
		batch := next(t, sub)
		if len(batch.Changes) != 2 || batch.Changes[0].New.ModRevision != batch.Changes[1].New.ModRevision {
			t.Fatalf("a batch holds part of a revision: %+v", batch.Changes)
		}
		if batch.State.Revision() != batch.Revision {
			t.Fatalf("state of %d in a batch of %d", batch.State.Revision(), batch.Revision)
		}
		last = same("batch", batch.State)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d writes in %d batches", writes, batches)
}

func TestLargestRevisionIsOneBatch(t *testing.T) {
	s := storetest.New(t)
	v := view(t, s)
	sub := v.Subscribe("spec/")
	var pairs []string
	for i := range store.MaxTxnOps {
		pairs = append(pairs, fmt.Sprintf("spec/host/h%03d", i), string(make([]byte, 7000)))
	}
	revision := put(t, s, pairs...)
	if batch := next(t, sub); len(batch.Changes) != store.MaxTxnOps || batch.Revision != revision {
		t.Errorf("%d changes at %d, want %d at %d", len(batch.Changes), batch.Revision, store.MaxTxnOps, revision)
	}
}

func TestSlowSubscriberGetsTheNetChange(t *testing.T) {
	s := storetest.New(t)
	put(t, s, "spec/host/kept", "0", "spec/host/gone", "0", "spec/host/back", "0")
	v := view(t, s)
	sub := v.Subscribe("spec/host/", "ipam")
	if got := seen(sub.Start(), "spec/host/"); len(got) != 3 {
		t.Fatalf("start state: %v", got)
	}
	for i := range 200 {
		put(t, s, "spec/host/kept", fmt.Sprint(i), "spec/host/brief", "x", "spec/policy/other", "x")
		if i%2 == 0 {
			remove(t, s, "spec/host/brief", "spec/host/back")
		} else {
			put(t, s, "spec/host/back", fmt.Sprint(i))
		}
	}
	last := remove(t, s, "spec/host/gone", "spec/host/brief")
	if err := v.WaitRevision(bounded(t), last); err != nil {
		t.Fatal(err)
	}
	if n := sub.Pending(); n != 3 {
		t.Errorf("%d pending changes, want 3: memory must not grow with the writes", n)
	}
	batch := next(t, sub)
	var got []string
	for _, c := range batch.Changes {
		got = append(got, fmt.Sprintf("%s %s→%s", c.Key, text(c.Old), text(c.New)))
	}
	want := "[spec/host/back 0→199 spec/host/gone 0→nothing spec/host/kept 0→199]"
	if fmt.Sprint(got) != want || batch.Revision != last {
		t.Errorf("batch of %d: %v, want %s of %d", batch.Revision, got, want, last)
	}
	put(t, s, "ipam", "1")
	if batch := next(t, sub); len(batch.Changes) != 1 || batch.Changes[0].Key != "ipam" {
		t.Errorf("second batch %+v, want ipam only", batch.Changes)
	}
}

func text(kv *store.KV) string {
	if kv == nil {
		return "nothing"
	}
	return string(kv.Value)
}

// While the watch is cut off, keys change and etcd compacts. The view lists again
// and reports the net difference, as one step.
func TestCompactedWatchResyncs(t *testing.T) {
	base := storetest.New(t)
	put(t, base, "spec/host/same", "0", "spec/host/moved", "0", "spec/host/gone", "0")
	s, link := storetest.Linked(t, base)
	v := view(t, s)
	sub := v.Subscribe()
	link.Cut()
	put(t, base, "spec/host/moved", "1", "spec/host/new", "1", "spec/host/brief", "1")
	remove(t, base, "spec/host/brief")
	last := remove(t, base, "spec/host/gone")
	if _, err := storetest.Client(t).Compact(bounded(t), last); err != nil {
		t.Fatal(err)
	}
	if _, ok := v.Get("spec/host/gone"); !ok {
		t.Fatal("the view was not cut off")
	}
	link.Heal()
	batch := next(t, sub)
	var got []string
	for _, c := range batch.Changes {
		got = append(got, fmt.Sprintf("%s %s→%s", c.Key, text(c.Old), text(c.New)))
	}
	want := "[spec/host/gone 0→nothing spec/host/moved 0→1 spec/host/new nothing→1]"
	if fmt.Sprint(got) != want || batch.Revision < last {
		t.Errorf("batch of %d: %v, want %s of at least %d", batch.Revision, got, want, last)
	}
	put(t, base, "spec/host/after", "1")
	if batch := next(t, sub); len(batch.Changes) != 1 || batch.Changes[0].Key != "spec/host/after" {
		t.Errorf("after the resync: %+v", batch.Changes)
	}
}

// A short cut without compaction loses nothing either.
func TestWatchResumes(t *testing.T) {
	base := storetest.New(t)
	s, link := storetest.Linked(t, base)
	v := view(t, s)
	sub := v.Subscribe()
	link.Cut()
	last := put(t, base, "spec/host/a", "1")
	link.Heal()
	if batch := next(t, sub); batch.Revision != last || len(batch.Changes) != 1 {
		t.Errorf("batch %+v, want one change of %d", batch, last)
	}
}

func TestWaitRevisionCountsForeignWrites(t *testing.T) {
	s := storetest.New(t)
	v := view(t, s)
	resp, err := storetest.Client(t).Put(bounded(t), "/test/elsewhere/"+t.Name(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.WaitRevision(bounded(t), resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	if v.Revision() < resp.Header.Revision {
		t.Errorf("revision %d after waiting for %d", v.Revision(), resp.Header.Revision)
	}
}

func TestWaitRevisionBeyondTheHead(t *testing.T) {
	s := storetest.New(t)
	v := view(t, s)
	head := must(s.HeadRevision(bounded(t)))(t)
	if err := v.WaitRevision(bounded(t), head+1_000_000); !errors.Is(err, store.ErrBehind) {
		t.Errorf("error %v, want ErrBehind", err)
	}
}

func TestViewAndSubscriptionEnd(t *testing.T) {
	s := storetest.New(t)
	v := view(t, s)
	sub := v.Subscribe()
	closed := v.Subscribe()
	closed.Close()
	if _, err := closed.Next(bounded(t)); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Next of a closed subscription: %v, want ErrClosed", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Next without changes: %v, want the context's error", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := sub.Next(t.Context())
		ended <- err
	}()
	v.Close()
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("a waiting Next: %v, want ErrClosed", err)
	}
	if err := v.WaitRevision(bounded(t), v.Revision()+1); !errors.Is(err, store.ErrClosed) {
		t.Errorf("WaitRevision: %v, want ErrClosed", err)
	}
	if _, err := v.Subscribe().Next(bounded(t)); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a subscription after the end: %v, want ErrClosed", err)
	}
}

func TestStoreCloseEndsViews(t *testing.T) {
	base := storetest.New(t)
	s := storetest.Another(t, base)
	v := view(t, s)
	s.Close()
	select {
	case <-v.Done():
	case <-bounded(t).Done():
		t.Fatal("the view outlives its store")
	}
}
