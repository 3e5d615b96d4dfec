// Package caller says who made a call: services/rpc finds it out once per call, handlers read it
// from the context. An RPC without a caller in its context has not been authenticated and must be
// refused.
package caller

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
)

// Role is what a caller may do. The table in services/rpc says which role may call which method.
type Role string

// The roles. A caller has exactly one.
const (
	// RoleAnyone has proven nothing.
	RoleAnyone Role = "anyone"
	// RoleAgent is a host whose certificate is valid and whose key is the recorded one.
	RoleAgent Role = "agent"
	// RoleAgentExpired is a host of which all is well except that its certificate has expired.
	RoleAgentExpired Role = "agent-expired"
	// RoleController is another controller of the fleet.
	RoleController Role = "controller"
	// RoleViewer reads.
	RoleViewer Role = "viewer"
	// RoleOperator reads and writes resources.
	RoleOperator Role = "operator"
	// RoleAdmin does everything a person can do.
	RoleAdmin Role = "admin"
)

// Caller is who made a call.
type Caller struct {
	// Role is what the caller may do.
	Role Role
	// Name is the host's, the operator's or the controller's, as in its certificate; "" for
	// RoleAnyone, "local" for a caller on the unix socket.
	Name string
	// PublicKeyHash is the SHA-256 of the certificate's SubjectPublicKeyInfo; zero without one.
	PublicKeyHash [32]byte
	// RemoteAddr is the other end of the connection; invalid on the unix socket.
	RemoteAddr netip.AddrPort
	// Local is true on the unix socket.
	Local bool
	// TLS is the state of the connection, for its exporter; nil on the unix socket. Read only.
	TLS *tls.ConnectionState
}

// LogValue gives what a log line needs to name the caller.
func (c Caller) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("role", string(c.Role))}
	if c.Name != "" {
		attrs = append(attrs, slog.String("name", c.Name))
	}
	if c.RemoteAddr.IsValid() {
		attrs = append(attrs, slog.String("remote", c.RemoteAddr.String()))
	}
	return slog.GroupValue(attrs...)
}

type contextKey struct{}

// NewContext returns a copy of ctx that carries c.
func NewContext(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the caller in ctx; false when the call has not been authenticated.
func FromContext(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(contextKey{}).(Caller)
	return c, ok
}
