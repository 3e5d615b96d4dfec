package operator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/ipam"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// defaultQuarantine is the longest hard lifetime by default, and an hour.
const defaultQuarantine = 9 * time.Hour

// TokenIssuer makes join tokens: it names them and keeps their secrets.
type TokenIssuer interface {
	// CreateJoinToken stores a complete, checked token with a new name and secret, and returns it with
	// the text to give to the agent.
	CreateJoinToken(ctx context.Context, t *operatorv1.JoinToken) (created *operatorv1.JoinToken, text string, err error)
}

// Authority is the fleet's CA.
type Authority interface {
	// RootHash is the SHA-256 of the active root's SubjectPublicKeyInfo.
	RootHash() ([32]byte, error)
	RotateCA(ctx context.Context, r *operatorv1.RotateCARequest) (*operatorv1.RotateCAResponse, error)
	IssueOperator(ctx context.Context, r *operatorv1.IssueOperatorRequest) (*operatorv1.IssueOperatorResponse, error)
	RevokeOperator(ctx context.Context, name string) error
}

// Config makes a Service.
type Config struct {
	// Store, View and Feed are the process's; the service does not close them.
	Store *store.Store
	View  *store.View
	Feed  *world.Feed
	// Audit gets every host and token that is removed, so that a restore cannot bring it back.
	Audit *store.Audit
	// Events tells operators what happened.
	Events *store.Events
	// Fleet is the store's record of that name.
	Fleet *controllerv1.Fleet
	// Incarnation is the store's.
	Incarnation uint64
	// Controller and Version are shown by GetStatus.
	Controller, Version string
	// Tokens and Authority are the identity service.
	Tokens    TokenIssuer
	Authority Authority
	// Identities reads the identities of peers.
	Identities spec.Identities
	// Halted says why nothing is delivered to agents, "" while it is. Nil: this process serves none.
	Halted func() string
	// Quarantine is how long the address of a deleted host rests: an hour past the longest hard
	// lifetime; default 9 h. Policies with a longer hard_time prolong it.
	Quarantine time.Duration
	// Log is the service's; nil logs nothing.
	Log *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Service implements ResourceService and AdminService, and makes hosts for the identity service. It is
// safe for concurrent use.
type Service struct {
	operatorv1.UnimplementedResourceServiceServer
	operatorv1.UnimplementedAdminServiceServer

	store      *store.Store
	view       *store.View
	feed       *world.Feed
	audit      *store.Audit
	events     *store.Events
	tokens     TokenIssuer
	authority  Authority
	identities spec.Identities
	halted     func() string
	pools      ipam.Pools
	quarantine time.Duration
	log        *slog.Logger
	now        func() time.Time
	about      *operatorv1.ControllerStatus
	allocation *allocation
	pages      *pages
	limits     watchLimits
}

// New makes the service. The error says what the configuration lacks.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.View == nil || c.Feed == nil || c.Audit == nil || c.Events == nil || c.Tokens == nil || c.Authority == nil || c.Identities == nil {
		return nil, errors.New("operator: Config needs Store, View, Feed, Audit, Events, Tokens and Authority")
	}
	pools, err := ipam.ParsePools(c.Fleet)
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	if c.Quarantine <= 0 {
		c.Quarantine = defaultQuarantine
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Halted == nil {
		c.Halted = func() string { return "" }
	}
	var key [32]byte
	rand.Read(key[:])
	return &Service{
		store: c.Store, view: c.View, feed: c.Feed, audit: c.Audit, events: c.Events, tokens: c.Tokens, authority: c.Authority, identities: c.Identities, halted: c.Halted,
		pools: pools, quarantine: c.Quarantine, log: c.Log, now: c.Now, about: about(c),
		allocation: newAllocation(), pages: newPages(key, c.Now), limits: defaultWatchLimits(),
	}, nil
}
