package dial

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// EnrollConfig says where to enrol and with what.
type EnrollConfig struct {
	// Address is the controller's, host:port.
	Address string
	// Token is the join token.
	Token enrol.Token
	// Key is the host's new identity key. Keep it: the same token and key may enrol again.
	Key crypto.Signer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Control is as in MemberConfig.
	Control func(network, address string, c syscall.RawConn) error
}

// ErrNotTheFleet means that the controller at the address is not of the token's fleet. Nothing was
// sent to it but the TLS handshake.
var ErrNotTheFleet = errors.New("this controller does not belong to the join token's fleet (wrong address, somebody in between, or the fleet's CA was rotated since the token was made)")

// Enroll exchanges the token for a certificate of the key. The TLS handshake ends before anything is
// sent when the controller cannot show the token's root; the proof is bound to that handshake, so
// the RPC goes over that very connection. Errors of the RPC are *fault.Error.
func Enroll(ctx context.Context, c EnrollConfig) (*fleetv1.Identity, error) {
	if err := checkAddress(c.Address); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	conn, err := pinned(ctx, c)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	request, err := enrollRequest(conn, c)
	if err != nil {
		return nil, err
	}
	client, err := over(conn, c.Address)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	response, err := fleetv1.NewEnrolmentServiceClient(client).Enroll(ctx, request)
	if err != nil {
		return nil, fault.FromError(err)
	}
	return response.GetIdentity(), nil
}

// pinned connects and finishes a handshake with a controller of the token's fleet.
func pinned(ctx context.Context, c EnrollConfig) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := (&net.Dialer{Control: c.Control}).DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to the controller: %w", err)
	}
	conn := tls.Client(raw, enrol.PinnedConfig(c.Token.RootHash, c.Now))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if errors.Is(err, enrol.ErrForeignRoot) || errors.Is(err, enrol.ErrWrongKind) || errors.Is(err, enrol.ErrName) {
			return nil, fmt.Errorf("%w: %w", ErrNotTheFleet, err)
		}
		return nil, fmt.Errorf("TLS handshake with the controller at %s: %w", c.Address, err)
	}
	return conn, nil
}

func enrollRequest(conn *tls.Conn, c EnrollConfig) (*fleetv1.EnrollRequest, error) {
	csr, err := enrol.NewRequest(rand.Reader, c.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	state := conn.ConnectionState()
	exporter, err := enrol.Exporter(&state)
	if err != nil {
		return nil, err
	}
	proof := enrol.Prove(c.Token.Secret, exporter, csr)
	return &fleetv1.EnrollRequest{TokenId: c.Token.ID, CertificateRequest: csr, Proof: proof[:]}, nil
}

// over makes a gRPC connection of conn. It serves once: a proof is worth nothing on another one.
// "Insecure" is what gRPC calls a transport that it need not secure itself.
func over(conn *tls.Conn, authority string) (*grpc.ClientConn, error) {
	var once sync.Once
	return grpc.NewClient("passthrough:///"+authority, append(options(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			var first net.Conn
			once.Do(func() { first = conn })
			if first == nil {
				return nil, errors.New("the controller closed the connection")
			}
			return first, nil
		}))...)
}
