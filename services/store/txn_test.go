package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func TestConflictNamesTheKey(t *testing.T) {
	s := storetest.New(t)
	a := put(t, s, "spec/host/a", "1")
	b := put(t, s, "spec/host/b", "1")
	old := b
	b = put(t, s, "spec/host/b", "2")
	tests := []struct {
		name     string
		compares []store.Compare
		key      string // "" = no conflict
	}{
		{"all hold", []store.Compare{store.Unchanged("spec/host/a", a), store.Unchanged("spec/host/b", b), store.Unchanged("spec/host/c", 0), store.Exists("spec/host/a"), store.CreateRevisionIs("spec/host/b", old)}, ""},
		{"changed", []store.Compare{store.Unchanged("spec/host/a", a), store.Unchanged("spec/host/b", old)}, "spec/host/b"},
		{"already there", []store.Compare{store.Unchanged("spec/host/a", 0)}, "spec/host/a"},
		{"gone", []store.Compare{store.Unchanged("spec/host/x", 5)}, "spec/host/x"},
		{"absent", []store.Compare{store.Exists("spec/host/a"), store.Exists("spec/host/x")}, "spec/host/x"},
		{"another one", []store.Compare{store.CreateRevisionIs("spec/host/b", b)}, "spec/host/b"},
		{"first of two", []store.Compare{store.Unchanged("spec/host/b", old), store.Exists("spec/host/x")}, "spec/host/b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := contents(t, s)
			_, err := s.Commit(bounded(t), store.Txn{Compares: tt.compares, Puts: []store.Put{{Key: "status/host/z", Value: []byte(tt.name)}}, Deletes: []string{"none"}})
			var conflict *store.ConflictError
			if tt.key == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.As(err, &conflict) || !errors.Is(err, store.ErrConflict) || conflict.Key != tt.key {
				t.Fatalf("error %v, want a conflict on %s", err, tt.key)
			}
			if after := contents(t, s); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("a failed transaction wrote: %v, before %v", after, before)
			}
		})
	}
}

func TestTxnBounds(t *testing.T) {
	s := storetest.New(t)
	many := func(puts, deletes, compares int) store.Txn {
		var txn store.Txn
		for i := range puts {
			txn.Puts = append(txn.Puts, store.Put{Key: fmt.Sprintf("spec/host/p%d", i)})
		}
		for i := range deletes {
			txn.Deletes = append(txn.Deletes, fmt.Sprintf("spec/host/d%d", i))
		}
		for i := range compares {
			txn.Compares = append(txn.Compares, store.Unchanged(fmt.Sprintf("spec/host/c%d", i), 0))
		}
		return txn
	}
	filled := func(extra int) store.Txn {
		txn := store.Txn{Puts: []store.Put{{Key: "spec/host/big"}}}
		txn.Puts[0].Value = bytes.Repeat([]byte{1}, store.MaxTxnBytes-txn.Size(s.Prefix())+extra)
		return txn
	}
	tests := []struct {
		name string
		txn  store.Txn
		want error
	}{
		{"most operations", many(store.MaxTxnOps-1, 1, store.MaxTxnCompares), nil},
		{"one put over", many(store.MaxTxnOps+1, 0, 0), store.ErrTxnTooLarge},
		{"puts and deletes over", many(store.MaxTxnOps, 1, 0), store.ErrTxnTooLarge},
		{"one compare over", many(0, 1, store.MaxTxnCompares+1), store.ErrTxnTooLarge},
		{"most bytes", filled(0), nil},
		{"one byte over", filled(1), store.ErrTxnTooLarge},
		{"a key twice", store.Txn{Puts: []store.Put{{Key: "ipam"}}, Deletes: []string{"ipam"}}, store.ErrBadKey},
		{"put outside", store.Txn{Puts: []store.Put{{Key: "../x"}}}, store.ErrBadKey},
		{"delete outside", store.Txn{Deletes: []string{""}}, store.ErrBadKey},
		{"compare outside", store.Txn{Compares: []store.Compare{store.Exists("/x")}}, store.ErrBadKey},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Commit(bounded(t), tt.txn); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// The largest transaction also fits when the fence of the incarnation is added.
func TestTxnBoundsWithFence(t *testing.T) {
	s := storetest.New(t)
	must(s.Begin(bounded(t)))(t)
	var txn store.Txn
	for i := range store.MaxTxnCompares {
		txn.Compares = append(txn.Compares, store.Unchanged(fmt.Sprintf("spec/host/c%d", i), 0))
	}
	for i := range store.MaxTxnOps {
		txn.Puts = append(txn.Puts, store.Put{Key: fmt.Sprintf("spec/host/p%d", i)})
	}
	if _, err := s.Commit(bounded(t), txn); err != nil {
		t.Fatal(err)
	}
}

func TestReadsRefuseBadKeys(t *testing.T) {
	s := storetest.New(t)
	for _, key := range []string{"", "/", "a//b", "../x", "a/", "a/..", "a\x00"} {
		if _, err := s.Get(bounded(t), key); !errors.Is(err, store.ErrBadKey) {
			t.Errorf("Get(%q): %v, want ErrBadKey", key, err)
		}
		if _, _, err := s.List(bounded(t), "spec/host/", store.ListOptions{After: "x/" + key + "/"}); !errors.Is(err, store.ErrBadKey) {
			t.Errorf("List after %q: %v, want ErrBadKey", key, err)
		}
	}
	if _, _, err := s.List(bounded(t), "../", store.ListOptions{}); !errors.Is(err, store.ErrBadKey) {
		t.Errorf("List(../): %v, want ErrBadKey", err)
	}
}
