package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

// Errors of whoever holds a certificate that does not count any more.
var (
	// ErrHostRemoved means that the host is no longer of the fleet.
	ErrHostRemoved = fault.New(fault.PermissionDenied,
		"this host was removed from the fleet: enrol it again with a new join token").WithReason("HOST_REMOVED")
	// ErrKeyRevoked means that the name has another key now.
	ErrKeyRevoked = fault.New(fault.PermissionDenied,
		"this key was revoked: another key was enrolled under the same name; if that was not you, make a new join token bound to the host").WithReason("KEY_REVOKED")
)

// check says whether a certificate of that key counts for the host.
func (h hostState) check(hash [sha256.Size]byte) *fault.Error {
	switch {
	case h.recordRevision == 0 || !h.exists():
		return ErrHostRemoved
	case !h.holds(hash):
		return ErrKeyRevoked
	case len(h.record.GetHostUid()) != 0 && !bytes.Equal(h.record.GetHostUid(), h.uid):
		return ErrHostRemoved // and another one made under its name
	}
	return nil
}

// Renew implements fleetv1.EnrolmentServiceServer: a new certificate for the key of the connection.
// The old certificate may have expired; its key must be the recorded one.
func (s *Service) Renew(ctx context.Context, _ *fleetv1.RenewRequest) (*fleetv1.RenewResponse, error) {
	who, ok := caller.FromContext(ctx)
	if !ok || who.TLS == nil || len(who.TLS.PeerCertificates) == 0 ||
		who.Role != caller.RoleAgent && who.Role != caller.RoleAgentExpired {
		return nil, fault.New(fault.Unauthenticated, "only a host renews its certificate")
	}
	h, err := s.loadHost(ctx, who.Name)
	if err != nil {
		return nil, err
	}
	if err := h.check(who.PublicKeyHash); err != nil {
		return nil, err.WithResource("Host", who.Name)
	}
	id, err := s.certify(ctx, who.Name, who.TLS.PeerCertificates[0].PublicKey, who.PublicKeyHash, h.record.GetHostUid())
	if err != nil {
		return nil, err
	}
	s.log.DebugContext(ctx, "certificate renewed", "host", who.Name)
	return &fleetv1.RenewResponse{Identity: id}, nil
}

// commitIssued commits the record of a certificate. When the root that signed it has changed, the
// view has to see that before the next try.
func (s *Service) commitIssued(ctx context.Context, t store.Txn, signer *root, revoked ...store.AuditEntry) error {
	_, err := s.commit(ctx, t, revoked...)
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok && conflict.Key == signer.key {
		head, headErr := s.store.HeadRevision(ctx)
		if headErr != nil {
			return headErr
		}
		if waitErr := s.view.WaitRevision(ctx, head); waitErr != nil {
			return waitErr
		}
	}
	return err
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
