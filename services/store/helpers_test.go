package store_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/store"
)

// bounded is a context that ends a test that hangs.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// must is for calls that only fail when the test is broken.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func put(t *testing.T, s *store.Store, pairs ...string) int64 {
	t.Helper()
	var txn store.Txn
	for i := 0; i < len(pairs); i += 2 {
		txn.Puts = append(txn.Puts, store.Put{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return must(s.Commit(bounded(t), txn))(t)
}

func remove(t *testing.T, s *store.Store, keys ...string) int64 {
	t.Helper()
	return must(s.Commit(bounded(t), store.Txn{Deletes: keys}))(t)
}

// contents is everything under the store's prefix.
func contents(t *testing.T, s *store.Store) map[string]string {
	t.Helper()
	kvs, _, err := s.List(bounded(t), "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string, len(kvs))
	for _, kv := range kvs {
		out[kv.Key] = string(kv.Value)
	}
	return out
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
