package identity

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
)

// IssueOperator records the key of a certificate request as an operator's, with its role, and issues
// a certificate for it. A key that the name had before is revoked.
func (s *Service) IssueOperator(ctx context.Context, r *operatorv1.IssueOperatorRequest) (*operatorv1.IssueOperatorResponse, error) {
	switch caller.Role(r.GetRole()) {
	case caller.RoleViewer, caller.RoleOperator, caller.RoleAdmin:
	default:
		return nil, fault.New(fault.InvalidArgument, "the operator cannot be made").
			WithField("role", "use viewer, operator or admin")
	}
	if !enrol.ValidName(r.GetName()) {
		return nil, fault.New(fault.InvalidArgument, "the operator cannot be made").
			WithField("name", "use 1 to 63 lower-case letters, digits, '-' and '.', a letter or digit at both ends")
	}
	var response *operatorv1.IssueOperatorResponse
	err := retry(ctx, func() error {
		var err error
		response, err = s.issueOperator(ctx, r)
		return err
	})
	return response, err
}

func (s *Service) issueOperator(ctx context.Context, r *operatorv1.IssueOperatorRequest) (*operatorv1.IssueOperatorResponse, error) {
	public, hash, err := enrol.ParseRequest(r.GetCertificateRequest())
	if err != nil {
		return nil, badRequest(err)
	}
	key, err := store.OperatorKey(r.GetName())
	if err != nil {
		return nil, err
	}
	var old controllerv1.OperatorIdentity
	revision, err := load(ctx, s.store, key, &old)
	if err != nil {
		return nil, err
	}
	leaf, signer, err := s.issue(enrol.Name{TrustDomain: s.trustDomain, Kind: enrol.KindOperator, Name: r.GetName()}, public, operatorLife)
	if err != nil {
		return nil, err
	}
	t := store.Txn{Compares: []store.Compare{store.Unchanged(signer.key, signer.revision)}}
	if err := put(&t, key, revision, &controllerv1.OperatorIdentity{
		PublicKeyHash: hash[:], Role: r.GetRole(), NotAfter: timestamppb.New(leaf.NotAfter), RootId: signer.id,
	}); err != nil {
		return nil, err
	}
	var revoked []store.AuditEntry
	if revision != 0 && !bytes.Equal(old.GetPublicKeyHash(), hash[:]) {
		revoked = append(revoked, store.AuditEntry{
			Kind: store.AuditOperatorRevoked, Name: r.GetName(), Actor: actor(ctx),
			Reason: "replaced by a new key; the old one was " + hex.EncodeToString(old.GetPublicKeyHash()),
		})
	}
	if err := s.commitIssued(ctx, t, signer, revoked...); err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "operator credential issued", "operator", r.GetName(), "role", r.GetRole(), "by", actor(ctx))
	bundle, err := s.TrustBundle()
	if err != nil {
		return nil, err
	}
	return &operatorv1.IssueOperatorResponse{CertificateChain: [][]byte{leaf.Raw}, TrustBundle: bundle}, nil
}

// HasOperators reports whether any operator has a credential: at the first start nobody has.
func (s *Service) HasOperators(ctx context.Context) (bool, error) {
	kvs, _, err := s.store.List(ctx, store.OperatorPrefix, store.ListOptions{Limit: 1})
	return len(kvs) > 0, err
}

// RevokeOperator makes an operator's credential worthless at once.
func (s *Service) RevokeOperator(ctx context.Context, name string) error {
	key, err := store.OperatorKey(name)
	if err != nil {
		return fault.New(fault.InvalidArgument, "the operator has no such name").WithField("name", "not a name").Wrap(err)
	}
	return retry(ctx, func() error {
		kv, err := s.store.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return fault.Newf(fault.NotFound, "there is no operator %q", name).WithResource("Operator", name)
		}
		if err != nil {
			return err
		}
		t := store.Txn{Compares: []store.Compare{store.Unchanged(key, kv.ModRevision)}, Deletes: []string{key}}
		_, err = s.commit(ctx, t, store.AuditEntry{Kind: store.AuditOperatorRevoked, Name: name, Actor: actor(ctx), Reason: "revoked"})
		return err
	})
}
