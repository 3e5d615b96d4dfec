package identity

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// Errors of Enroll that its caller can tell apart.
var (
	// ErrTokenRefused is the one answer to every token that is not good: a stranger learns nothing
	// from it. The log and an event have the reason.
	ErrTokenRefused = fault.New(fault.PermissionDenied,
		"the join token was refused: unknown, used up or expired; make a new one with sallyport join-token create").WithReason("TOKEN_REFUSED")
	// ErrTooManyAttempts means that too many wrong tokens came from the caller's address.
	ErrTooManyAttempts = fault.New(fault.Exhausted,
		"too many wrong join tokens came from this address: wait a minute").WithReason("TOO_MANY_ATTEMPTS")
	// ErrNameTaken means that the name that a prefix token gives exists already.
	ErrNameTaken = fault.New(fault.AlreadyExists,
		"a host of that name exists already: join with a new key, or with a token that is bound to the host").WithReason("NAME_TAKEN")
	errNoHosts = fault.New(fault.Unavailable, "this controller cannot make hosts yet: try again").WithReason("STARTING")
)

// application is an enrolment whose proof is good.
type application struct {
	token *storedToken
	host  string // name
	key   crypto.PublicKey
	hash  [sha256.Size]byte
}

// Enroll implements fleetv1.EnrolmentServiceServer. First the key and the use of the token are
// recorded, in one transaction; then the host is made if need be; then the certificate is issued
// and recorded. A call that broke off anywhere is finished by the next one with the same token and
// key, at no further use.
func (s *Service) Enroll(ctx context.Context, r *fleetv1.EnrollRequest) (*fleetv1.EnrollResponse, error) {
	who, ok := caller.FromContext(ctx)
	if !ok || who.TLS == nil {
		return nil, fault.New(fault.FailedPrecondition, "enrolment goes over the controller's TLS port")
	}
	if !s.attempts.allowed(who.RemoteAddr.Addr(), s.now()) {
		return nil, ErrTooManyAttempts
	}
	id, err := s.enroll(ctx, who, r)
	switch {
	case err == nil:
		return &fleetv1.EnrollResponse{Identity: id}, nil
	case errors.Is(err, ErrTokenRefused), fault.KindOf(err) == fault.InvalidArgument:
		s.attempts.failed(who.RemoteAddr.Addr(), s.now())
	}
	return nil, err
}

func (s *Service) enroll(ctx context.Context, who caller.Caller, r *fleetv1.EnrollRequest) (*fleetv1.Identity, error) {
	a, err := s.prove(ctx, who, r)
	if err != nil {
		return nil, err
	}
	return s.admit(ctx, a)
}

// prove checks the request and the proof of the token's secret.
func (s *Service) prove(ctx context.Context, who caller.Caller, r *fleetv1.EnrollRequest) (application, error) {
	key, hash, err := enrol.ParseRequest(r.GetCertificateRequest())
	if err != nil {
		return application{}, badRequest(err)
	}
	exporter, err := enrol.Exporter(who.TLS)
	if err != nil {
		return application{}, fault.New(fault.FailedPrecondition, "enrolment needs TLS 1.3").Wrap(err)
	}
	token, err := s.loadToken(ctx, r.GetTokenId())
	if err != nil {
		return application{}, err
	}
	// An unknown token costs the time of a wrong proof.
	var secret enrol.Secret
	if token != nil {
		secret = token.secret
	}
	good := enrol.VerifyProof(secret, exporter, r.GetCertificateRequest(), r.GetProof())
	switch {
	case token == nil:
		return application{}, s.refuse(ctx, who, nil, "there is no token "+shown(r.GetTokenId()))
	case !good:
		return application{}, s.refuse(ctx, who, token, "the proof of its secret is wrong")
	case token.incarnation != s.incarnation:
		return application{}, s.refuse(ctx, who, token, "it was made before the store was restored")
	}
	return application{token: token, host: hostName(token.spec.GetSpec(), hash), key: key, hash: hash}, nil
}

// shown is a stranger's token id as the log may hold it.
func shown(id string) string {
	if enrol.ValidTokenID(id) {
		return id
	}
	return "with such an id"
}

// refuse tells the log and the operators why, and the caller nothing.
func (s *Service) refuse(ctx context.Context, who caller.Caller, token *storedToken, why string) error {
	s.log.WarnContext(ctx, "join token refused", "caller", who, "reason", why)
	if token != nil {
		s.events.Event(ctx, "JoinToken", token.id, "JoinTokenRefused", true,
			fmt.Sprintf("an enrolment from %s was refused: %s", who.RemoteAddr.Addr(), why))
	}
	return ErrTokenRefused
}

// hostName is the name that a token gives to a key.
func hostName(spec *operatorv1.JoinTokenSpec, hash [sha256.Size]byte) string {
	if spec.GetHost() != "" {
		return spec.GetHost()
	}
	return spec.GetNamePrefix() + strings.ToLower(base32.StdEncoding.EncodeToString(hash[:5]))
}

// admit makes the key that of the host, and issues a certificate.
func (s *Service) admit(ctx context.Context, a application) (*fleetv1.Identity, error) {
	var claimed claim
	err := retry(ctx, func() error {
		var err error
		claimed, err = s.claim(ctx, a)
		return err
	})
	if err != nil {
		return nil, err
	}
	uid := claimed.record.GetHostUid()
	if len(uid) == 0 {
		hosts := s.hosts.Load()
		if hosts == nil {
			return nil, errNoHosts
		}
		if uid, err = (*hosts).EnsureHost(ctx, a.host, a.token.spec.GetSpec().GetLabels()); err != nil {
			return nil, err
		}
	}
	id, err := s.certify(ctx, a.host, a.key, a.hash, uid)
	if err == nil && claimed.fresh {
		s.log.InfoContext(ctx, "host joined", "host", a.host, "token", a.token.id, "public_key_hash", hex.EncodeToString(a.hash[:]))
		s.events.Event(ctx, "Host", a.host, "HostJoined", false, "the host joined with the token "+a.token.id)
	}
	return id, err
}
