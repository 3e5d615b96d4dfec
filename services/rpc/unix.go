package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc/credentials"
)

// errNotLocalRoot refuses a local process that is neither root nor of the controller's own user.
var errNotLocalRoot = errors.New("rpc: the unix socket is for root and the controller's user")

// ListenUnix listens on a unix socket that only its owner can open. A socket that a dead controller
// left behind is replaced; one that somebody listens on, or a file of another kind, is an error.
func ListenUnix(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The socket is made where only the owner can go, and moved when its mode is right: it can be
	// opened by nobody else at any moment.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("rpc: unix socket: %w", err)
	}
	defer os.RemoveAll(dir)
	hidden := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("rpc: unix socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(hidden, 0o600)
	if err == nil {
		err = os.Rename(hidden, path)
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("rpc: unix socket: %w", err)
	}
	return &unixListener{UnixListener: l, path: path}, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("rpc: unix socket: %w", err)
	case info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("rpc: %s is not a socket: remove it or name another path", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("rpc: a controller is listening on %s already", path)
	}
	return os.Remove(path)
}

// unixListener removes the socket under the name it was given when it closes.
type unixListener struct {
	*net.UnixListener
	path string
}

// Close implements net.Listener.
func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	if !errors.Is(err, net.ErrClosed) {
		_ = os.Remove(l.path)
	}
	return err
}

// localInfo marks a connection of the local root.
type localInfo struct{ credentials.CommonAuthInfo }

// AuthType implements credentials.AuthInfo.
func (localInfo) AuthType() string { return "local" }

// localCredentials lets in processes whose user the kernel vouches for.
type localCredentials struct{}

// ServerHandshake implements credentials.TransportCredentials.
func (localCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	uid, err := peerUID(conn)
	if err != nil {
		return nil, nil, err
	}
	if uid != 0 && uid != os.Geteuid() {
		return nil, nil, fmt.Errorf("%w, not for user %d", errNotLocalRoot, uid)
	}
	return conn, localInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// ClientHandshake implements credentials.TransportCredentials; servers have no use for it.
func (localCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("rpc: local credentials are for servers")
}

// Info implements credentials.TransportCredentials.
func (localCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "local"}
}

// Clone implements credentials.TransportCredentials.
func (c localCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials.
func (localCredentials) OverrideServerName(string) error { return nil }
