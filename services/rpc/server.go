package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"sallyport.dev/sallyport/services/caller"
)

// Authenticator says who is at the other end of a TLS connection. Without a certificate that is
// RoleAnyone; a certificate that is not good is an error.
type Authenticator interface {
	Authenticate(ctx context.Context, cs tls.ConnectionState, remote netip.AddrPort) (caller.Caller, error)
	// Valid says whether a caller that was let in would be let in again. It is quick.
	Valid(caller.Caller) bool
}

// Limits bound what strangers can make a controller spend. Zero means the default.
type Limits struct {
	// Connections bounds open connections on the TLS port; default 20000.
	Connections int
	// ConnectionsPerAddress bounds them for an IPv4 address or an IPv6 /64; default 2048, since a
	// whole site may come from behind one NAT.
	ConnectionsPerAddress int
	// Handshake bounds the time until a connection speaks HTTP/2; default 10 s.
	Handshake time.Duration
	// Idle bounds the time a connection stays open without a call; default 5 min.
	Idle time.Duration
	// Streams bounds concurrent calls on a connection; default 64.
	Streams uint32
	// Recheck is how often an operator's long call is checked to still be allowed; default 5 s.
	Recheck time.Duration
	// Message bounds one received message, bytes; default 4 MiB.
	Message int
}

func (l Limits) withDefaults() Limits {
	if l.Connections == 0 {
		l.Connections = 20000
	}
	if l.ConnectionsPerAddress == 0 {
		l.ConnectionsPerAddress = 2048
	}
	if l.Handshake == 0 {
		l.Handshake = 10 * time.Second
	}
	if l.Idle == 0 {
		l.Idle = 5 * time.Minute
	}
	if l.Streams == 0 {
		l.Streams = 64
	}
	if l.Recheck == 0 {
		l.Recheck = 5 * time.Second
	}
	if l.Message == 0 {
		l.Message = 4 << 20
	}
	return l
}

// Config makes a Server.
type Config struct {
	// Auth authenticates callers on the TLS port.
	Auth Authenticator
	// TLS is the controller's configuration: its certificate, and client certificates requested but
	// not verified, since Auth does that.
	TLS *tls.Config
	// Register registers the services. It is called once for each port.
	Register func(grpc.ServiceRegistrar)
	// Limits bound the TLS port.
	Limits Limits
	// Options are further server options, such as a stats handler.
	Options []grpc.ServerOption
	// Log gets what callers may not see; nil means nothing is logged.
	Log *slog.Logger
}

// Server is the gRPC server of a controller.
type Server struct {
	auth      Authenticator
	validator protovalidate.Validator
	log       *slog.Logger
	limits    Limits
	health    *health.Server
	tls, unix *grpc.Server
	calls     *calls
}

// New makes a server with all services, health on both ports and reflection on the unix socket. It
// fails when a service has a method that the authorisation table does not know.
func New(c Config) (*Server, error) {
	if c.Auth == nil || c.TLS == nil || c.Register == nil {
		return nil, errors.New("rpc: Config needs Auth, TLS and Register")
	}
	if c.TLS.MinVersion < tls.VersionTLS13 || c.TLS.ClientAuth != tls.RequestClientCert {
		return nil, errors.New("rpc: the TLS configuration must ask for TLS 1.3 and request client certificates")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{auth: c.Auth, log: c.Log, limits: c.Limits.withDefaults(), health: health.NewServer(), calls: newCalls()}
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	s.tls = grpc.NewServer(append(s.tlsOptions(c.TLS), c.Options...)...)
	s.unix = grpc.NewServer(append(s.unixOptions(), c.Options...)...)
	for _, server := range []*grpc.Server{s.tls, s.unix} {
		c.Register(server)
		healthv1.RegisterHealthServer(server, s.health)
	}
	reflection.Register(s.unix)
	// The unix socket has all services of the TLS port and reflection beside.
	services := s.unix.GetServiceInfo()
	if err := checkTable(services); err != nil {
		return nil, err
	}
	var err error
	s.validator, err = newValidator(services)
	return s, err
}

func (s *Server) commonOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.ConnectionTimeout(s.limits.Handshake),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
}

func (s *Server) tlsOptions(config *tls.Config) []grpc.ServerOption {
	return append(s.commonOptions(),
		grpc.Creds(credentials.NewTLS(config)),
		grpc.MaxConcurrentStreams(s.limits.Streams),
		grpc.MaxRecvMsgSize(s.limits.Message),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: s.limits.Idle, Time: 30 * time.Second, Timeout: 15 * time.Second,
		}))
}

// maxLocalMessage bounds a message on the unix socket, bytes: a whole fleet may be applied at once.
const maxLocalMessage = 64 << 20

func (s *Server) unixOptions() []grpc.ServerOption {
	return append(s.commonOptions(), grpc.Creds(localCredentials{}), grpc.MaxRecvMsgSize(maxLocalMessage))
}

// ServeTLS serves hosts and operators until Shutdown; then it returns nil.
func (s *Server) ServeTLS(l net.Listener) error {
	return serve(s.tls, newLimitListener(l, s.limits.Connections, s.limits.ConnectionsPerAddress))
}

// ServeUnix serves the local root until Shutdown; then it returns nil. The listener is ListenUnix's.
func (s *Server) ServeUnix(l net.Listener) error { return serve(s.unix, l) }

func serve(server *grpc.Server, l net.Listener) error {
	if err := server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("rpc: serve on %s: %w", l.Addr(), err)
	}
	return nil
}

// SetServing says in the health service whether the controller does its work. A new server does not.
func (s *Server) SetServing(yes bool) {
	status := healthv1.HealthCheckResponse_NOT_SERVING
	if yes {
		status = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
}

// flushTime is how long answers may take to leave when no call runs any more. A host that is gone does
// not hold a controller up: gRPC would wait for its goodbye.
const flushTime = 250 * time.Millisecond

// Shutdown stops taking connections and calls, ends the streams that have no end of their own, and waits
// for the other calls that run. When ctx ends it cuts them off.
func (s *Server) Shutdown(ctx context.Context) {
	s.health.Shutdown()
	s.calls.stop()
	var stopping sync.WaitGroup
	stopping.Go(s.tls.GracefulStop)
	stopping.Go(s.unix.GracefulStop)
	gone := make(chan struct{})
	go func() { defer close(gone); stopping.Wait() }()
	select {
	case <-gone:
		return
	case <-s.calls.idle():
	case <-ctx.Done():
	}
	flush := time.NewTimer(flushTime)
	defer flush.Stop()
	select {
	case <-gone:
	case <-flush.C:
	}
	s.tls.Stop()
	s.unix.Stop()
	<-gone
}
