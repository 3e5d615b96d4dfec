package operator

import (
	"context"
	"errors"
	"net/netip"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// allocation is who has which address and which subnet, as of one ModRevision of the ipam key. Each
// change compares and bumps that key, so what is remembered here is right as long as the compare
// succeeds, and a process that makes many hosts need not read anything again in between. One change at a
// time in a process; processes meet at the compare.
type allocation struct {
	turn chan struct{} // capacity 1: holds a value while somebody has the turn

	// Guarded by the turn.
	loaded   bool
	revision int64 // of the ipam key; 0: there is none yet
	pool     *controllerv1.AddressPool
	subnets  *spec.Subnets
}

func newAllocation() *allocation { return &allocation{turn: make(chan struct{}, 1)} }

// claim is one change of the allocation that is being decided. It has the turn until release.
type claim struct {
	of      *allocation
	pool    *controllerv1.AddressPool
	subnets *spec.Subnets
}

// claim takes the turn, and reads the allocation when what is remembered is not to be trusted.
func (s *Service) claim(ctx context.Context) (*claim, error) {
	a := s.allocation
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !a.loaded {
		if err := a.load(s.feed); err != nil {
			<-a.turn
			return nil, err
		}
	}
	return &claim{of: a, pool: proto.CloneOf(a.pool), subnets: a.subnets.Clone()}, nil
}

// load reads addresses and subnets as of one revision.
func (a *allocation) load(feed *world.Feed) (err error) {
	feed.Read(func(state world.State) {
		a.revision, a.pool = 0, &controllerv1.AddressPool{}
		if kv, ok := state.Snapshot.Get(store.IPAMKey); ok {
			a.revision = kv.ModRevision
			err = store.Decode(kv, a.pool)
		}
		hosts := make(map[string][]netip.Prefix)
		for h := range state.World.Hosts() {
			hosts[h.Name] = h.Subnets
		}
		a.subnets = spec.NewSubnets(hosts)
	})
	a.loaded = err == nil
	return err
}

// write adds the compare and the bump to a transaction.
func (c *claim) write(t *store.Txn) error {
	put, err := store.PutRecord(store.IPAMKey, c.pool)
	if err != nil {
		return err
	}
	t.Compares = append(t.Compares, store.Unchanged(store.IPAMKey, c.of.revision))
	t.Puts = append(t.Puts, put)
	return nil
}

// committed remembers the change, or forgets everything when somebody else was faster or nobody knows
// what became of the transaction.
func (c *claim) committed(revision int64, err error) {
	if err == nil {
		c.of.revision, c.of.pool, c.of.subnets = revision, c.pool, c.subnets
		return
	}
	conflict, ok := errors.AsType[*store.ConflictError](err)
	c.of.loaded = ok && conflict.Key != store.IPAMKey
}

// release gives the turn back.
func (c *claim) release() { <-c.of.turn }
