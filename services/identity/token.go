package identity

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
)

// defaultTokenLife is how long a token lives when the operator does not say.
const defaultTokenLife = 24 * time.Hour

// NewJoinToken returns the token that an operator's wish would become: the name, the uid and the
// defaults filled in. It writes nothing: with CreateJoinToken's checks, it is what a dry run shows.
func (s *Service) NewJoinToken(wish *operatorv1.JoinToken) (*operatorv1.JoinToken, enrol.Token, error) {
	rootHash, err := s.RootHash()
	if err != nil {
		return nil, enrol.Token{}, err
	}
	spec, err := s.tokenSpec(wish.GetSpec())
	if err != nil {
		return nil, enrol.Token{}, err
	}
	if name := wish.GetMetadata().GetName(); name != "" {
		return nil, enrol.Token{}, fault.New(fault.InvalidArgument, "the join token is not valid").
			WithField("metadata.name", "the controller names join tokens: leave it empty")
	}
	var id [10]byte
	var secret enrol.Secret
	var uid [8]byte
	for _, b := range [][]byte{id[:], secret[:], uid[:]} {
		rand.Read(b) // never fails
	}
	token := enrol.NewToken(id, secret, rootHash)
	made := &operatorv1.JoinToken{
		Metadata: &operatorv1.Metadata{
			Name: token.ID, Labels: wish.GetMetadata().GetLabels(),
			Uid: hex.EncodeToString(uid[:]), CreateTime: timestamppb.New(s.now()),
		},
		Spec: spec,
	}
	return made, token, nil
}

// tokenSpec checks a spec and fills in its defaults.
func (s *Service) tokenSpec(wish *operatorv1.JoinTokenSpec) (*operatorv1.JoinTokenSpec, error) {
	invalid := fault.New(fault.InvalidArgument, "the join token is not valid")
	if (wish.GetHost() == "") == (wish.GetNamePrefix() == "") {
		return nil, invalid.WithField("spec", "set just one of host and name_prefix")
	}
	spec := proto.CloneOf(wish)
	if spec.MaxUses == 0 {
		spec.MaxUses = 1
	}
	if spec.Host != "" && spec.MaxUses != 1 {
		return nil, invalid.WithField("spec.max_uses", "a token that is bound to a host is used once")
	}
	if spec.ExpireTime == nil {
		spec.ExpireTime = timestamppb.New(s.now().Add(defaultTokenLife))
	}
	if err := spec.ExpireTime.CheckValid(); err != nil || !spec.ExpireTime.AsTime().After(s.now()) {
		return nil, invalid.WithField("spec.expire_time", "it must be in the future")
	}
	return spec, nil
}

// CreateJoinToken makes a join token and returns it with its text, secret and all: that is shown
// once and kept nowhere. Spec and secret are written in one transaction.
func (s *Service) CreateJoinToken(ctx context.Context, wish *operatorv1.JoinToken) (*operatorv1.JoinToken, string, error) {
	made, token, err := s.NewJoinToken(wish)
	if err != nil {
		return nil, "", err
	}
	t, err := s.tokenTxn(made, token)
	if err != nil {
		return nil, "", err
	}
	if made.Metadata.Revision, err = s.store.Commit(ctx, t); err != nil {
		return nil, "", err
	}
	return made, token.Reveal(), nil
}

func (s *Service) tokenTxn(made *operatorv1.JoinToken, token enrol.Token) (store.Txn, error) {
	keys, err := keysOfToken(token.ID)
	if err != nil {
		return store.Txn{}, err
	}
	sealed, err := s.store.Seal(keys.secret, token.Secret[:])
	if err != nil {
		return store.Txn{}, err
	}
	var t store.Txn
	if err := put(&t, keys.spec, 0, made); err != nil {
		return store.Txn{}, err
	}
	return t, put(&t, keys.secret, 0, &controllerv1.TokenSecret{SealedSecret: sealed, Incarnation: s.incarnation})
}

// tokenKeys are where a token lies in the store.
type tokenKeys struct{ spec, status, secret string }

func keysOfToken(id string) (k tokenKeys, err error) {
	if k.spec, err = store.SpecKey(store.KindJoinToken, id); err != nil {
		return k, err
	}
	if k.status, err = store.StatusKey(store.KindJoinToken, id); err != nil {
		return k, err
	}
	k.secret, err = store.TokenKey(id)
	return k, err
}

// storedToken is a token as it was read, with the revisions that a transaction compares.
type storedToken struct {
	id             string
	keys           tokenKeys
	spec           operatorv1.JoinToken
	status         operatorv1.JoinTokenStatus
	secret         enrol.Secret
	incarnation    uint64
	specRevision   int64
	statusRevision int64
	secretRevision int64
}

// loadToken reads a token linearizably; nil when there is none with that id, or no secret to it.
func (s *Service) loadToken(ctx context.Context, id string) (*storedToken, error) {
	if !enrol.ValidTokenID(id) {
		return nil, nil
	}
	t := &storedToken{id: id}
	var err error
	if t.keys, err = keysOfToken(id); err != nil {
		return nil, err
	}
	var secret controllerv1.TokenSecret
	if t.secretRevision, err = load(ctx, s.store, t.keys.secret, &secret); err != nil || t.secretRevision == 0 {
		return nil, err
	}
	if t.specRevision, err = load(ctx, s.store, t.keys.spec, &t.spec); err != nil || t.specRevision == 0 {
		return nil, err
	}
	if t.statusRevision, err = load(ctx, s.store, t.keys.status, &t.status); err != nil {
		return nil, err
	}
	t.incarnation = secret.GetIncarnation()
	plain, err := s.store.Unseal(t.keys.secret, secret.GetSealedSecret())
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	if len(plain) != len(t.secret) {
		return nil, fault.New(fault.Internal, "the stored join token is damaged").WithResource("JoinToken", id)
	}
	copy(t.secret[:], plain)
	return t, nil
}

// usable says why a token cannot be used for another host now; "" when it can.
func (t *storedToken) usable(now time.Time) string {
	switch {
	case t.spec.GetSpec().GetExpireTime() == nil || !now.Before(t.spec.GetSpec().GetExpireTime().AsTime()):
		return "it has expired"
	case t.status.GetUseCount() >= max(t.spec.GetSpec().GetMaxUses(), 1):
		return "it is used up"
	}
	return ""
}

// maxUsesShown bounds the uses that a token's status lists.
const maxUsesShown = 64

// used is the token's status after one more use.
func (t *storedToken) used(host string, hash [32]byte, now time.Time) *operatorv1.JoinTokenStatus {
	status := proto.CloneOf(&t.status)
	status.UseCount++
	status.Uses = append(status.Uses, &operatorv1.JoinTokenStatus_Use{
		Host: host, PublicKeyHash: hex.EncodeToString(hash[:]), Time: timestamppb.New(now),
	})
	if extra := len(status.Uses) - maxUsesShown; extra > 0 {
		status.Uses = status.Uses[extra:]
	}
	return status
}
