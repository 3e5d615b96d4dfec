// Package connect finds the controller that the command line talks to: by a credential file, or by
// the unix socket on the controller's own machine.
package connect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/grpc"

	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/services/dial"
)

const (
	// EnvCredential names a credential file when --credential does not.
	EnvCredential = "SALLYPORT_CREDENTIAL"
	// EnvSocket names a unix socket when --socket does not.
	EnvSocket = "SALLYPORT_SOCKET"
	// SystemCredential is where a controller's first start writes the operator's credential.
	SystemCredential = "/etc/sallyport/operator.yaml"
	// SystemSocket is where a controller listens for the local root.
	SystemSocket = "/run/sallyport-controller/operator.sock"
)

// Options say how to reach a controller. The zero value searches the usual places.
type Options struct {
	// Credential is the path of a credential file.
	Credential string
	// Socket is the path of a controller's unix socket.
	Socket string
	// Server is the host:port to use instead of the credential's.
	Server string
	// Getenv reads the environment.
	Getenv func(string) string
}

// Target is the way to a controller that Options came down to. Just one of the two is set.
type Target struct {
	Credential string
	Socket     string
}

// Conn is a connection. It connects when it is first used.
type Conn struct {
	*grpc.ClientConn
	// Server is the controller's host:port; empty on a unix socket.
	Server string
	// TrustDomain is the fleet's; empty on a unix socket.
	TrustDomain string
	// Target is how the controller was found.
	Target Target
}

// Where names the other end for messages.
func (c *Conn) Where() string {
	if c.Target.Socket != "" {
		return "the unix socket " + c.Target.Socket
	}
	return c.Server
}

// Open finds the controller and prepares the connection.
func Open(o Options) (*Conn, error) {
	target, err := o.Find()
	if err != nil {
		return nil, err
	}
	if target.Socket != "" {
		if o.Server != "" {
			return nil, exit.Errorf(exit.Usage, "--server needs a credential; on a unix socket there is no choice of server")
		}
		conn, err := dial.Unix(target.Socket)
		if err != nil {
			return nil, err
		}
		return &Conn{ClientConn: conn, Target: target}, nil
	}
	credential, err := dial.LoadCredential(target.Credential)
	if err != nil {
		return nil, exit.Errorf(exit.Permission, "%w", err)
	}
	if o.Server != "" {
		credential.Server = o.Server
	}
	conn, err := credential.Dial()
	if err != nil {
		return nil, exit.Errorf(exit.Usage, "credential %s: %w", target.Credential, err)
	}
	return &Conn{ClientConn: conn, Server: credential.Server, TrustDomain: credential.TrustDomain, Target: target}, nil
}

// Find decides between credential and socket: flags, then the environment, then the usual places.
func (o Options) Find() (Target, error) {
	switch {
	case o.Credential != "" && o.Socket != "":
		return Target{}, exit.Errorf(exit.Usage, "--credential and --socket exclude each other")
	case o.Credential != "":
		return Target{Credential: o.Credential}, nil
	case o.Socket != "":
		return Target{Socket: o.Socket}, nil
	case o.Getenv(EnvCredential) != "":
		return Target{Credential: o.Getenv(EnvCredential)}, nil
	case o.Getenv(EnvSocket) != "":
		return Target{Socket: o.Getenv(EnvSocket)}, nil
	}
	return o.search()
}

// search looks at the usual places. A file that is there but is not ours to read does not hide the
// next place; it is named when there is no other.
func (o Options) search() (Target, error) {
	user := o.userCredential()
	var unreadable error
	for _, path := range []string{user, SystemCredential} {
		f, err := os.Open(path)
		if err == nil {
			return Target{Credential: path}, f.Close()
		}
		if errors.Is(err, fs.ErrPermission) {
			unreadable = err
		}
	}
	if _, err := os.Stat(SystemSocket); err == nil {
		return Target{Socket: SystemSocket}, nil
	} else if errors.Is(err, fs.ErrPermission) && unreadable == nil {
		unreadable = err
	}
	if unreadable != nil {
		return Target{}, exit.Errorf(exit.Permission, "%w: run as root, or give your own credential with --credential", unreadable)
	}
	return Target{}, exit.Errorf(exit.Permission, `no credential: there is no %s, no %s and no controller on this machine (%s)
  get a credential from an admin of the fleet (sallyport operator create NAME) and store it as %s,
  or name it with --credential or %s`, user, SystemCredential, SystemSocket, user, EnvCredential)
}

func (o Options) userCredential() string {
	base := o.Getenv("XDG_CONFIG_HOME")
	if base == "" {
		home := o.Getenv("HOME")
		if home == "" {
			home, _ = os.UserHomeDir() // without a home the path is relative and not there
		}
		base = filepath.Join(home, ".config")
	}
	return filepath.Join(base, "sallyport", "operator.yaml")
}

// Hint says what to do when the controller cannot be reached.
func (c *Conn) Hint() string {
	if c.Target.Socket != "" {
		return fmt.Sprintf("is the controller running (systemctl status sallyport-controller), and is %s its --socket? The socket is for root.", c.Target.Socket)
	}
	return fmt.Sprintf("is the controller running, and is %s (from %s) its address? --server names another one.", c.Server, c.Target.Credential)
}
