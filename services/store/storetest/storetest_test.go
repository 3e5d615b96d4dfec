package storetest_test

import (
	"errors"
	"testing"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// Two tests' stores share the server and see nothing of each other.
func TestStoresAreApart(t *testing.T) {
	a, b := storetest.New(t), storetest.New(t)
	if _, err := a.Commit(t.Context(), store.Txn{Puts: []store.Put{{Key: store.FleetKey, Value: []byte("a")}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), store.FleetKey); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("other store's key: %v, want ErrNotFound", err)
	}
	same := storetest.Another(t, a)
	if kv, err := same.Get(t.Context(), store.FleetKey); err != nil || string(kv.Value) != "a" {
		t.Fatalf("same prefix: %q, %v", kv.Value, err)
	}
}
