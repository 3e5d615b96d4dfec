package operator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
	"sallyport.dev/sallyport/services/world"
)

const testIncarnation = 5

// fleet is a controller's operator service on a real etcd, with clients on a real gRPC connection.
type fleet struct {
	t         *testing.T
	ctx       context.Context
	store     *store.Store
	view      *store.View
	feed      *world.Feed
	service   *Service
	resources operatorv1.ResourceServiceClient
	admin     operatorv1.AdminServiceClient
	auditPath string
	clock     atomic.Int64 // added to the real time, ns
	streams   atomic.Int32 // handlers of streams that are running
}

type option func(*Config)

func withPools(v4, v6 string) option {
	return func(c *Config) { c.Fleet.PoolIpv4, c.Fleet.PoolIpv6 = v4, v6 }
}

func newFleet(t *testing.T, options ...option) *fleet {
	t.Helper()
	return newFleetOn(t, storetest.New(t), options...)
}

// newFleetOn is one more controller on a store.
func newFleetOn(t *testing.T, s *store.Store, options ...option) *fleet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	f := &fleet{t: t, ctx: ctx, store: s, auditPath: filepath.Join(t.TempDir(), "audit")}
	var err error
	if f.view, err = s.View(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.view.Close)
	f.feed = world.New(world.Config{View: f.view, Incarnation: testIncarnation, Now: f.now})
	f.run(func() { f.feed.Run(ctx) })
	audit, err := store.OpenAudit(f.auditPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Store: s, View: f.view, Feed: f.feed, Audit: audit, Events: store.NewEvents(s, nil),
		Fleet:       &controllerv1.Fleet{TrustDomain: "fleet.test", PoolIpv4: "10.86.0.0/16", PoolIpv6: "fd86::/64"},
		Incarnation: testIncarnation, Controller: "controller-1", Version: "test", Tokens: issuer{s}, Authority: authority{}, Identities: identities{},
		Log: slog.New(slog.DiscardHandler), Now: f.now,
	}
	for _, o := range options {
		o(&c)
	}
	if f.service, err = New(c); err != nil {
		t.Fatal(err)
	}
	f.serve()
	return f
}

func (f *fleet) now() time.Time { return time.Now().Add(time.Duration(f.clock.Load())) }

// run starts a goroutine that ends with the test.
func (f *fleet) run(do func()) {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	f.t.Cleanup(func() { f.view.Close(); <-done })
}

func (f *fleet) serve() {
	server := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			resp, err := h(ctx, req)
			return resp, statusOf(err)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			f.streams.Add(1)
			defer f.streams.Add(-1)
			return statusOf(h(srv, stream))
		}),
	)
	operatorv1.RegisterResourceServiceServer(server, f.service)
	operatorv1.RegisterAdminServiceServer(server, f.service)
	listener := bufconn.Listen(1 << 20)
	f.run(func() { server.Serve(listener) })
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close(); server.Stop() })
	f.resources, f.admin = operatorv1.NewResourceServiceClient(conn), operatorv1.NewAdminServiceClient(conn)
}

// statusOf carries a fault over the connection, as services/rpc does.
func statusOf(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if err == nil || !ok {
		return err
	}
	code := map[fault.Kind]codes.Code{
		fault.InvalidArgument: codes.InvalidArgument, fault.NotFound: codes.NotFound, fault.AlreadyExists: codes.AlreadyExists,
		fault.Conflict: codes.Aborted, fault.FailedPrecondition: codes.FailedPrecondition, fault.Exhausted: codes.ResourceExhausted,
		fault.OutOfRange: codes.OutOfRange, fault.Unavailable: codes.Unavailable, fault.Canceled: codes.Canceled,
	}[f.Kind()]
	if code == codes.OK {
		code = codes.Internal
	}
	bad := &errdetails.BadRequest{}
	for _, v := range f.Fields() {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Name, Description: v.Description})
	}
	s, detailErr := status.New(code, f.Message()).WithDetails(
		[]protoadapt.MessageV1{bad, &errdetails.ErrorInfo{Reason: f.Reason(), Domain: fault.Domain}}...)
	if detailErr != nil {
		return detailErr
	}
	return s.Err()
}

// issuer makes join tokens in the store, without secrets.
type issuer struct{ store *store.Store }

func (i issuer) CreateJoinToken(ctx context.Context, t *operatorv1.JoinToken) (*operatorv1.JoinToken, string, error) {
	t = proto.CloneOf(t)
	t.Metadata = proto.CloneOf(t.GetMetadata())
	if t.Metadata == nil {
		t.Metadata = &operatorv1.Metadata{}
	}
	t.Metadata.Name = strings.ToLower(rand.Text()[:16])
	put, err := store.PutRecord("spec/jointoken/"+t.Metadata.Name, t)
	if err != nil {
		return nil, "", err
	}
	secret, err := store.PutRecord("identity/token/"+t.Metadata.Name, &controllerv1.TokenSecret{SealedSecret: []byte("secret")})
	if err != nil {
		return nil, "", err
	}
	t.Metadata.Revision, err = i.store.Commit(ctx, store.Txn{Puts: []store.Put{put, secret}})
	return t, "token-" + t.Metadata.Name, err
}

type authority struct{}

// identities are those that a test's peers can have.
type identities struct{}

func (identities) CheckIdentity(text string, _ bool) error {
	if strings.Contains(text, "=") {
		return errors.New("identities: no distinguished names here")
	}
	return nil
}

func (authority) RootHash() ([32]byte, error) { return sha256.Sum256([]byte("root")), nil }

func (authority) RotateCA(context.Context, *operatorv1.RotateCARequest) (*operatorv1.RotateCAResponse, error) {
	return &operatorv1.RotateCAResponse{Roots: []*operatorv1.RotateCAResponse_Root{{Id: "1", Active: true}}}, nil
}

func (authority) IssueOperator(_ context.Context, r *operatorv1.IssueOperatorRequest) (*operatorv1.IssueOperatorResponse, error) {
	return &operatorv1.IssueOperatorResponse{CertificateChain: [][]byte{[]byte(r.GetName())}}, nil
}

func (authority) RevokeOperator(_ context.Context, name string) error {
	return fault.Newf(fault.NotFound, "there is no operator %s", name)
}

// Resources for tests.
func hostResource(name string, labels map[string]string, subnets ...string) *operatorv1.Resource {
	return ofHost(&operatorv1.Host{Metadata: &operatorv1.Metadata{Name: name, Labels: labels}, Spec: &operatorv1.HostSpec{Subnets: subnets}})
}

func policyResource(name, hosts string) *operatorv1.Resource {
	return ofPolicy(&operatorv1.Policy{Metadata: &operatorv1.Metadata{Name: name}, Spec: &operatorv1.PolicySpec{Hosts: hosts}})
}

func (f *fleet) create(r *operatorv1.Resource) *operatorv1.Resource {
	f.t.Helper()
	resp, err := f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: r})
	if err != nil {
		f.t.Fatalf("create: %v", describeErr(err))
	}
	return resp.GetResource()
}

func (f *fleet) get(k operatorv1.Kind, name string) *operatorv1.Resource {
	f.t.Helper()
	resp, err := f.resources.Get(f.ctx, &operatorv1.GetRequest{Kind: k, Name: name})
	if err != nil {
		f.t.Fatalf("get %s: %v", name, err)
	}
	return resp.GetResource()
}

// put writes records behind the service's back, as other services do, and waits until it sees them.
func (f *fleet) put(records map[string]proto.Message) int64 {
	f.t.Helper()
	var txn store.Txn
	for key, m := range records {
		put, err := store.PutRecord(key, m)
		if err != nil {
			f.t.Fatal(err)
		}
		txn.Puts = append(txn.Puts, put)
	}
	return f.commit(txn)
}

func (f *fleet) commit(txn store.Txn) int64 {
	f.t.Helper()
	revision, err := f.store.Commit(f.ctx, txn)
	if err == nil {
		err = f.feed.WaitRevision(f.ctx, revision)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return revision
}

// connect makes a host look connected.
func (f *fleet) connect(name string, epoch byte) {
	f.t.Helper()
	uid, err := hex.DecodeString(f.get(kindHost, name).GetHost().GetMetadata().GetUid())
	if err != nil {
		f.t.Fatal(err)
	}
	e := append(make([]byte, 15), epoch)
	f.put(map[string]proto.Message{
		"epoch/" + name: &controllerv1.Epoch{HostUid: uid, Epoch: e, Stream: 1},
		"live/" + name:  &controllerv1.Live{Epoch: e, Stream: 1},
	})
}

// eventually waits until a condition holds.
func (f *fleet) eventually(what string, holds func() bool) {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-f.ctx.Done():
			f.t.Fatalf("in vain waited for: %s", what)
		}
	}
}

// refusal is an error as a client sees it.
type refusal struct {
	code   codes.Code
	reason string
	text   string // message and fields
	fields []string
}

func refusalOf(err error) refusal {
	s, _ := status.FromError(err)
	r := refusal{code: s.Code(), text: s.Message()}
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			r.reason = d.GetReason()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				r.fields = append(r.fields, v.GetField())
				r.text += "; " + v.GetField() + ": " + v.GetDescription()
			}
		}
	}
	return r
}

func describeErr(err error) string { return fmt.Sprintf("%+v", refusalOf(err)) }

// wantRefusal checks the code and that the text holds each of the words.
func wantRefusal(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	r := refusalOf(err)
	if err == nil || r.code != code {
		t.Errorf("error %v (%+v), want code %s", err, r, code)
		return
	}
	for _, word := range words {
		if !strings.Contains(r.text, word) {
			t.Errorf("error %q does not say %q", r.text, word)
		}
	}
}
