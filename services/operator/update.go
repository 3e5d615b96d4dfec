package operator

import (
	"context"

	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

// Update implements ResourceService.
func (s *Service) Update(ctx context.Context, req *operatorv1.UpdateRequest) (*operatorv1.UpdateResponse, error) {
	k, md := kindOf(req.GetResource())
	if err := writable(k, md, false); err != nil {
		return nil, err
	}
	var after *operatorv1.Resource
	revision, err := s.transact(ctx, req.GetDryRun(), func(d *draft) (err error) {
		_, after, _, err = d.update(k, req.GetResource())
		return err
	})
	if err != nil {
		return nil, err
	}
	after = proto.CloneOf(after)
	s.wrote(ctx, "updated", after, revision)
	if full, err := s.find(s.view.Snapshot(), k, md.GetName()); err == nil && !req.GetDryRun() && sameRevision(full, after) {
		after = full // with its status
	}
	return &operatorv1.UpdateResponse{Resource: after}, nil
}

func sameRevision(a, b *operatorv1.Resource) bool {
	_, x := kindOf(a)
	_, y := kindOf(b)
	return x.GetRevision() == y.GetRevision()
}

// update puts a changed resource into the draft; before and after are the same when nothing changes.
func (d *draft) update(k operatorv1.Kind, r *operatorv1.Resource) (before, after *operatorv1.Resource, warnings []string, err error) {
	switch k {
	case kindHost:
		b, a, warnings, err := d.updateHost(r.GetHost())
		if err != nil || a == b {
			before = ofHost(b)
			return before, before, warnings, err
		}
		return ofHost(b), ofHost(a), warnings, nil
	case kindPolicy:
		b, a, warnings, err := d.updatePolicy(r.GetPolicy())
		if err != nil || a == b {
			before = ofPolicy(b)
			return before, before, warnings, err
		}
		return ofPolicy(b), ofPolicy(a), warnings, nil
	case kindManual:
		b, a, warnings, err := d.updateManual(r.GetManualPeer())
		if err != nil || a == b {
			before = ofManual(b)
			return before, before, warnings, err
		}
		return ofManual(b), ofManual(a), warnings, nil
	case kindPeer:
		b, a, warnings, err := d.updatePeer(r.GetPeer())
		if err != nil || a == b {
			before = ofPeer(b)
			return before, before, warnings, err
		}
		return ofPeer(b), ofPeer(a), warnings, nil
	case kindCredential:
		b, a, warnings, err := d.updateCredential(r.GetCredential())
		if err != nil || a == b {
			before = ofCredential(b)
			return before, before, warnings, err
		}
		return ofCredential(b), ofCredential(a), warnings, nil
	}
	t, err := d.updateToken(r.GetJoinToken())
	return nil, ofToken(t), nil, err
}
