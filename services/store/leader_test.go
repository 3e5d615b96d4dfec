package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func fenced(l *store.Leadership, value string) store.Txn {
	return store.Txn{Compares: []store.Compare{l.Fence()}, Puts: []store.Put{{Key: "status/host/a", Value: []byte(value)}}}
}

func waitDone(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-bounded(t).Done():
		t.Fatalf("%s did not end", what)
	}
}

func TestOldLeaderIsFenced(t *testing.T) {
	a := storetest.New(t)
	b := storetest.Another(t, a)
	old := must(a.Campaign(bounded(t), "planner", "a"))(t)
	must(a.Commit(bounded(t), fenced(old, "a")))(t)

	elected := make(chan *store.Leadership, 1)
	failed := make(chan error, 1)
	go func() {
		l, err := b.Campaign(bounded(t), "planner", "b")
		failed <- err
		elected <- l
	}()
	// a's lease ends behind its back, as after a long pause of the process.
	session := must(a.Session(bounded(t), time.Second))(t)
	if _, err := storetest.Client(t).Revoke(bounded(t), clientv3.LeaseID(session.Lease())); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	current := <-elected
	if current.Token() <= old.Token() {
		t.Errorf("token %d after %d", current.Token(), old.Token())
	}
	_, err := a.Commit(bounded(t), fenced(old, "late"))
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Key != old.Fence().Key() {
		t.Errorf("the old leader's write: %v, want a conflict on its fence", err)
	}
	must(b.Commit(bounded(t), fenced(current, "b")))(t)
	if kv := must(a.Get(bounded(t), "status/host/a"))(t); string(kv.Value) != "b" {
		t.Errorf("value %q, want the new leader's", kv.Value)
	}
	waitDone(t, "the old leadership", old.Done())
}

func TestResignHandsOver(t *testing.T) {
	a := storetest.New(t)
	b := storetest.Another(t, a)
	l := must(a.Campaign(bounded(t), "planner", "a"))(t)
	if _, err := a.Campaign(bounded(t), "planner", "a"); !errors.Is(err, store.ErrCampaigning) {
		t.Errorf("second campaign of one process: %v, want ErrCampaigning", err)
	}
	other := must(a.Campaign(bounded(t), "keying", "a"))(t)
	if err := l.Resign(bounded(t)); err != nil {
		t.Fatal(err)
	}
	waitDone(t, "the resigned leadership", l.Done())
	must(b.Campaign(bounded(t), "planner", "b"))(t)
	if _, err := a.Commit(bounded(t), fenced(l, "late")); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a write after resigning: %v, want ErrConflict", err)
	}
	must(a.Commit(bounded(t), fenced(other, "still")))(t)
}

func TestCampaignGivesUp(t *testing.T) {
	a := storetest.New(t)
	b := storetest.Another(t, a)
	must(a.Campaign(bounded(t), "planner", "a"))(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Campaign(ctx, "planner", "b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
	if kvs, _, err := a.List(bounded(t), "leader/planner/", store.ListOptions{}); len(kvs) != 1 || err != nil {
		t.Errorf("candidates %v, %v: the one that gave up left its key", names(kvs), err)
	}
	for _, name := range escapes {
		if _, err := b.Campaign(bounded(t), name, "b"); !errors.Is(err, store.ErrBadKey) {
			t.Errorf("name %q: %v, want ErrBadKey", name, err)
		}
	}
}

// A process that is cut off learns by itself, within the lease's time, that its
// leased keys and its leadership are gone.
func TestLeaseExpires(t *testing.T) {
	base := storetest.New(t)
	s, link := storetest.Linked(t, base)
	session := must(s.Session(bounded(t), time.Second))(t)
	live := must(store.LiveKey("host-1"))(t)
	must(s.Commit(bounded(t), store.Txn{Puts: []store.Put{{Key: live, Value: []byte("x"), Lease: session.Lease()}}}))(t)
	l := must(s.Campaign(bounded(t), "planner", "a"))(t)
	v := view(t, base)
	sub := v.Subscribe(live)
	link.Cut()
	if batch := next(t, sub); batch.Changes[0].New != nil {
		t.Errorf("change %+v, want a deletion", batch.Changes[0])
	}
	waitDone(t, "the session", session.Done())
	waitDone(t, "the leadership", l.Done())
	link.Heal()
	again := must(s.Session(bounded(t), time.Second))(t)
	if again.Lease() == session.Lease() {
		t.Error("a lost session was handed out again")
	}
	must(s.Campaign(bounded(t), "planner", "a"))(t)
}

func TestSessionCloseDeletesItsKeys(t *testing.T) {
	s := storetest.New(t)
	session := must(s.Session(bounded(t), time.Minute))(t)
	if same := must(s.Session(bounded(t), time.Hour))(t); same != session {
		t.Error("two sessions in one process")
	}
	must(s.Commit(bounded(t), store.Txn{Puts: []store.Put{{Key: "live/a", Lease: session.Lease()}}}))(t)
	if err := session.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(bounded(t), "live/a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("leased key: %v, want ErrNotFound", err)
	}
	if _, err := s.Session(bounded(t), time.Millisecond); err == nil {
		t.Error("a session of a millisecond was accepted")
	}
}

func TestSharedLease(t *testing.T) {
	base := storetest.New(t)
	now := time.Unix(1_000_000, 0)
	s := must(store.Open(bounded(t), store.Config{Endpoints: base.Endpoints(), Prefix: base.Prefix(), Now: func() time.Time { return now }}))(t)
	t.Cleanup(func() { s.Close() })
	lease := func(ttl time.Duration) int64 { t.Helper(); return must(s.SharedLease(bounded(t), ttl))(t) }
	first := lease(time.Hour)
	if other := lease(2 * time.Hour); other == first {
		t.Error("two TTLs share a lease")
	}
	now = now.Add(6*time.Minute - time.Second)
	if lease(time.Hour) != first {
		t.Error("no sharing within a tenth of the TTL")
	}
	now = now.Add(time.Second)
	if lease(time.Hour) == first {
		t.Error("still shared after a tenth of the TTL: keys would live shorter than it")
	}
	ttl, err := storetest.Client(t).TimeToLive(bounded(t), clientv3.LeaseID(first))
	if err != nil || ttl.GrantedTTL < 3600 {
		t.Errorf("granted %v, %v, want at least 3600 s", ttl, err)
	}
}

// A candidate may wait for longer than etcd keeps history.
func TestLeadershipSurvivesCompaction(t *testing.T) {
	a := storetest.New(t)
	b := storetest.Another(t, a)
	first := must(a.Campaign(bounded(t), "planner", "a"))(t)
	v := view(t, a)
	sub := v.Subscribe("leader/")
	elected := make(chan *store.Leadership, 1)
	failed := make(chan error, 1)
	go func() {
		l, err := b.Campaign(bounded(t), "planner", "b")
		failed <- err
		elected <- l
	}()
	next(t, sub) // b's candidacy
	head := put(t, a, "spec/host/a", "1")
	if _, err := storetest.Client(t).Compact(bounded(t), head); err != nil {
		t.Fatal(err)
	}
	if err := first.Resign(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	l := <-elected
	for range 20 { // a watch from a compacted revision would end at once
		must(b.Commit(bounded(t), fenced(l, "b")))(t)
		select {
		case <-l.Done():
			t.Fatal("the leadership ended though its key is held")
		default:
		}
	}
	must(a.Commit(bounded(t), store.Txn{Deletes: []string{l.Fence().Key()}}))(t)
	waitDone(t, "the leadership", l.Done())
}

// A candidate that gives up while etcd is out of reach returns soon, and its key
// does not win later with nobody behind it.
func TestCampaignGivesUpCutOff(t *testing.T) {
	a := storetest.New(t)
	s, link := storetest.Linked(t, a)
	l := must(a.Campaign(bounded(t), "planner", "a"))(t)
	session := must(s.Session(bounded(t), 5*time.Second))(t)
	v := view(t, a)
	sub := v.Subscribe("leader/")
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := s.Campaign(ctx, "planner", "b")
		failed <- err
	}()
	candidate := next(t, sub).Changes[0]
	link.Cut()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	link.Heal() // before the lease's end: only giving it up makes it end now
	waitDone(t, "the session", session.Done())
	if gone := next(t, sub).Changes[0]; gone.Key != candidate.Key || gone.New != nil {
		t.Errorf("change %+v, want the candidacy deleted", gone)
	}
	if err := l.Resign(bounded(t)); err != nil {
		t.Fatal(err)
	}
	must(s.Campaign(bounded(t), "planner", "b"))(t)
}
