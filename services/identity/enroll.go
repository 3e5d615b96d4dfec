package identity

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
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

// hostState is a host with its recorded key, as they were read.
type hostState struct {
	specKey        string
	specCreated    int64 // create revision of the spec; 0 when there is no such host
	uid            []byte
	recordKey      string
	record         *controllerv1.HostIdentity
	recordRevision int64 // 0 when no key is recorded
}

func (h hostState) exists() bool { return h.specCreated != 0 }

func (h hostState) holds(hash [sha256.Size]byte) bool {
	return h.recordRevision != 0 && bytes.Equal(h.record.GetPublicKeyHash(), hash[:])
}

// sameHost holds while the host is the one that was read, or there still is none.
func (h hostState) sameHost() store.Compare {
	if h.exists() {
		return store.CreateRevisionIs(h.specKey, h.specCreated)
	}
	return store.Unchanged(h.specKey, 0)
}

func (s *Service) loadHost(ctx context.Context, name string) (h hostState, err error) {
	if h.specKey, err = store.SpecKey(store.KindHost, name); err != nil {
		return h, err
	}
	if h.recordKey, err = store.HostIDKey(name); err != nil {
		return h, err
	}
	h.record = new(controllerv1.HostIdentity)
	if h.recordRevision, err = load(ctx, s.store, h.recordKey, h.record); err != nil {
		return h, err
	}
	kv, err := s.store.Get(ctx, h.specKey)
	if isNotFound(err) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	h.specCreated = kv.CreateRevision
	h.uid, err = hostUID(kv)
	return h, err
}

// hostUID reads a host's uid, 8 bytes.
func hostUID(kv store.KV) ([]byte, error) {
	var host operatorv1.Host
	if err := store.Decode(kv, &host); err != nil {
		return nil, err
	}
	uid, err := hex.DecodeString(host.GetMetadata().GetUid())
	if err != nil || len(uid) != uidLen {
		return nil, fmt.Errorf("identity: %s has no uid", kv.Key)
	}
	return uid, nil
}

const uidLen = 8

// certify issues a certificate for the recorded key and records its end. The record must still be
// of that key, and the host of that uid must still exist.
func (s *Service) certify(ctx context.Context, name string, key crypto.PublicKey, hash [sha256.Size]byte, uid []byte) (id *fleetv1.Identity, err error) {
	err = retry(ctx, func() error {
		id, err = s.certifyOnce(ctx, name, key, hash, uid)
		return err
	})
	return id, err
}

func (s *Service) certifyOnce(ctx context.Context, name string, key crypto.PublicKey, hash [sha256.Size]byte, uid []byte) (*fleetv1.Identity, error) {
	h, err := s.loadHost(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := h.check(hash); err != nil {
		return nil, err.WithResource("Host", name)
	}
	if !bytes.Equal(h.uid, uid) {
		return nil, ErrHostRemoved.WithResource("Host", name)
	}
	leaf, signer, err := s.issue(enrol.Name{TrustDomain: s.trustDomain, Kind: enrol.KindHost, Name: name}, key, hostLife)
	if err != nil {
		return nil, err
	}
	h.record.HostUid, h.record.RootId, h.record.NotAfter = uid, signer.id, timestamppb.New(leaf.NotAfter)
	t := store.Txn{Compares: []store.Compare{h.sameHost(), store.Unchanged(signer.key, signer.revision)}}
	if err := put(&t, h.recordKey, h.recordRevision, h.record); err != nil {
		return nil, err
	}
	if err := s.commitIssued(ctx, t, signer); err != nil {
		return nil, err
	}
	bundle, err := s.TrustBundle()
	if err != nil {
		return nil, err
	}
	return &fleetv1.Identity{
		Host: name, CertificateChain: [][]byte{leaf.Raw}, TrustBundle: bundle,
		RenewAt: timestamppb.New(half(leaf.NotBefore, leaf.NotAfter)),
	}, nil
}
