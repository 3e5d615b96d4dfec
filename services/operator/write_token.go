package operator

import (
	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/store"
)

// completeToken fills in the defaults of a new token, in a copy, and checks the result.
func (s *Service) completeToken(want *operatorv1.JoinToken) (*operatorv1.JoinToken, error) {
	t := proto.CloneOf(want)
	spec.CompleteJoinToken(t, s.now())
	return t, invalid(kindToken, t.GetMetadata().GetName(), spec.CheckJoinToken(t, s.now()))
}

// updateToken replaces labels, uses and end of a token. Whom it lets in stays: the text of the token has
// been given away.
func (d *draft) updateToken(want *operatorv1.JoinToken) (*operatorv1.JoinToken, error) {
	name := want.GetMetadata().GetName()
	before := &operatorv1.JoinToken{}
	revision, err := d.get(keyPrefix(kindToken)+name, before)
	if err != nil {
		return nil, err
	}
	if revision == 0 {
		return nil, absent(kindToken, want.GetMetadata())
	}
	before.Metadata.Revision = revision
	if err := basedOn(kindToken, before.GetMetadata(), want.GetMetadata()); err != nil {
		return nil, err
	}
	if want.GetSpec().GetHost() != before.GetSpec().GetHost() || want.GetSpec().GetNamePrefix() != before.GetSpec().GetNamePrefix() {
		return nil, invalidField("spec", "whom a token lets in cannot be changed: delete it and make another one")
	}
	complete, err := d.service.completeToken(want)
	if err != nil {
		return nil, err
	}
	after := &operatorv1.JoinToken{Metadata: relabelled(before.GetMetadata(), want.GetMetadata()), Spec: complete.GetSpec()}
	if sameLabels(before.GetMetadata(), after.GetMetadata()) && proto.Equal(before.GetSpec(), after.GetSpec()) {
		return before, nil
	}
	return after, d.putSpec(kindToken, after)
}

// deleteToken revokes a token.
func (d *draft) deleteToken(name string, revision int64) (*operatorv1.JoinToken, error) {
	t := &operatorv1.JoinToken{}
	if err := d.doomed(kindToken, name, revision, t); err != nil {
		return nil, err
	}
	d.delete(keyPrefix(kindToken)+name, store.StatusPrefix+string(store.KindJoinToken)+"/"+name, store.TokenPrefix+name)
	d.revoke(store.AuditTokenRevoked, name, "deleted by an operator")
	return t, nil
}
