package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/identity"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/rpc"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

const trustDomain = "fleet.example"

// clock is the tests' time: it moves when a test says so.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// hosts is what services/operator is in production: it makes hosts in the store.
type hosts struct {
	store *store.Store
	mu    sync.Mutex
	made  int
	fail  error
}

func (h *hosts) setFail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = err
}

func (h *hosts) EnsureHost(ctx context.Context, name string, labels map[string]string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return nil, h.fail
	}
	key, err := store.SpecKey(store.KindHost, name)
	if err != nil {
		return nil, err
	}
	var host operatorv1.Host
	if _, err := store.Load(ctx, h.store, key, &host); err == nil {
		return hex.DecodeString(host.GetMetadata().GetUid())
	} else if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	uid := make([]byte, 8)
	rand.Read(uid)
	put, err := store.PutRecord(key, &operatorv1.Host{Metadata: &operatorv1.Metadata{Name: name, Labels: labels, Uid: hex.EncodeToString(uid)}})
	if err != nil {
		return nil, err
	}
	h.made++
	_, err = h.store.Commit(ctx, store.Txn{Compares: []store.Compare{store.Unchanged(key, 0)}, Puts: []store.Put{put}})
	return uid, err
}

// events keeps what operators are told.
type events struct {
	mu   sync.Mutex
	seen []string
}

func (e *events) Event(_ context.Context, kind, name, reason string, _ bool, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = append(e.seen, fmt.Sprintf("%s %s/%s: %s", reason, kind, name, message))
}

// has reports whether an event contains all the parts.
func (e *events) has(parts ...string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.seen, func(s string) bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s, p) })
	})
}

// controller is one controller with a real store, a real TLS port and its own view.
type controller struct {
	*identity.Service
	t       *testing.T
	clock   *clock
	store   *store.Store
	view    *store.View
	hosts   *hosts
	events  *events
	audit   *store.Audit
	address string
}

// syncService lets those in who may call it.
type syncService struct {
	fleetv1.UnimplementedSyncServiceServer
}

func newController(t *testing.T) *controller {
	t.Helper()
	return startController(t, storetest.New(t), &clock{now: time.Date(2030, 1, 4, 17, 0, 0, 0, time.UTC)}, 1)
}

func startController(t *testing.T, s *store.Store, clk *clock, incarnation uint64) *controller {
	t.Helper()
	audit, err := store.OpenAudit(filepath.Join(t.TempDir(), "audit"), clk.Now)
	if err != nil {
		t.Fatal(err)
	}
	view, err := s.View(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(view.Close)
	c := &controller{t: t, clock: clk, store: s, view: view, hosts: &hosts{store: s}, events: &events{}, audit: audit}
	c.Service, err = identity.New(t.Context(), identity.Config{
		Store: s, View: view, Audit: audit, TrustDomain: trustDomain, Incarnation: incarnation,
		Controller: "c1", Hosts: c.hosts, Events: c.events, Now: clk.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.serve()
	return c
}

func (c *controller) serve() {
	c.t.Helper()
	server, err := rpc.New(rpc.Config{
		Auth: c.Service, TLS: c.ServerConfig(),
		Register: func(r grpc.ServiceRegistrar) {
			fleetv1.RegisterEnrolmentServiceServer(r, c.Service)
			fleetv1.RegisterSyncServiceServer(r, syncService{})
			operatorv1.RegisterResourceServiceServer(r, operatorv1.UnimplementedResourceServiceServer{})
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	c.address = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(l) }()
	c.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Shutdown(ctx)
		if err := <-served; err != nil {
			c.t.Error(err)
		}
	})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// token makes a join token.
func (c *controller) token(spec *operatorv1.JoinTokenSpec) enrol.Token {
	c.t.Helper()
	_, text, err := c.CreateJoinToken(c.t.Context(), &operatorv1.JoinToken{Metadata: &operatorv1.Metadata{}, Spec: spec})
	if err != nil {
		c.t.Fatal(err)
	}
	token, err := enrol.ParseToken(text)
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

func bound(host string) *operatorv1.JoinTokenSpec { return &operatorv1.JoinTokenSpec{Host: host} }

func prefix(p string, uses uint32) *operatorv1.JoinTokenSpec {
	return &operatorv1.JoinTokenSpec{NamePrefix: p, MaxUses: uses, Labels: map[string]string{"role": "web"}}
}

// agent is a host at the other end.
type agent struct {
	c   *controller
	key *ecdsa.PrivateKey
	id  *fleetv1.Identity
}

// enrol enrols a key and keeps what came back.
func (c *controller) enrol(token enrol.Token, key *ecdsa.PrivateKey) (*agent, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	id, err := dial.Enroll(ctx, dial.EnrollConfig{Address: c.address, Token: token, Key: key, Now: c.clock.Now})
	if err != nil {
		return nil, err
	}
	return &agent{c: c, key: key, id: id}, nil
}

func (c *controller) mustEnrol(token enrol.Token, key *ecdsa.PrivateKey) *agent {
	c.t.Helper()
	a, err := c.enrol(token, key)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func parse(t *testing.T, ders ...[]byte) []*x509.Certificate {
	t.Helper()
	certs := make([]*x509.Certificate, len(ders))
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		certs[i] = cert
	}
	return certs
}

// conn opens a connection with the agent's certificate and bundle.
func (a *agent) conn() *grpc.ClientConn {
	t := a.c.t
	t.Helper()
	conn, err := dial.Member(dial.MemberConfig{
		Addresses: []string{a.c.address},
		Certificate: func() (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: a.id.CertificateChain, PrivateKey: a.key}, nil
		},
		Trust: func() enrol.Trust {
			return enrol.Trust{Roots: parse(t, a.id.TrustBundle...), Domain: trustDomain}
		},
		Now: a.c.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (a *agent) renew() error {
	ctx, cancel := context.WithTimeout(a.c.t.Context(), 20*time.Second)
	defer cancel()
	conn := a.conn()
	defer conn.Close()
	r, err := fleetv1.NewEnrolmentServiceClient(conn).Renew(ctx, &fleetv1.RenewRequest{})
	if err != nil {
		return fault.FromError(err)
	}
	a.id = r.GetIdentity()
	return nil
}

// sync opens a Sync stream; nil means that the agent was let in.
func (a *agent) sync() error {
	ctx, cancel := context.WithTimeout(a.c.t.Context(), 20*time.Second)
	defer cancel()
	conn := a.conn()
	defer conn.Close()
	stream, err := fleetv1.NewSyncServiceClient(conn).Sync(ctx)
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	return fault.FromError(err)
}

// wantReason fails unless err is a fault with that reason.
func wantReason(t *testing.T, what string, err error, reason string) {
	t.Helper()
	if err == nil || fault.ReasonOf(err) != reason {
		t.Errorf("%s: got %v (%s), want %s", what, err, fault.ReasonOf(err), reason)
	}
}

func wantNil(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// settled waits until the view has everything.
func (c *controller) settled() {
	c.t.Helper()
	head, err := c.store.HeadRevision(c.t.Context())
	if err == nil {
		err = c.view.WaitRevision(c.t.Context(), head)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// delete deletes keys, as services/operator does when a host is deleted.
func (c *controller) delete(keys ...string) {
	c.t.Helper()
	if _, err := c.store.Commit(c.t.Context(), store.Txn{Deletes: keys}); err != nil {
		c.t.Fatal(err)
	}
}
