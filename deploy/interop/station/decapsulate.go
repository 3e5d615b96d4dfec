//go:build linux

package station

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// espInUDP is UDP_ENCAP_ESPINUDP of linux/udp.h: RFC 3948's form.
const espInUDP = 2

// Decapsulate opens UDP sockets on port, one per IP version, that hand ESP to the kernel (RFC 3948). Without them the
// kernel sends ESP in UDP but takes none. They live as long as the station. A second call for a port does nothing.
func (s *Station) Decapsulate(port uint16, _ *Answered) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sockets[port] != nil {
		return nil
	}
	v4, err := decapsulating("udp4", "0.0.0.0", port)
	if err != nil {
		return err
	}
	v6, err := decapsulating("udp6", "::", port)
	if err != nil {
		return errors.Join(err, v4.Close())
	}
	s.sockets[port] = both{v4, v6}
	return nil
}

func decapsulating(network, address string, port uint16) (net.PacketConn, error) {
	config := net.ListenConfig{Control: func(network, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_ENCAP, espInUDP), bypass(int(fd), network == "udp6"))
		}), err)
	}}
	conn, err := config.ListenPacket(context.Background(), network, net.JoinHostPort(address, strconv.Itoa(int(port))))
	if err != nil {
		return nil, fmt.Errorf("station: a socket for ESP in UDP: %w", err)
	}
	return conn, nil
}

// bypass lets a socket's own packets pass every policy. In transport mode the policy's selectors have the outer
// packets' addresses, and the kernel would want the UDP packet, too, to have come under an SA.
func bypass(fd int, v6 bool) error {
	level, option := unix.IPPROTO_IP, unix.IP_XFRM_POLICY
	info := nl.XfrmUserpolicyInfo{Action: 0 /* XFRM_POLICY_ALLOW */}
	info.Sel.Family = unix.AF_INET
	if v6 {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_XFRM_POLICY
		info.Sel.Family = unix.AF_INET6
	}
	const in, out = 0, 1 // XFRM_POLICY_IN, XFRM_POLICY_OUT
	for _, direction := range []uint8{in, out} {
		info.Dir = direction
		if err := unix.SetsockoptString(fd, level, option, string(info.Serialize())); err != nil {
			return fmt.Errorf("a socket's policy: %w", err)
		}
	}
	return nil
}

// both closes two things.
type both [2]io.Closer

func (b both) Close() error { return errors.Join(b[0].Close(), b[1].Close()) }
