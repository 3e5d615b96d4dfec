package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"context"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func TestListPages(t *testing.T) {
	s := storetest.New(t)
	var want []string
	for i := range 2500 { // more than one page of the client's own
		want = append(want, fmt.Sprintf("spec/host/h%04d", i))
	}
	for chunk := range slices.Chunk(want, store.MaxTxnOps) {
		var pairs []string
		for _, key := range chunk {
			pairs = append(pairs, key, "v")
		}
		put(t, s, pairs...)
	}
	put(t, s, "spec/policy/p", "v", "spec/hosts", "v")

	all, revision, err := s.List(bounded(t), "spec/host/", store.ListOptions{})
	if err != nil || !slices.Equal(names(all), want) {
		t.Fatalf("all: %d keys, %v, want %d", len(all), err, len(want))
	}
	put(t, s, "spec/host/h0000x", "later") // must not show in pages of the old revision
	var paged []string
	for after := ""; ; {
		page, r, err := s.List(bounded(t), "spec/host/", store.ListOptions{Limit: 700, After: after, Revision: revision})
		if err != nil || r != revision || len(page) > 700 {
			t.Fatalf("page of %d, revision %d, want %d, %v", len(page), r, revision, err)
		}
		if len(page) == 0 {
			break
		}
		paged = append(paged, names(page)...)
		after = page[len(page)-1].Key
	}
	if !slices.Equal(paged, want) {
		t.Errorf("pages: %d keys, want %d", len(paged), len(want))
	}
}

func names(kvs []store.KV) []string {
	var out []string
	for _, kv := range kvs {
		out = append(out, kv.Key)
	}
	return out
}

func TestListAfterTheEnd(t *testing.T) {
	s := storetest.New(t)
	put(t, s, "spec/host/a", "v")
	kvs, revision, err := s.List(bounded(t), "spec/host/", store.ListOptions{After: "spec/policy/x"})
	if len(kvs) != 0 || err != nil || revision == 0 {
		t.Errorf("%v, %d, %v, want nothing", kvs, revision, err)
	}
}

func TestListCompacted(t *testing.T) {
	s := storetest.New(t)
	old := put(t, s, "spec/host/a", "1")
	now := put(t, s, "spec/host/a", "2")
	if _, err := storetest.Client(t).Compact(bounded(t), now); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.List(bounded(t), "spec/", store.ListOptions{Revision: old}); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("error %v, want ErrCompacted", err)
	}
}

func TestRecords(t *testing.T) {
	s := storetest.New(t)
	want := &controllerv1.Fleet{TrustDomain: "fleet.example", PoolIpv4: "100.64.0.0/10"}
	p := must(store.PutRecord(store.FleetKey, want))(t)
	revision := must(s.Commit(bounded(t), store.Txn{Puts: []store.Put{p}}))(t)
	got := &controllerv1.Fleet{TrustDomain: "to be reset", PoolIpv6: "to be reset"}
	mod, err := store.Load(bounded(t), s, store.FleetKey, got)
	if err != nil || mod != revision || !proto.Equal(got, want) {
		t.Errorf("Load = %v at %d, %v, want %v at %d", got, mod, err, want, revision)
	}
	if _, err := store.Load(bounded(t), s, store.IPAMKey, got); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("absent: %v, want ErrNotFound", err)
	}
	put(t, s, store.FleetKey, "\xff\xff not a record")
	if _, err := store.Load(bounded(t), s, store.FleetKey, got); err == nil || !strings.Contains(err.Error(), store.FleetKey) {
		t.Errorf("damaged record: %v, want an error that names the key", err)
	}
}

func TestOpenTellsThatEtcdIsDown(t *testing.T) {
	endpoint := "unix://" + filepath.Join(t.TempDir(), "none")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := store.Open(ctx, store.Config{Endpoints: []string{endpoint}})
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), endpoint) || !strings.Contains(err.Error(), "no such file") || !strings.Contains(err.Error(), "--etcd-endpoints") {
		t.Errorf("error %v, want ErrUnavailable with the endpoint, why, and what to do", err)
	}
}

func TestOpenRefusesBadPrefix(t *testing.T) {
	for _, prefix := range []string{"x", "/x", "x/", "/", "//", "/a//b/", "/../", "/a/../"} {
		_, err := store.Open(bounded(t), store.Config{Endpoints: []string{"unix:///none"}, Prefix: prefix})
		if !errors.Is(err, store.ErrBadKey) {
			t.Errorf("prefix %q: %v, want ErrBadKey", prefix, err)
		}
	}
}

func TestRequestsEndWhenEtcdIsGone(t *testing.T) {
	base := storetest.New(t)
	put(t, base, "spec/host/a", "v")
	s, link := storetest.Linked(t, base)
	link.Cut()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "spec/host/a"); err == nil {
		t.Fatal("a read without etcd succeeded")
	}
	link.Heal()
	if kv, err := s.Get(bounded(t), "spec/host/a"); err != nil || string(kv.Value) != "v" {
		t.Errorf("after the link healed: %q, %v", kv.Value, err)
	}
}
