package operator

import (
	"context"
	"fmt"
	"slices"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/world"
)

// confirmLife is how long a planner that was down can learn of a confirmation.
const confirmLife = time.Hour

// ConfirmDeletions implements AdminService. A confirmation counts for the keys that exist now. Where
// nothing waits for it none is written: it would let the next deletion pass that nobody meant.
func (s *Service) ConfirmDeletions(ctx context.Context, req *operatorv1.ConfirmDeletionsRequest) (*operatorv1.ConfirmDeletionsResponse, error) {
	host, all := req.GetHost(), req.GetAll()
	if all == (host != "") {
		return nil, invalidField("target", "name a host or set all")
	}
	pairs := 0
	revision, err := s.transact(ctx, false, func(d *draft) error {
		name := world.ConfirmAll
		if !all {
			if name = host; d.exists(kindHost, host) != nil {
				return notFound(kindHost, host)
			}
		}
		if pairs = s.heldOf(host); pairs == 0 {
			return nil
		}
		return d.confirm(name, pairs)
	})
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "deletions confirmed", "target", fmt.Sprint(req), "pairs", pairs, "actor", actor(ctx))
	s.show(ctx, revision)
	return &operatorv1.ConfirmDeletionsResponse{Pairs: uint64(pairs)}, nil
}

// heldOf counts the pairs of a host that wait; without a name, all that wait.
func (s *Service) heldOf(host string) (n int) {
	s.feed.Read(func(state world.State) {
		held := state.Held()
		if h, ok := state.World.HostByName(host); ok {
			held = slices.DeleteFunc(held, func(pair plan.PairID) bool { return !pair.Has(h.UID) })
		}
		n = len(held)
	})
	return n
}

// confirm leaves the word for the planner, and tells who gave it.
func (d *draft) confirm(name string, pairs int) error {
	if err := d.intend(world.IntentConfirm, name, actor(d.ctx), confirmLife); err != nil {
		return err
	}
	kind, subject := kindName(kindHost), name
	if name == world.ConfirmAll {
		kind, subject = "Fleet", "all"
	}
	return d.event(kind, subject, "DeletionsConfirmed", false, fmt.Sprintf("%s confirmed that the keys of %s go", actor(d.ctx), amount(pairs, "pair")))
}
