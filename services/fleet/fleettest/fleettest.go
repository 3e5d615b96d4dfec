// Package fleettest gives tests a fleet.Service on a real store, served over memory, and writes what an
// operator and the planner would.
package fleettest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/fleet"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
	"sallyport.dev/sallyport/services/world"
)

// Fleet is one controller on a store.
type Fleet struct {
	T        testing.TB
	Store    *store.Store
	View     *store.View
	Feed     *world.Feed
	Service  *fleet.Service
	Identity *Identity
	Events   *Events

	server *grpc.Server
	lis    *bufconn.Listener
}

// Events keeps the reasons of the events.
type Events struct {
	mu      sync.Mutex
	reasons []string
}

// Event implements fleet.EventWriter.
func (e *Events) Event(_ context.Context, _, name, reason string, _ bool, _ string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reasons = append(e.reasons, name+" "+reason)
}

// Has says whether there was an event.
func (e *Events) Has(host, reason string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.reasons {
		if r == host+" "+reason {
			return true
		}
	}
	return false
}

// Option changes the service's configuration.
type Option func(*fleet.Config)

// New starts a controller on a store of its own.
func New(t testing.TB, options ...Option) *Fleet {
	t.Helper()
	return On(t, storetest.New(t), options...)
}

// On starts a controller on a store, or another one beside it. The fleet's record and its incarnation are
// made if they are not there.
func On(t testing.TB, s *store.Store, options ...Option) *Fleet {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	inc, err := s.Begin(ctx)
	must(t, err)
	root := NewRoot(t)
	f := &Fleet{T: t, Store: s, Identity: &Identity{Root: root, revoked: map[string]bool{}, bundle: [][]byte{root}}, Events: &Events{}}
	f.Put(store.FleetKey, &controllerv1.Fleet{TrustDomain: "test.example", PoolIpv4: "100.64.0.0/16", PoolIpv6: "fd00:5a11::/64"})
	f.View, err = s.View(ctx)
	must(t, err)
	f.Feed = world.New(world.Config{View: f.View, Incarnation: inc.Number})
	config := fleet.Config{
		Store: s, View: f.View, World: f.Feed, Incarnation: inc.Number, Identity: f.Identity, Controller: "c1",
		Events: f.Events, ReportInterval: time.Second, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, o := range options {
		o(&config)
	}
	f.Service, err = fleet.New(config)
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() { _ = f.Feed.Run(ctx) })
	running.Go(func() { _ = f.Service.Run(ctx) })
	f.serve()
	t.Cleanup(func() {
		cancel()
		f.server.Stop()
		running.Wait()
		f.View.Close()
	})
	return f
}

func (f *Fleet) serve() {
	f.lis = bufconn.Listen(1 << 20)
	f.server = grpc.NewServer(grpc.StreamInterceptor(intercept), grpc.WaitForHandlers(true))
	fleetv1.RegisterSyncServiceServer(f.server, f.Service)
	go func() { _ = f.server.Serve(f.lis) }()
}

// hostHeader says who calls: the test's stand-in for a certificate.
const hostHeader = "test-host"

type withContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (w withContext) Context() context.Context { return w.ctx }

// intercept does what services/rpc does: the caller into the context, the error into a status.
func intercept(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	md, _ := metadata.FromIncomingContext(ss.Context())
	c := caller.Caller{Role: caller.RoleAgent, RemoteAddr: netip.MustParseAddrPort("203.0.113.9:4711")}
	if name := md.Get(hostHeader); len(name) == 1 {
		c.Name = name[0]
	}
	if from := md.Get("test-from"); len(from) == 1 {
		c.RemoteAddr = netip.MustParseAddrPort(from[0])
	}
	err := handler(srv, withContext{ss, caller.NewContext(ss.Context(), c)})
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	code := map[fault.Kind]codes.Code{
		fault.InvalidArgument: codes.InvalidArgument, fault.PermissionDenied: codes.PermissionDenied,
		fault.Unauthenticated: codes.Unauthenticated, fault.FailedPrecondition: codes.FailedPrecondition,
		fault.Unavailable: codes.Unavailable, fault.Exhausted: codes.ResourceExhausted,
	}[e.Kind()]
	s, _ := status.New(code, e.Public()).WithDetails(&errdetails.ErrorInfo{Domain: fault.Domain, Reason: e.Reason()})
	return s.Err()
}

// Dial opens a connection as a host, seen from that address; "" for one that is no host's own.
func (f *Fleet) Dial(host, from string) *grpc.ClientConn {
	f.T.Helper()
	conn, err := grpc.NewClient("passthrough:///fleet", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return f.lis.DialContext(ctx) }),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			ctx = metadata.AppendToOutgoingContext(ctx, hostHeader, host)
			if from != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "test-from", from)
			}
			return next(ctx, d, cc, method, o...)
		}))
	must(f.T, err)
	f.T.Cleanup(func() { _ = conn.Close() })
	return conn
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
