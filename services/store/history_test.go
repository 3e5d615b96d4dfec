package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func TestHistoryIsNet(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := storetest.New(t)
	write := func(puts, deletes []string) int64 {
		t.Helper()
		txn := store.Txn{Deletes: deletes}
		for _, key := range puts {
			txn.Puts = append(txn.Puts, store.Put{Key: key, Value: []byte("v")})
		}
		revision, err := s.Commit(ctx, txn)
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	after := write([]string{"spec/host/old", "spec/host/gone"}, nil)
	write([]string{"spec/host/old", "spec/host/new", "spec/host/brief", "other/key"}, []string{"spec/host/gone"})
	through := write(nil, []string{"spec/host/brief"})
	write([]string{"spec/host/late"}, nil)

	changes, err := s.History(ctx, after, through, store.SpecPrefix)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][2]bool{}
	for _, c := range changes {
		got[c.Key] = [2]bool{c.Old != nil, c.New != nil}
	}
	want := map[string][2]bool{
		"spec/host/gone": {true, false}, "spec/host/new": {false, true}, "spec/host/old": {true, true},
	}
	if len(got) != len(want) {
		t.Errorf("changes %v, want %v", got, want)
	}
	for key, w := range want {
		if got[key] != w {
			t.Errorf("%s: old, new present: %v, want %v", key, got[key], w)
		}
	}
}

func TestHistoryCompacted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := storetest.New(t)
	var revisions []int64
	for range 3 {
		r, err := s.Commit(ctx, store.Txn{Puts: []store.Put{{Key: "spec/host/a", Value: []byte("v")}}})
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, r)
	}
	if _, err := storetest.Client(t).Compact(ctx, revisions[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.History(ctx, revisions[0], revisions[2]); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("after a compacted revision: error %v, want ErrCompacted", err)
	}
	changes, err := s.History(ctx, revisions[1], revisions[2])
	if err != nil || len(changes) != 1 || changes[0].Old == nil || changes[0].New == nil {
		t.Errorf("after the compaction's own revision: %v, %v, want one change of an old key", changes, err)
	}
	if _, err := s.History(ctx, revisions[2], revisions[2]+1000); !errors.Is(err, store.ErrBehind) {
		t.Errorf("a revision of the future: error %v, want ErrBehind", err)
	}
}
