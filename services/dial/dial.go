// Package dial opens the connections to a controller: an enrolment, where the join token says whom
// to believe; an agent's and an operator's, by mutual TLS; and the local root's unix socket. It is
// linked into the agent and the command line and holds nothing of the controller's.
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"sallyport.dev/sallyport/services/protocol/enrol"
)

const (
	// connectTimeout bounds one attempt to connect, TLS handshake included.
	connectTimeout = 10 * time.Second
	// The server closes connections that ping more often than every 10 s.
	pingEvery   = 20 * time.Second
	pingTimeout = 10 * time.Second
	// maxReceive bounds one message from the controller, bytes. A page of 1000 resources fits.
	maxReceive = 64 << 20
)

// ErrNoAddress means that no controller was named.
var ErrNoAddress = errors.New("no controller address: give host:port")

// MemberConfig says how a host or an operator reaches the controllers.
type MemberConfig struct {
	// Addresses are the controllers', host:port. They are tried in this order.
	Addresses []string
	// Certificate returns the caller's certificate. It is called for each handshake.
	Certificate func() (*tls.Certificate, error)
	// Trust returns whom to believe. It is called for each handshake.
	Trust func() enrol.Trust
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Control, if not nil, prepares each socket before it connects, as in net.Dialer: an agent marks
	// its own, so that they are not routed into its tunnel.
	Control func(network, address string, c syscall.RawConn) error
}

// Member opens a connection by mutual TLS. It connects when the first RPC is made, and again, with
// back-off, after each loss. An RPC on a connection that is down fails at once and says why.
func Member(c MemberConfig) (*grpc.ClientConn, error) {
	if len(c.Addresses) == 0 {
		return nil, ErrNoAddress
	}
	for _, address := range c.Addresses {
		if err := checkAddress(address); err != nil {
			return nil, err
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	config := enrol.MemberConfig(c.Certificate, c.Trust, c.Now)
	addresses := make([]resolver.Address, len(c.Addresses))
	for i, address := range c.Addresses {
		addresses[i] = resolver.Address{Addr: address}
	}
	// The dialer resolves the names, at each attempt; the order of the addresses is the operator's.
	controllers := manual.NewBuilderWithScheme("sallyport")
	controllers.InitialState(resolver.State{Addresses: addresses})
	return grpc.NewClient("sallyport:///"+c.Addresses[0], append(options(),
		grpc.WithResolvers(controllers),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{Control: c.Control}).DialContext(ctx, "tcp", address)
		}),
		grpc.WithTransportCredentials(credentials.NewTLS(config)))...)
}

// Unix opens a connection over the controller's unix socket; the kernel says who the caller is.
func Unix(path string) (*grpc.ClientConn, error) {
	if path == "" {
		return nil, errors.New("no unix socket: give its path")
	}
	return grpc.NewClient("unix:"+path, append(options(),
		grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}

// options are common to all connections.
func options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: pingEvery, Timeout: pingTimeout, PermitWithoutStream: true,
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 30 * time.Second},
			MinConnectTimeout: connectTimeout,
		}),
		// An idle connection is kept: the server decides when it is too old.
		grpc.WithIdleTimeout(0),
	}
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return &net.AddrError{Err: "the controller's address must be host:port", Addr: address}
	}
	return nil
}
