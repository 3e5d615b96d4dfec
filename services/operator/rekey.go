package operator

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// rekeyAtOnce is how many policies one transaction marks.
const rekeyAtOnce = 40

// Rekey implements AdminService: generations made before now are replaced, for every pair of a policy, of
// a host, or of all policies.
func (s *Service) Rekey(ctx context.Context, req *operatorv1.RekeyRequest) (*operatorv1.RekeyResponse, error) {
	before := timestamppb.New(s.now())
	var revision int64
	var err error
	switch target := req.GetTarget().(type) {
	case *operatorv1.RekeyRequest_Policy:
		revision, err = s.rekeyPolicies(ctx, []string{target.Policy}, before)
	case *operatorv1.RekeyRequest_Host:
		revision, err = s.rekeyHost(ctx, target.Host, before)
	case *operatorv1.RekeyRequest_All:
		revision, err = s.rekeyAll(ctx, before)
	default:
		err = invalidField("target", "name a policy or a host, or set all")
	}
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "rekey asked for", "target", fmt.Sprint(req), "actor", actor(ctx))
	s.show(ctx, revision)
	return &operatorv1.RekeyResponse{Pairs: s.rekeyed(req), RekeyBefore: before}, nil
}

func (s *Service) rekeyPolicies(ctx context.Context, names []string, before *timestamppb.Timestamp) (int64, error) {
	return s.transact(ctx, false, func(d *draft) error {
		for _, name := range names {
			if err := d.exists(kindPolicy, name); err != nil {
				return err
			}
			status := &operatorv1.PolicyStatus{}
			key := store.StatusPrefix + string(store.KindPolicy) + "/" + name
			if _, err := d.get(key, status); err != nil {
				return err
			}
			status.RekeyBefore = before
			if err := d.put(key, status); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Service) rekeyHost(ctx context.Context, name string, before *timestamppb.Timestamp) (int64, error) {
	return s.transact(ctx, false, func(d *draft) error {
		if err := d.exists(kindHost, name); err != nil {
			return err
		}
		status := &operatorv1.HostStatus{}
		key := store.StatusPrefix + string(store.KindHost) + "/" + name
		if _, err := d.get(key, status); err != nil {
			return err
		}
		status.RekeyBefore = before
		return d.put(key, status)
	})
}

func (s *Service) rekeyAll(ctx context.Context, before *timestamppb.Timestamp) (revision int64, err error) {
	var names []string
	s.feed.Read(func(state world.State) {
		for p := range state.World.Policies() {
			names = append(names, p.Name)
		}
	})
	for some := range slices.Chunk(names, rekeyAtOnce) {
		if revision, err = s.rekeyPolicies(ctx, some, before); err != nil {
			return 0, err
		}
	}
	return revision, nil
}

// rekeyed counts the pairs that a request selects.
func (s *Service) rekeyed(req *operatorv1.RekeyRequest) (n uint64) {
	s.feed.Read(func(state world.State) {
		switch target := req.GetTarget().(type) {
		case *operatorv1.RekeyRequest_Policy:
			_, pairs := state.World.Selection(target.Policy)
			n = uint64(pairs)
		case *operatorv1.RekeyRequest_Host:
			if h, ok := state.World.HostByName(target.Host); ok {
				n = uint64(state.World.PairCountOf(h.UID))
			}
		default:
			n = uint64(state.World.PairCount())
		}
	})
	return n
}

// exists makes the transaction depend on a resource that must be there, whatever becomes of its spec.
func (d *draft) exists(k operatorv1.Kind, name string) error {
	key, ok := keyOf(k, name)
	kv, found := d.snapshot.Get(key)
	if !ok || !found {
		return notFound(k, name)
	}
	d.compare(store.CreateRevisionIs(key, kv.CreateRevision))
	return nil
}
