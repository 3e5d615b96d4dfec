package identity

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net/netip"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
)

// Errors of Authenticate.
var (
	// ErrForeign means that a certificate is not of this fleet.
	ErrForeign = fault.New(fault.Unauthenticated,
		"the certificate is not of this fleet: it is another fleet's, or of a CA that was rotated away; enrol again").WithReason("CERTIFICATE_FOREIGN")
	// ErrExpired means that a certificate's time is over, or has not come.
	ErrExpired = fault.New(fault.Unauthenticated,
		"the certificate is not valid at this time: check the clock, or ask an administrator for a new one").WithReason("CERTIFICATE_EXPIRED")
	// ErrOperatorRevoked means that an operator's credential does not count any more.
	ErrOperatorRevoked = fault.New(fault.PermissionDenied,
		"this operator's credential was revoked or replaced: ask an administrator for a new one").WithReason("KEY_REVOKED")
	errNotTLS13 = fault.New(fault.Unauthenticated, "the connection is not TLS 1.3")
)

// Authenticate says who is at the other end of a TLS connection. Without a client certificate that
// is RoleAnyone. With one it must be signed by a root of the fleet and its key must be the recorded
// one; a host whose certificate has expired, and nothing else, is RoleAgentExpired.
//
// It reads the view. Before it refuses a key it reads the store, since the record may be newer than
// the view of this controller; when it is, the view catches up before the caller is let in, so that
// Valid agrees.
func (s *Service) Authenticate(ctx context.Context, cs tls.ConnectionState, remote netip.AddrPort) (caller.Caller, error) {
	who := caller.Caller{Role: caller.RoleAnyone, RemoteAddr: remote, TLS: &cs}
	if cs.Version != tls.VersionTLS13 {
		return caller.Caller{}, errNotTLS13
	}
	if len(cs.PeerCertificates) == 0 {
		return who, nil
	}
	m, err := s.verify(cs)
	if err != nil {
		return caller.Caller{}, err
	}
	who.Name, who.PublicKeyHash = m.Name.Name, m.PublicKeyHash
	who.Role, err = s.role(ctx, m)
	if err != nil {
		return caller.Caller{}, err
	}
	return who, nil
}

func (s *Service) verify(cs tls.ConnectionState) (enrol.Member, error) {
	b, err := s.current()
	if err != nil {
		return enrol.Member{}, err
	}
	m, err := enrol.VerifyMember(cs.PeerCertificates[0], b.certificates(), s.trustDomain, s.now())
	switch {
	case errors.Is(err, enrol.ErrExpired):
		return enrol.Member{}, ErrExpired.Wrap(err)
	case err != nil:
		return enrol.Member{}, ErrForeign.Wrap(err)
	case m.Expired && m.Name.Kind != enrol.KindHost:
		return enrol.Member{}, ErrExpired
	}
	return m, nil
}

// role is what the holder of a verified certificate may do.
func (s *Service) role(ctx context.Context, m enrol.Member) (caller.Role, error) {
	switch m.Name.Kind {
	case enrol.KindHost:
		return s.hostRole(ctx, m)
	case enrol.KindOperator:
		return s.operatorRole(ctx, m)
	case enrol.KindController:
		// Its key lives in the memory of one process and its certificate for a day: there is no record.
		return caller.RoleController, nil
	}
	return "", ErrForeign
}

// hostRole is the role of a host whose key is the recorded one.
func (s *Service) hostRole(ctx context.Context, m enrol.Member) (caller.Role, error) {
	if !s.hostHolds(m.Name.Name, m.PublicKeyHash) {
		h, err := s.loadHost(ctx, m.Name.Name)
		if err != nil {
			return "", err
		}
		if err := h.check(m.PublicKeyHash); err != nil {
			return "", err.WithResource("Host", m.Name.Name)
		}
		if len(h.record.GetHostUid()) == 0 {
			return "", ErrHostRemoved.WithResource("Host", m.Name.Name) // and its new enrolment is not done
		}
		if err := s.view.WaitRevision(ctx, max(h.recordRevision, h.specCreated)); err != nil {
			return "", err
		}
	}
	if m.Expired {
		return caller.RoleAgentExpired, nil
	}
	return caller.RoleAgent, nil
}

// hostHolds reports whether, as far as the view knows, the key is the host's and the host exists.
func (s *Service) hostHolds(name string, hash [sha256.Size]byte) bool {
	recordKey, err := store.HostIDKey(name)
	if err != nil {
		return false
	}
	specKey, err := store.SpecKey(store.KindHost, name)
	if err != nil {
		return false
	}
	now := s.view.Snapshot()
	spec, exists := now.Get(specKey)
	kv, recorded := now.Get(recordKey)
	if !exists || !recorded {
		return false
	}
	uid, err := hostUID(spec)
	if err != nil {
		return false
	}
	var record controllerv1.HostIdentity
	return store.Decode(kv, &record) == nil && bytes.Equal(record.GetPublicKeyHash(), hash[:]) &&
		bytes.Equal(record.GetHostUid(), uid)
}

// operatorRole is the role of an operator whose key is the recorded one.
func (s *Service) operatorRole(ctx context.Context, m enrol.Member) (caller.Role, error) {
	key, err := store.OperatorKey(m.Name.Name)
	if err != nil {
		return "", ErrForeign.Wrap(err)
	}
	if role, ok := s.recordedRole(key, m.PublicKeyHash); ok {
		return role, nil
	}
	var record controllerv1.OperatorIdentity
	revision, err := load(ctx, s.store, key, &record)
	if err != nil {
		return "", err
	}
	role, ok := roleOf(&record, m.PublicKeyHash)
	if !ok {
		return "", ErrOperatorRevoked
	}
	return role, s.view.WaitRevision(ctx, revision)
}

// recordedRole is operatorRole as far as the view knows.
func (s *Service) recordedRole(key string, hash [sha256.Size]byte) (caller.Role, bool) {
	kv, ok := s.view.Get(key)
	if !ok {
		return "", false
	}
	var record controllerv1.OperatorIdentity
	if err := store.Decode(kv, &record); err != nil {
		return "", false
	}
	return roleOf(&record, hash)
}

func roleOf(record *controllerv1.OperatorIdentity, hash [sha256.Size]byte) (caller.Role, bool) {
	have, ok := publicKeyHash(record.GetPublicKeyHash())
	if !ok || have != hash {
		return "", false
	}
	switch role := caller.Role(record.GetRole()); role {
	case caller.RoleViewer, caller.RoleOperator, caller.RoleAdmin:
		return role, true
	}
	return "", false
}

// Valid reports whether a caller that Authenticate let in would be let in again: the key is still
// recorded, with the same role, and the certificate valid. It reads the view only, so that it may be
// asked often; a long stream asks it at each batch of Changes and from time to time.
func (s *Service) Valid(who caller.Caller) bool {
	if who.Local {
		return true
	}
	if who.TLS == nil || len(who.TLS.PeerCertificates) == 0 {
		return who.Role == caller.RoleAnyone && who.TLS != nil
	}
	m, err := s.verify(*who.TLS)
	if err != nil || m.PublicKeyHash != who.PublicKeyHash {
		return false
	}
	switch m.Name.Kind {
	case enrol.KindHost:
		return s.hostHolds(m.Name.Name, m.PublicKeyHash) && m.Expired == (who.Role == caller.RoleAgentExpired)
	case enrol.KindOperator:
		key, err := store.OperatorKey(m.Name.Name)
		if err != nil {
			return false
		}
		role, ok := s.recordedRole(key, m.PublicKeyHash)
		return ok && role == who.Role
	}
	return m.Name.Kind == enrol.KindController && who.Role == caller.RoleController
}

// Changes collects what may make a caller invalid: changes of recorded keys and of the CA. The
// caller closes it.
func (s *Service) Changes() *store.Subscription {
	return s.view.Subscribe(store.HostIDPrefix, store.OperatorPrefix, store.CAPrefix)
}
