package operator

import (
	"context"
	"encoding/hex"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// Create implements ResourceService.
func (s *Service) Create(ctx context.Context, req *operatorv1.CreateRequest) (*operatorv1.CreateResponse, error) {
	k, md := kindOf(req.GetResource())
	if err := writable(k, md, k == kindToken); err != nil {
		return nil, err
	}
	if md.GetRevision() != 0 {
		return nil, invalidField("metadata.revision", "is %d, but a resource that is to be made has none: leave it out", md.GetRevision())
	}
	if k == kindToken {
		return s.createToken(ctx, req.GetResource().GetJoinToken(), req.GetDryRun())
	}
	var made *operatorv1.Resource
	revision, err := s.transact(ctx, req.GetDryRun(), func(d *draft) (err error) {
		made, _, err = d.create(k, req.GetResource())
		return err
	})
	if err != nil {
		return nil, err
	}
	s.wrote(ctx, "created", made, revision)
	return &operatorv1.CreateResponse{Resource: made}, nil
}

// create puts a new resource, no join token, into the draft.
func (d *draft) create(k operatorv1.Kind, r *operatorv1.Resource) (*operatorv1.Resource, []string, error) {
	switch k {
	case kindHost:
		h, warnings, err := d.createHost(r.GetHost())
		return ofHost(h), warnings, err
	case kindManual:
		p, warnings, err := d.createManual(r.GetManualPeer())
		return ofManual(p), warnings, err
	case kindPeer:
		p, warnings, err := d.createPeer(r.GetPeer())
		return ofPeer(p), warnings, err
	case kindCredential:
		c, warnings, err := d.createCredential(r.GetCredential())
		return ofCredential(c), warnings, err
	}
	p, warnings, err := d.createPolicy(r.GetPolicy())
	return ofPolicy(p), warnings, err
}

// writable refuses kinds that nobody writes, and names that nobody can have.
func writable(k operatorv1.Kind, md *operatorv1.Metadata, unnamed bool) error {
	if _, ok := storeKind(k); !ok {
		return readOnly(k)
	}
	switch name := md.GetName(); {
	case unnamed && name != "":
		return invalidField("metadata.name", "is %q, but the controller names a join token: leave it out", name)
	case !unnamed && !enrol.ValidName(name):
		return invalidField("metadata.name", "%q is not a name: lower-case letters, digits, '-' and '.', at most 63, a letter or digit at both ends", name)
	}
	return nil
}

func (s *Service) createToken(ctx context.Context, want *operatorv1.JoinToken, dryRun bool) (*operatorv1.CreateResponse, error) {
	t, err := s.completeToken(want)
	if err != nil {
		return nil, err
	}
	if dryRun {
		return &operatorv1.CreateResponse{Resource: ofToken(t)}, nil
	}
	t, text, err := s.tokens.CreateJoinToken(ctx, t)
	if err != nil {
		return nil, err
	}
	s.wrote(ctx, "created", ofToken(t), 0)
	s.show(ctx, t.GetMetadata().GetRevision())
	return &operatorv1.CreateResponse{Resource: ofToken(t), JoinToken: text}, nil
}

// wrote fills in the revision of what was written, logs it, and waits until this process shows it.
func (s *Service) wrote(ctx context.Context, what string, r *operatorv1.Resource, revision int64) {
	k, md := kindOf(r)
	if revision != 0 {
		md.Revision = revision
	}
	if revision != 0 || k == kindToken {
		s.log.InfoContext(ctx, "resource "+what, "kind", kindName(k), "name", md.GetName(), "revision", md.GetRevision(), "actor", actor(ctx))
	}
	s.show(ctx, revision)
}

// EnsureHost makes a host with its addresses when there is none of that name, and returns its uid, 8
// bytes. A host that exists stays as it is.
func (s *Service) EnsureHost(ctx context.Context, name string, labels map[string]string) ([]byte, error) {
	if !enrol.ValidName(name) {
		return nil, invalidField("metadata.name", "%q is not a name of a host", name)
	}
	want := &operatorv1.Host{Metadata: &operatorv1.Metadata{Name: name, Labels: labels}}
	var uid string
	var made *operatorv1.Host
	revision, err := s.transact(ctx, false, func(d *draft) (err error) {
		made = nil
		var there operatorv1.Host
		if revision, err := d.get(keyPrefix(kindHost)+name, &there); err != nil || revision != 0 {
			uid = there.GetMetadata().GetUid()
			return err
		}
		made, _, err = d.createHost(want)
		uid = made.GetMetadata().GetUid()
		return err
	})
	if err != nil {
		return nil, err
	}
	if made != nil {
		s.wrote(ctx, "created", ofHost(made), revision)
	}
	b, err := hex.DecodeString(uid)
	if err != nil || len(b) != 8 {
		return nil, fault.Newf(fault.Internal, "host %q has no uid", name)
	}
	return b, nil
}
