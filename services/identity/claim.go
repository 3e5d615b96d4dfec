package identity

import (
	"context"
	"encoding/hex"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/store"
)

// claim is the record of a host's key. Its host uid is empty while the host does not exist.
type claim struct {
	record *controllerv1.HostIdentity
	fresh  bool // made by this call
}

// claim records the key and the use of the token, unless the same token and key did so before.
func (s *Service) claim(ctx context.Context, a application) (claim, error) {
	// What was decided from is read again at each try.
	token, err := s.loadToken(ctx, a.token.id)
	if err != nil {
		return claim{}, err
	}
	who, _ := caller.FromContext(ctx)
	if token == nil {
		return claim{}, s.refuse(ctx, who, a.token, "it was deleted meanwhile")
	}
	target, err := s.loadHost(ctx, a.host)
	if err != nil {
		return claim{}, err
	}
	if target.holds(a.hash) && target.record.GetTokenId() == token.id {
		return claim{record: target.record}, nil
	}
	now := s.now()
	if why := token.usable(now); why != "" {
		return claim{}, s.refuse(ctx, who, token, why)
	}
	bound := token.spec.GetSpec().GetHost() == a.host
	if !bound && (target.exists() || target.recordRevision != 0) {
		s.events.Event(ctx, "JoinToken", token.id, "NameTaken", true, "the name "+a.host+" is taken")
		return claim{}, ErrNameTaken.WithResource("Host", a.host)
	}
	record := &controllerv1.HostIdentity{HostUid: target.uid, PublicKeyHash: a.hash[:], TokenId: token.id}
	return claim{record: record, fresh: true}, s.commitClaim(ctx, a, token, target, record, now)
}

func (s *Service) commitClaim(ctx context.Context, a application, token *storedToken, target hostState, record *controllerv1.HostIdentity, now time.Time) error {
	t := store.Txn{Compares: []store.Compare{
		store.Unchanged(token.keys.spec, token.specRevision),
		store.Unchanged(token.keys.secret, token.secretRevision),
		target.sameHost(),
	}}
	if err := put(&t, token.keys.status, token.statusRevision, token.used(a.host, a.hash, now)); err != nil {
		return err
	}
	if err := put(&t, target.recordKey, target.recordRevision, record); err != nil {
		return err
	}
	var revoked []store.AuditEntry
	replaced := target.recordRevision != 0 && !target.holds(a.hash)
	if replaced {
		revoked = append(revoked, store.AuditEntry{
			Kind: store.AuditHostKeyRevoked, Name: a.host, Actor: "join-token/" + token.id,
			Reason: "replaced by a new key; the old one was " + hex.EncodeToString(target.record.GetPublicKeyHash()),
		})
	}
	if _, err := s.commit(ctx, t, revoked...); err != nil {
		return err
	}
	if replaced {
		s.log.WarnContext(ctx, "host key replaced", "host", a.host, "token", token.id)
		s.events.Event(ctx, "Host", a.host, "HostKeyReplaced", true,
			"the host joined anew with the token "+token.id+": its old key is revoked")
	}
	return nil
}
