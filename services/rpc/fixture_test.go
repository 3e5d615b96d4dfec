package rpc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/dial"
)

// fakeAuth says what the test says.
type fakeAuth struct {
	mu   sync.Mutex
	role caller.Role
	err  error
	seen []netip.AddrPort
	gone bool // nobody is valid any more
}

func (f *fakeAuth) Valid(caller.Caller) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.gone
}

func (f *fakeAuth) set(role caller.Role, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.role, f.err = role, err
}

func (f *fakeAuth) Authenticate(_ context.Context, cs tls.ConnectionState, remote netip.AddrPort) (caller.Caller, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, remote)
	if f.role == "panic" {
		panic("in the authenticator")
	}
	return caller.Caller{Role: f.role, Name: "x", RemoteAddr: remote, TLS: &cs}, f.err
}

// resources answers Get with what the test says; and knows no other call.
type resources struct {
	operatorv1.UnimplementedResourceServiceServer
	get func(context.Context, *operatorv1.GetRequest) (*operatorv1.GetResponse, error)
}

func (r *resources) Get(ctx context.Context, req *operatorv1.GetRequest) (*operatorv1.GetResponse, error) {
	if r.get == nil {
		return &operatorv1.GetResponse{}, nil
	}
	return r.get(ctx, req)
}

// Watch lasts until it is ended.
func (r *resources) Watch(_ *operatorv1.WatchRequest, stream operatorv1.ResourceService_WatchServer) error {
	if err := stream.Send(&operatorv1.WatchResponse{}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// syncs reads messages until the end or an error.
type syncs struct {
	fleetv1.UnimplementedSyncServiceServer
	started chan struct{}
	ended   chan error
}

func (s *syncs) Sync(stream fleetv1.SyncService_SyncServer) error {
	select {
	case s.started <- struct{}{}:
	default:
	}
	for {
		if _, err := stream.Recv(); err != nil {
			select {
			case s.ended <- err:
			default:
			}
			return err
		}
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// rig is a server on both ports with a client on each.
type rig struct {
	t           *testing.T
	server      *Server
	auth        *fakeAuth
	resources   *resources
	syncs       *syncs
	log         *lockedBuffer
	address     string
	socket      string
	client      *grpc.ClientConn
	localClient *grpc.ClientConn
}

func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
}

func newRig(t *testing.T, limits Limits) *rig {
	t.Helper()
	r := &rig{
		t: t, auth: &fakeAuth{role: caller.RoleAdmin}, resources: &resources{},
		syncs: &syncs{started: make(chan struct{}, 1), ended: make(chan error, 1)}, log: &lockedBuffer{},
		socket: filepath.Join(t.TempDir(), "s"),
	}
	var err error
	r.server, err = New(Config{
		Auth: r.auth, TLS: serverTLS(t), Limits: limits,
		Register: func(g grpc.ServiceRegistrar) {
			fleetv1.RegisterEnrolmentServiceServer(g, fleetv1.UnimplementedEnrolmentServiceServer{})
			fleetv1.RegisterSyncServiceServer(g, r.syncs)
			fleetv1.RegisterRelayServiceServer(g, fleetv1.UnimplementedRelayServiceServer{})
			operatorv1.RegisterPeerServiceServer(g, operatorv1.UnimplementedPeerServiceServer{})
			operatorv1.RegisterResourceServiceServer(g, r.resources)
			operatorv1.RegisterAdminServiceServer(g, operatorv1.UnimplementedAdminServiceServer{})
		},
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.serve()
	return r
}

func (r *rig) serve() {
	r.t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	local, err := ListenUnix(r.socket)
	if err != nil {
		r.t.Fatal(err)
	}
	r.address = tcp.Addr().String()
	var served sync.WaitGroup
	served.Go(func() {
		if err := r.server.ServeTLS(tcp); err != nil {
			r.t.Error(err)
		}
	})
	served.Go(func() {
		if err := r.server.ServeUnix(local); err != nil {
			r.t.Error(err)
		}
	})
	r.client = r.dial()
	if r.localClient, err = dial.Unix(r.socket); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		r.client.Close()
		r.localClient.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r.server.Shutdown(ctx)
		served.Wait()
	})
}

func (r *rig) dial() *grpc.ClientConn {
	r.t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	conn, err := grpc.NewClient("passthrough:///"+r.address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

// get calls Get on the TLS port.
func (r *rig) get(req *operatorv1.GetRequest) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	_, err := operatorv1.NewResourceServiceClient(r.client).Get(ctx, req)
	return err
}

var goodGet = &operatorv1.GetRequest{Kind: operatorv1.Kind_KIND_HOST, Name: "web-1"}
