package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func events(t *testing.T, ctx context.Context, s *store.Store) []*operatorv1.Event {
	t.Helper()
	kvs, _, err := s.List(ctx, store.EventPrefix, store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]*operatorv1.Event, len(kvs))
	for i, kv := range kvs {
		out[i] = new(operatorv1.Event)
		if err := store.Decode(kv, out[i]); err != nil {
			t.Fatal(err)
		}
		if kv.Lease == 0 {
			t.Errorf("%s has no lease: it stays for ever", kv.Key)
		}
		if kv.Key != store.EventPrefix+out[i].GetMetadata().GetName() {
			t.Errorf("%s holds the event %s", kv.Key, out[i].GetMetadata().GetName())
		}
	}
	return out
}

func TestEventsKeepTheirOrder(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := storetest.New(t)
	w := store.NewEvents(s, nil)
	w.Event(ctx, "Host", "web-1", "HostJoined", false, "host web-1 joined")
	w.Event(ctx, "Policy", "mesh", "SelectsNobody", true, strings.Repeat("ä", 2000))

	got := events(t, ctx, s)
	if len(got) != 2 {
		t.Fatalf("%d events, want 2", len(got))
	}
	if st := got[0].GetStatus(); st.GetReason() != "HostJoined" || st.GetWarning() || st.GetAboutKind() != "Host" ||
		st.GetAboutName() != "web-1" || st.GetMessage() != "host web-1 joined" || st.GetTime() == nil {
		t.Errorf("first event %v", st)
	}
	if st := got[1].GetStatus(); !st.GetWarning() || len(st.GetMessage()) > 1024 || !utf8.ValidString(st.GetMessage()) {
		t.Errorf("second event: warning %t, %d bytes", st.GetWarning(), len(st.GetMessage()))
	}
}

func TestEventsAreRateLimited(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := storetest.New(t)
	w := store.NewEvents(s, nil)
	const flood, burst = 300, 200
	start := time.Now()
	for range flood {
		w.Event(ctx, "Host", "flapping", "Flap", true, "again")
	}
	most := burst + int(time.Since(start).Seconds()*10) + 1
	if n := len(events(t, ctx, s)); n < burst || n > most {
		t.Errorf("%d of %d events were kept, want %d to %d", n, flood, burst, most)
	}
}

// TestEventsOutliveTheirLease: a lease that etcd has lost costs one event, not those of the next hours.
func TestEventsOutliveTheirLease(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := storetest.New(t)
	w := store.NewEvents(s, nil)
	w.Event(ctx, "Host", "web-1", "HostJoined", false, "first")
	kvs, _, err := s.List(ctx, store.EventPrefix, store.ListOptions{})
	if err != nil || len(kvs) != 1 {
		t.Fatalf("%d events, %v", len(kvs), err)
	}
	if _, err := storetest.Client(t).Revoke(ctx, clientv3.LeaseID(kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	lost, err := w.Put(ctx, "Host", "web-1", "HostJoined", false, "lost")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, store.Txn{Puts: []store.Put{lost}}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("under a lost lease: %v, want ErrUnavailable", err)
	}
	w.Event(ctx, "Host", "web-1", "HostJoined", false, "second")
	if got := events(t, ctx, s); len(got) != 1 || got[0].GetStatus().GetMessage() != "second" {
		t.Errorf("events %v, want the second", got)
	}
}
