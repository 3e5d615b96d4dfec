package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
)

// HostCreator makes the hosts that join by a token.
type HostCreator interface {
	// EnsureHost creates the host with its address when it does not exist, and returns its uid, 8
	// bytes. A host that exists keeps its labels.
	EnsureHost(ctx context.Context, name string, labels map[string]string) (uid []byte, err error)
}

// EventWriter tells operators what happened.
type EventWriter interface {
	// Event records an event about a resource. It does not fail: an event is not worth an RPC.
	Event(ctx context.Context, aboutKind, aboutName, reason string, warning bool, message string)
}

// Config makes a Service.
type Config struct {
	// Store and View are the process's; the service does not close them.
	Store *store.Store
	View  *store.View
	// Audit gets every revocation, so that a restore cannot undo it.
	Audit *store.Audit
	// TrustDomain is the fleet's.
	TrustDomain string
	// Incarnation is the store's: join tokens of another one are void.
	Incarnation uint64
	// Controller is this controller's name, for its certificate.
	Controller string
	// Hosts makes hosts. It may be set later, by SetHosts, but before the first enrolment.
	Hosts HostCreator
	// Events tells operators what happened; nil tells nobody.
	Events EventWriter
	// Log is the service's; nil logs nothing.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service is the PAD. It is safe for concurrent use. It implements fleetv1.EnrolmentServiceServer.
type Service struct {
	fleetv1.UnimplementedEnrolmentServiceServer

	store       *store.Store
	view        *store.View
	audit       *store.Audit
	trustDomain string
	incarnation uint64
	controller  enrol.Name
	events      EventWriter
	log         *slog.Logger
	now         func() time.Time
	attempts    *attempts

	hosts  atomic.Pointer[HostCreator]
	bundle atomic.Pointer[bundle]

	mu   sync.Mutex
	cert *controllerCertificate // guarded by mu
}

// New makes the service and, at the fleet's first start, its CA.
func New(ctx context.Context, c Config) (*Service, error) {
	name := enrol.Name{TrustDomain: c.TrustDomain, Kind: enrol.KindController, Name: c.Controller}
	if err := name.Validate(); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if c.Store == nil || c.View == nil || c.Audit == nil {
		return nil, errors.New("identity: Config needs Store, View and Audit")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Events == nil {
		c.Events = noEvents{}
	}
	s := &Service{
		store: c.Store, view: c.View, audit: c.Audit, trustDomain: c.TrustDomain, incarnation: c.Incarnation,
		controller: name, events: c.Events, log: c.Log, now: c.Now, attempts: newAttempts(maxAddresses),
	}
	if c.Hosts != nil {
		s.SetHosts(c.Hosts)
	}
	return s, s.ensureCA(ctx)
}

// SetHosts sets who makes hosts.
func (s *Service) SetHosts(h HostCreator) { s.hosts.Store(&h) }

type noEvents struct{}

func (noEvents) Event(context.Context, string, string, string, bool, string) {}

// maxTries bounds how often a decision is made again because what it was made from has changed.
const maxTries = 8

// errBusy says that others were always faster.
var errBusy = fault.New(fault.Conflict, "too many changes at the same time: try again").WithReason("CONFLICT")

// retry runs decide until it does not lose against a concurrent write.
func retry(ctx context.Context, decide func() error) error {
	for range maxTries {
		if err := decide(); !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return errBusy
}

// commit commits a transaction that revokes nothing, or one with audit entries that does.
func (s *Service) commit(ctx context.Context, t store.Txn, revoked ...store.AuditEntry) (int64, error) {
	if len(revoked) == 0 {
		return s.store.Commit(ctx, t)
	}
	return s.store.CommitAudited(ctx, s.audit, t, revoked...)
}

// load reads a record linearizably. Its revision is 0 when there is none.
func load[T proto.Message](ctx context.Context, s *store.Store, key string, into T) (int64, error) {
	revision, err := store.Load(ctx, s, key, into)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return revision, err
}

// put adds a record to a transaction, to be written if the key still has that revision.
func put(t *store.Txn, key string, revision int64, m proto.Message) error {
	p, err := store.PutRecord(key, m)
	if err != nil {
		return err
	}
	t.Puts = append(t.Puts, p)
	t.Compares = append(t.Compares, store.Unchanged(key, revision))
	return nil
}

// publicKeyHash reads a recorded hash; false when it is none.
func publicKeyHash(b []byte) ([sha256.Size]byte, bool) {
	if len(b) != sha256.Size {
		return [sha256.Size]byte{}, false
	}
	return [sha256.Size]byte(b), true
}

// actor names the caller in the audit file.
func actor(ctx context.Context) string {
	who, ok := caller.FromContext(ctx)
	if !ok {
		return "controller"
	}
	return string(who.Role) + "/" + who.Name
}
