package uplink

import (
	"context"
	"crypto/tls"
	"syscall"
	"time"

	"google.golang.org/grpc"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// TLSDialer reaches controllers over TLS. Its zero value is ready.
type TLSDialer struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Control, if not nil, prepares each socket before it connects.
	Control func(network, address string, c syscall.RawConn) error
}

// Enrol verifies the controller by the token's root before it sends anything.
func (d TLSDialer) Enrol(ctx context.Context, address string, token enrol.Token, key *Key) (*fleetv1.Identity, error) {
	return dial.Enroll(ctx, dial.EnrollConfig{Address: address, Token: token, Key: key.Signer(), Now: d.Now, Control: d.Control})
}

// Dial makes a connection by mutual TLS; it connects with the first call.
func (d TLSDialer) Dial(_ context.Context, address string, identity func() *Identity) (*grpc.ClientConn, error) {
	return dial.Member(dial.MemberConfig{
		Addresses:   []string{address},
		Certificate: func() (*tls.Certificate, error) { return identity().Certificate(), nil },
		Trust: func() enrol.Trust {
			id := identity()
			return enrol.Trust{Roots: id.Roots(), Domain: id.TrustDomain()}
		},
		Now: d.Now, Control: d.Control,
	})
}
