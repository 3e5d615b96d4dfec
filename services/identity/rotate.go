package identity

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

// RotateCA does one step of a rotation. A step that has been done already changes nothing, so that
// a lost answer can be asked for again.
func (s *Service) RotateCA(ctx context.Context, r *operatorv1.RotateCARequest) (*operatorv1.RotateCAResponse, error) {
	var after *bundle
	err := retry(ctx, func() error {
		b, err := s.listed(ctx)
		if err != nil {
			return err
		}
		if b.active == nil {
			return errNoCA
		}
		if err := s.rotate(ctx, b, r); err != nil {
			return err
		}
		after, err = s.listed(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rootsOf(after), nil
}

func (s *Service) rotate(ctx context.Context, b *bundle, r *operatorv1.RotateCARequest) error {
	switch r.GetStep() {
	case operatorv1.RotateStep_ROTATE_STEP_PREPARE:
		return s.prepare(ctx, b)
	case operatorv1.RotateStep_ROTATE_STEP_ACTIVATE:
		return s.activate(ctx, b)
	case operatorv1.RotateStep_ROTATE_STEP_FINISH:
		return s.finish(ctx, b, r.GetForce())
	}
	return fault.New(fault.InvalidArgument, "the rotation step is not valid").WithField("step", "use PREPARE, ACTIVATE or FINISH")
}

func (b *bundle) newest() *root { return b.roots[len(b.roots)-1] }

// prepare adds a root that does not sign yet.
func (s *Service) prepare(ctx context.Context, b *bundle) error {
	switch {
	case b.newest() != b.active:
		return nil // there is one
	case len(b.roots) > 1:
		return fault.Newf(fault.FailedPrecondition, "root %s is active and older ones are still trusted: finish that rotation first", b.active.id)
	}
	key, err := b.active.signer(s.store)
	if err != nil {
		return err
	}
	r, err := s.newRoot(number(b.active.id)+1, b.active, key)
	if err != nil {
		return err
	}
	t := store.Txn{Compares: []store.Compare{store.Unchanged(b.active.key, b.active.revision)}}
	if err := put(&t, r.key, 0, r.record()); err != nil {
		return err
	}
	return s.commitRotation(ctx, t, "CAPrepared", fmt.Sprintf("root %s joined the trust bundle", r.id))
}

// activate makes the newest root sign.
func (s *Service) activate(ctx context.Context, b *bundle) error {
	next := b.newest()
	if next == b.active {
		if len(b.roots) > 1 {
			return nil // it does
		}
		return fault.New(fault.FailedPrecondition, "there is no new root: prepare one first")
	}
	var t store.Txn
	for _, r := range []*root{b.active, next} {
		record := r.record()
		record.Active = r == next
		if err := put(&t, r.key, r.revision, record); err != nil {
			return err
		}
	}
	return s.commitRotation(ctx, t, "CAActivated", fmt.Sprintf("root %s signs from now on", next.id))
}

// finish takes the old roots out of the bundle.
func (s *Service) finish(ctx context.Context, b *bundle, force bool) error {
	if b.newest() != b.active {
		return fault.Newf(fault.FailedPrecondition, "root %s does not sign yet: activate it first", b.newest().id)
	}
	old := b.roots[:len(b.roots)-1]
	if len(old) == 0 {
		return nil // there are none
	}
	if !force {
		if err := s.checkHolders(ctx, b.active); err != nil {
			return err
		}
	}
	t := store.Txn{Compares: []store.Compare{store.Unchanged(b.active.key, b.active.revision)}}
	var revoked []store.AuditEntry
	var ids []string
	for _, r := range old {
		t.Compares = append(t.Compares, store.Unchanged(r.key, r.revision))
		t.Deletes = append(t.Deletes, r.key)
		ids = append(ids, r.id)
		revoked = append(revoked, store.AuditEntry{Kind: store.AuditCARevoked, Name: r.id, Actor: actor(ctx), Reason: "rotated away"})
	}
	return s.commitRotation(ctx, t, "CAFinished", "no longer trusted: root "+strings.Join(ids, ", "), revoked...)
}

// commitRotation commits a step and waits until this controller sees it.
func (s *Service) commitRotation(ctx context.Context, t store.Txn, reason, message string, revoked ...store.AuditEntry) error {
	revision, err := s.commit(ctx, t, revoked...)
	if err != nil {
		return err
	}
	s.log.WarnContext(ctx, "CA rotation", "step", reason, "by", actor(ctx), "detail", message)
	s.events.Event(ctx, "Fleet", s.trustDomain, reason, true, message)
	return s.view.WaitRevision(ctx, revision)
}

// checkHolders refuses while somebody holds a certificate of another root than the active one. None
// can be issued any more: each record of one compares the root that signs.
func (s *Service) checkHolders(ctx context.Context, active *root) error {
	hosts, err := s.holders(ctx, store.HostIDPrefix, func(kv store.KV) (string, error) {
		var record controllerv1.HostIdentity
		err := store.Decode(kv, &record)
		return record.GetRootId(), err
	}, active.id)
	if err != nil {
		return err
	}
	operators, err := s.holders(ctx, store.OperatorPrefix, func(kv store.KV) (string, error) {
		var record controllerv1.OperatorIdentity
		err := store.Decode(kv, &record)
		// An expired credential is worth nothing anyway, and operators do not renew by themselves.
		if !s.now().Before(record.GetNotAfter().AsTime()) {
			return "", err
		}
		return record.GetRootId(), err
	}, active.id)
	if err != nil {
		return err
	}
	if len(hosts) == 0 && len(operators) == 0 {
		return nil
	}
	return fault.Newf(fault.FailedPrecondition,
		"certificates of an old root are still held by %s and %s: hosts renew within 12 hours of being online, operators need new credentials; or use force, and all of them must enrol again",
		some("host", hosts), some("operator", operators)).WithReason("OLD_CERTIFICATES")
}

// holders names those whose record has another root than the active one. A record without a root has
// no certificate yet.
func (s *Service) holders(ctx context.Context, prefix string, rootID func(store.KV) (string, error), active string) ([]string, error) {
	kvs, _, err := s.store.List(ctx, prefix, store.ListOptions{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, kv := range kvs {
		id, err := rootID(kv)
		if err != nil {
			return nil, err
		}
		if id != "" && id != active {
			names = append(names, strings.TrimPrefix(kv.Key, prefix))
		}
	}
	return names, nil
}

// some counts the names and shows the first of them.
func some(kind string, names []string) string {
	const most = 3
	switch n := len(names); {
	case n == 0:
		return "no " + kind
	case n == 1:
		return "1 " + kind + " (" + names[0] + ")"
	case n > most:
		return fmt.Sprintf("%d %ss (%s, …)", n, kind, strings.Join(names[:most], ", "))
	default:
		return fmt.Sprintf("%d %ss (%s)", n, kind, strings.Join(names, ", "))
	}
}

func rootsOf(b *bundle) *operatorv1.RotateCAResponse {
	response := new(operatorv1.RotateCAResponse)
	for _, r := range b.roots {
		hash := r.hash()
		response.Roots = append(response.Roots, &operatorv1.RotateCAResponse_Root{
			Id: r.id, PublicKeyHash: hex.EncodeToString(hash[:]), Active: r.active,
			ExpireTime: timestamppb.New(r.cert.NotAfter),
		})
	}
	return response
}
