package operator

import (
	"context"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

// Delete implements ResourceService.
func (s *Service) Delete(ctx context.Context, req *operatorv1.DeleteRequest) (*operatorv1.DeleteResponse, error) {
	k, name := req.GetKind(), req.GetName()
	if err := writable(k, &operatorv1.Metadata{Name: name}, false); err != nil {
		return nil, err
	}
	if req.GetDryRun() {
		_, err := s.transact(ctx, true, func(d *draft) error {
			_, err := d.remove(k, name, req.GetRevision())
			return err
		})
		return &operatorv1.DeleteResponse{}, err
	}
	revision, err := s.deleteQuietly(ctx, k, name, req.GetRevision())
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "resource deleted", "kind", kindName(k), "name", name, "revision", revision, "actor", actor(ctx))
	s.show(ctx, revision)
	return &operatorv1.DeleteResponse{}, nil
}

// deleteQuietly deletes one resource; it does not wait until this process shows it.
func (s *Service) deleteQuietly(ctx context.Context, k operatorv1.Kind, name string, revision int64) (int64, error) {
	if k == kindHost {
		if err := s.deleteManyTokens(ctx, name, revision); err != nil {
			return 0, err
		}
	}
	return s.transact(ctx, false, func(d *draft) error {
		_, err := d.remove(k, name, revision)
		return err
	})
}

// remove puts a deletion into the draft.
func (d *draft) remove(k operatorv1.Kind, name string, revision int64) (*operatorv1.Resource, error) {
	switch k {
	case kindHost:
		h, err := d.deleteHost(name, revision)
		return ofHost(h), err
	case kindPolicy:
		p, err := d.deletePolicy(name, revision)
		return ofPolicy(p), err
	case kindManual:
		p, err := d.deleteManual(name, revision)
		return ofManual(p), err
	case kindPeer:
		p, err := d.deletePeer(name, revision)
		return ofPeer(p), err
	case kindCredential:
		c, err := d.deleteCredential(name, revision)
		return ofCredential(c), err
	}
	t, err := d.deleteToken(name, revision)
	return ofToken(t), err
}

// deleteManyTokens revokes the tokens bound to a host that is about to be deleted, when they are too many
// for the host's own transaction. The host must be one that the caller may delete.
func (s *Service) deleteManyTokens(ctx context.Context, host string, revision int64) error {
	for {
		tokens := boundTokens(s.view.Snapshot(), host, 2*maxTokensWithHost)
		if len(tokens) <= maxTokensWithHost {
			return nil
		}
		if _, err := s.transact(ctx, true, func(d *draft) error {
			_, err := d.deleteHost(host, revision)
			return err
		}); err != nil {
			return err
		}
		deleted, err := s.transact(ctx, false, func(d *draft) error {
			for _, token := range boundTokens(d.snapshot, host, maxTokensWithHost) {
				if _, err := d.deleteToken(token, 0); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := s.feed.WaitRevision(ctx, deleted); err != nil {
			return err
		}
	}
}
