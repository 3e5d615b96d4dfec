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

// TestLead: a reign is told why it has to end, its own error comes back, and after it the name is free.
func TestLead(t *testing.T) {
	s := storetest.New(t)
	lead := func(ctx context.Context, reign func(context.Context, *store.Leadership) error) error {
		return s.Lead(ctx, "planner", "a", reign)
	}
	own := errors.New("its own")
	if err := lead(bounded(t), func(context.Context, *store.Leadership) error { return own }); !errors.Is(err, own) {
		t.Errorf("its own error: %v", err)
	}
	ctx, cancel := context.WithCancel(bounded(t))
	err := lead(ctx, func(reign context.Context, _ *store.Leadership) error {
		cancel()
		<-reign.Done()
		return reign.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("asked to stop: %v", err)
	}
	err = lead(bounded(t), func(reign context.Context, l *store.Leadership) error {
		must(s.Commit(reign, fenced(l, "a")))(t)
		session := must(s.Session(reign, time.Second))(t)
		if _, err := storetest.Client(t).Revoke(bounded(t), clientv3.LeaseID(session.Lease())); err != nil {
			t.Error(err)
		}
		waitDone(t, "the reign", reign.Done())
		return reign.Err()
	})
	if !errors.Is(err, store.ErrDeposed) {
		t.Errorf("the lease has ended: %v, want ErrDeposed", err)
	}
}
