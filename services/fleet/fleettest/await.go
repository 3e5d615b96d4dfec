package fleettest

import (
	"context"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// Patience bounds every wait of a test.
const Patience = 20 * time.Second

// AwaitPhase waits until a generation's record is as wished.
func (f *Fleet) AwaitPhase(id plan.PairID, n uint32, what string, ok func(*controllerv1.GenerationPhase) bool) {
	f.T.Helper()
	f.Await(store.SAPhaseKey(store.PairID(id), n), what, func(kv store.KV, exists bool) bool {
		var r controllerv1.GenerationPhase
		return exists && store.Decode(kv, &r) == nil && ok(&r)
	})
}

// AwaitStatus waits until a host's status is as wished.
func (f *Fleet) AwaitStatus(host, what string, ok func(*operatorv1.HostStatus) bool) {
	f.T.Helper()
	f.Await(store.StatusPrefix+"host/"+host, what, func(kv store.KV, exists bool) bool {
		var s operatorv1.HostStatus
		return exists && store.Decode(kv, &s) == nil && ok(&s)
	})
}

// Await waits until one key is as wished.
func (f *Fleet) Await(key, what string, ok func(kv store.KV, exists bool) bool) {
	f.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	sub := f.View.Subscribe(key)
	defer sub.Close()
	for {
		kv, exists := f.View.Get(key)
		if ok(kv, exists) {
			return
		}
		if _, err := sub.Next(ctx); err != nil {
			f.T.Fatalf("%s: waited in vain for %s: %v", key, what, err)
		}
	}
}
