package identity

import (
	"context"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
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
