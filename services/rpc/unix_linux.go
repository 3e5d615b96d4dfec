package rpc

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerUID returns the user of the process at the other end (unix(7), SO_PEERCRED).
func peerUID(conn net.Conn) (int, error) {
	local, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("rpc: %T is not a unix socket", conn)
	}
	raw, err := local.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("rpc: peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, fmt.Errorf("rpc: peer credentials: %w", err)
	}
	if credErr != nil {
		return 0, fmt.Errorf("rpc: peer credentials: %w", credErr)
	}
	return int(cred.Uid), nil
}
