// Package fleettest gives tests a fleet.Service on a real store, served over memory, and writes what an
// operator and the planner would.
package fleettest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
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
	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/fleet"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
	"sallyport.dev/sallyport/services/world"
)

// Patience bounds every wait of a test.
const Patience = 20 * time.Second

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

// Identity is a fleet.Identity of which a test decides.
type Identity struct {
	Root []byte // DER

	mu      sync.Mutex
	revoked map[string]bool
	bundle  [][]byte
}

// Valid implements fleet.Identity.
func (i *Identity) Valid(c caller.Caller) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.revoked[c.Name]
}

// TrustBundle implements fleet.Identity.
func (i *Identity) TrustBundle() ([][]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.bundle, nil
}

// Revoke makes a host's key invalid.
func (i *Identity) Revoke(host string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.revoked[host] = true
}

// AddRoot adds a root to the bundle.
func (i *Identity) AddRoot(der []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.bundle = append(append([][]byte(nil), i.bundle...), der)
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

// NewRoot makes a self-signed certificate authority, DER.
func NewRoot(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return der
}

// Put writes one record.
func (f *Fleet) Put(key string, m proto.Message) int64 {
	f.T.Helper()
	put, err := store.PutRecord(key, m)
	must(f.T, err)
	revision, err := f.Store.Commit(context.Background(), store.Txn{Puts: []store.Put{put}})
	must(f.T, err)
	return revision
}

// Host adds host n of the fleet, as an operator would: web-1, web-2, ...
func (f *Fleet) Host(n int) (name string, uid plan.UID) {
	f.T.Helper()
	name, uid = fmt.Sprintf("web-%d", n), plan.UID{7: byte(n)}
	spec := &operatorv1.Host{Metadata: &operatorv1.Metadata{Name: name, Uid: hex.EncodeToString(uid[:])}, Spec: &operatorv1.HostSpec{}}
	state := &operatorv1.HostStatus{Number: uint32(n), Addresses: []string{fmt.Sprintf("100.64.0.%d", n), fmt.Sprintf("fd00:5a11::%d", n)}}
	f.Put(store.StatusPrefix+"host/"+name, state)
	f.Put(store.SpecPrefix+"host/"+name, spec)
	return name, uid
}

// RemoveHost removes a host, as an operator would.
func (f *Fleet) RemoveHost(name string) {
	f.T.Helper()
	_, err := f.Store.Commit(context.Background(), store.Txn{Deletes: []string{
		store.SpecPrefix + "host/" + name, store.StatusPrefix + "host/" + name, store.EpochPrefix + name,
	}})
	must(f.T, err)
}

// Policy makes a mesh of every host.
func (f *Fleet) Policy(name string) {
	f.T.Helper()
	f.Put(store.SpecPrefix+"policy/"+name, &operatorv1.Policy{
		Metadata: &operatorv1.Metadata{Name: name}, Spec: &operatorv1.PolicySpec{Hosts: "*", Proposal: "aes256gcm16"},
	})
}

// RemovePolicy takes the policy away.
func (f *Fleet) RemovePolicy(name string) {
	f.T.Helper()
	_, err := f.Store.Commit(context.Background(), store.Txn{Deletes: []string{store.SpecPrefix + "policy/" + name}})
	must(f.T, err)
}

// Epoch is the host's epoch as it is recorded; zero when there is none.
func (f *Fleet) Epoch(host string) plan.Epoch {
	f.T.Helper()
	var e controllerv1.Epoch
	_, err := store.Load(context.Background(), f.Store, store.EpochPrefix+host, &e)
	if errors.Is(err, store.ErrNotFound) {
		return plan.Epoch{}
	}
	must(f.T, err)
	return plan.Epoch(e.GetEpoch())
}

// SAID is the id that Generation gives to generation n of the pair of hosts x and y.
func SAID(x, y plan.UID, n uint32) plan.SAID {
	id := plan.PairOf(x, y)
	return plan.SAID{0: 0xaa, 7: id[7], 8: id[15], 12: byte(n)}
}

// Generation makes generation n of a pair for the present epochs of its hosts, as the planner would.
func (f *Fleet) Generation(a, b string, n uint32, phase plan.Phase) plan.PairID {
	f.T.Helper()
	hostA, hostB := f.host(a), f.host(b)
	if plan.PairOf(hostA, hostB).A() != hostA {
		a, b, hostA, hostB = b, a, hostB, hostA
	}
	id := plan.PairOf(hostA, hostB)
	now := time.Now()
	g := plan.Generation{
		Number: n, Phase: phase, ID: SAID(hostA, hostB, n), EpochA: f.Epoch(a), EpochB: f.Epoch(b), Incarnation: f.incarnation(),
		Create: uint32(now.Unix()) - 60, PhaseTime: uint32(now.Unix()), Soft: uint32(now.Unix()) + 3600, Hard: uint32(now.Unix()) + 8*3600,
		SPIAB: 0x01000100 + n, SPIBA: 0x01000200 + n, Transform: plan.Transform{ID: 20, KeyBits: 256, ESN: true},
	}
	record, err := store.PutRecord(store.SAPhaseKey(store.PairID(id), n), world.GenerationRecord(g))
	must(f.T, err)
	key := &controllerv1.GenerationKey{
		Id: g.ID[:], KeyAToB: material('a', n), KeyBToA: material('b', n), SpiAToB: g.SPIAB, SpiBToA: g.SPIBA, ReplayWindow: 2048,
		Transform: &typesv1.Transform{Encryption: 20, KeyBits: 256, Esn: true}, SoftPackets: 1 << 40, HardPackets: 1 << 41,
	}
	plain, err := store.Encode(key)
	must(f.T, err)
	keyKey := store.SAKey(store.PairID(id), n)
	sealed, err := f.Store.SealTraffic(keyKey, plain, now.Add(8*time.Hour))
	must(f.T, err)
	_, err = f.Store.Commit(context.Background(), store.Txn{Puts: []store.Put{record, {Key: keyKey, Value: sealed}}})
	must(f.T, err)
	return id
}

// material is a key that a test knows again.
func material(direction byte, n uint32) []byte {
	m := make([]byte, 36)
	for i := range m {
		m[i] = direction ^ byte(n)
	}
	return m
}

// Material is the key that A seals with, or opens with, in generation n.
func Material(aToB bool, n uint32) []byte {
	if aToB {
		return material('a', n)
	}
	return material('b', n)
}

func (f *Fleet) host(name string) plan.UID {
	f.T.Helper()
	var h operatorv1.Host
	_, err := store.Load(context.Background(), f.Store, store.SpecPrefix+"host/"+name, &h)
	must(f.T, err)
	uid, err := plan.ParseUID(h.GetMetadata().GetUid())
	must(f.T, err)
	return uid
}

func (f *Fleet) incarnation() uint64 {
	inc, err := f.Store.ReadIncarnation(context.Background())
	must(f.T, err)
	return inc.Number
}

// Advance changes a generation's record, as the planner would.
func (f *Fleet) Advance(id plan.PairID, n uint32, change func(*controllerv1.GenerationPhase)) {
	f.T.Helper()
	key := store.SAPhaseKey(store.PairID(id), n)
	for {
		var r controllerv1.GenerationPhase
		revision, err := store.Load(context.Background(), f.Store, key, &r)
		must(f.T, err)
		change(&r)
		put, err := store.PutRecord(key, &r)
		must(f.T, err)
		_, err = f.Store.Commit(context.Background(), store.Txn{Compares: []store.Compare{store.Unchanged(key, revision)}, Puts: []store.Put{put}})
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		must(f.T, err)
		return
	}
}

// SetPhase advances a generation to a phase.
func (f *Fleet) SetPhase(id plan.PairID, n uint32, phase plan.Phase) {
	f.T.Helper()
	f.Advance(id, n, func(r *controllerv1.GenerationPhase) { r.Phase = controllerv1.Phase(phase) })
}

// Forget deletes a generation's record and key.
func (f *Fleet) Forget(id plan.PairID, n uint32) {
	f.T.Helper()
	_, err := f.Store.Commit(context.Background(), store.Txn{Deletes: []string{
		store.SAPhaseKey(store.PairID(id), n), store.SAKey(store.PairID(id), n),
	}})
	must(f.T, err)
}

// AwaitPhase waits until a generation's record is as wished.
func (f *Fleet) AwaitPhase(id plan.PairID, n uint32, what string, ok func(*controllerv1.GenerationPhase) bool) {
	f.T.Helper()
	f.Await(store.SAPhaseKey(store.PairID(id), n), what, func(kv store.KV, exists bool) bool {
		var r controllerv1.GenerationPhase
		return exists && store.Decode(kv, &r) == nil && ok(&r)
	})
}

// AwaitStatus waits until a host's status is as wished.
func (f *Fleet) AwaitStatus(host, what string, ok func(*operatorv1.HostStatus) bool) {
	f.T.Helper()
	f.Await(store.StatusPrefix+"host/"+host, what, func(kv store.KV, exists bool) bool {
		var s operatorv1.HostStatus
		return exists && store.Decode(kv, &s) == nil && ok(&s)
	})
}

// Await waits until one key is as wished.
func (f *Fleet) Await(key, what string, ok func(kv store.KV, exists bool) bool) {
	f.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	sub := f.View.Subscribe(key)
	defer sub.Close()
	for {
		kv, exists := f.View.Get(key)
		if ok(kv, exists) {
			return
		}
		if _, err := sub.Next(ctx); err != nil {
			f.T.Fatalf("%s: waited in vain for %s: %v", key, what, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
