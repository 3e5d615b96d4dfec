package operator

import (
	"context"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

// Get implements ResourceService.
func (s *Service) Get(_ context.Context, req *operatorv1.GetRequest) (*operatorv1.GetResponse, error) {
	snapshot, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	r, err := s.find(snapshot, req.GetKind(), req.GetName())
	if err != nil {
		return nil, err
	}
	return &operatorv1.GetResponse{Resource: r}, nil
}

// snapshot is the newest state, unless the view has ended.
func (s *Service) snapshot() (*store.Snapshot, error) {
	if err := s.view.Err(); err != nil {
		return nil, err
	}
	return s.view.Snapshot(), nil
}

// find returns one resource.
func (s *Service) find(snapshot *store.Snapshot, k operatorv1.Kind, name string) (found *operatorv1.Resource, err error) {
	key, ok := keyOf(k, name)
	if !ok {
		return nil, notFound(k, name)
	}
	kv, ok := snapshot.Get(key)
	if !ok {
		return nil, notFound(k, name)
	}
	err = s.read(snapshot, func(r reader) error {
		all, err := r.resources(k, kv)
		for _, one := range all {
			if _, md := kindOf(one); md.GetName() == name {
				found = one
			}
		}
		return err
	})
	switch {
	case err != nil:
		return nil, unreadable(kv, err)
	case found == nil:
		return nil, notFound(k, name)
	}
	return found, nil
}

// keyOf is the key that a resource is made of; false when no resource can have that name.
func keyOf(k operatorv1.Kind, name string) (string, bool) {
	if k == kindSA {
		return associationKey(name)
	}
	key := keyPrefix(k) + name
	return key, store.CheckKey(key) == nil
}

// unreadable tells an operator which record is damaged; what is in it stays in the log.
func unreadable(kv store.KV, err error) error {
	return fault.Newf(fault.Internal, "the record %s cannot be read", kv.Key).Wrap(err)
}
