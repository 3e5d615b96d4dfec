package netio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// UDPBatch is the largest number of datagrams in one Recv or Send.
const UDPBatch = 128

// socketBuffer is what we ask the kernel to queue: about 5 ms at 10 Gbit/s.
const socketBuffer = 7 << 20

// preferPublic is <linux/in6.h>'s IPV6_PREFER_SRC_PUBLIC (RFC 5014 section 3).
const preferPublic = 0x0002

// ErrFamily: the destination is not of the socket's address family.
var ErrFamily = errors.New("netio: destination of another address family than the socket")

// UDPSocket sends and receives batches of datagrams of one address family.
type UDPSocket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	is6  bool
	in   *mmsg

	sending sync.Mutex
	out     *mmsg
}

// ListenUDP opens the port for IPv4 and for IPv6, each on its own socket; port 0 takes any free one
// (the two may differ then). v6 is nil where the kernel has no IPv6. Packets sent carry mark, so that
// our own rules do not route them into the TUN.
func ListenUDP(port uint16, mark uint32) (v4, v6 *UDPSocket, err error) {
	if v4, err = listenUDP("udp4", port, mark); err != nil {
		return nil, nil, err
	}
	v6, err = listenUDP("udp6", port, mark)
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EADDRNOTAVAIL):
		return v4, nil, nil // IPv6 is not built in, or disabled
	case err != nil:
		v4.Close()
		return nil, nil, err
	}
	return v4, v6, nil
}

func listenUDP(network string, port uint16, mark uint32) (*UDPSocket, error) {
	is6 := network == "udp6"
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = setUDPOptions(int(fd), is6, mark) }); e != nil {
			return e
		}
		return err
	}}
	pc, err := lc.ListenPacket(context.Background(), network, ":"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, fmt.Errorf("netio: listen on %s port %d: %w%s", network, port, err, udpAdvice(err))
	}
	conn := pc.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("netio: listen on %s port %d: %w", network, port, err)
	}
	return &UDPSocket{conn: conn, raw: raw, is6: is6,
		in: newMmsg(UDPBatch, unix.SYS_RECVMMSG), out: newMmsg(UDPBatch, unix.SYS_SENDMMSG)}, nil
}

func udpAdvice(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return ": another IKE or IPsec daemon has it; find it with `ss -ulpn` and stop it, or choose another port"
	case errors.Is(err, unix.EPERM):
		return ": setting the packet mark needs CAP_NET_ADMIN: start the agent as root or by its systemd unit"
	}
	return ""
}

// setUDPOptions prepares a socket before it is bound. Outer packets may be fragmented: DF is never
// set, so a path with a small MTU is slow and not black.
func setUDPOptions(fd int, is6 bool, mark uint32) error {
	if mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
			return fmt.Errorf("SO_MARK: %w", err)
		}
	}
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)
	if is6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return fmt.Errorf("IPV6_V6ONLY: %w", err)
		}
		err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT)
		if err != nil {
			return fmt.Errorf("IPV6_MTU_DISCOVER: %w", err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1); err != nil {
			return fmt.Errorf("IPV6_RECVPKTINFO: %w", err)
		}
		// Send from an address that UnderlayAddresses tells, so that a stateful firewall at the
		// other end knows our packets. Without the option it is still right, but for such firewalls.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferPublic)
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT); err != nil {
		return fmt.Errorf("IP_MTU_DISCOVER: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return fmt.Errorf("IP_PKTINFO: %w", err)
	}
	// RFC 3948 section 2.1: the IPv4 UDP checksum SHOULD be zero; the ICV covers more. (UDP_SEGMENT
	// refuses such a socket.)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		return fmt.Errorf("SO_NO_CHECK: %w", err)
	}
	return nil
}

// setBuffer asks for a large buffer. Without CAP_NET_ADMIN net.core.rmem_max bounds it, which costs
// speed and nothing else, so errors are not reported.
func setBuffer(fd, force, plain int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, socketBuffer)
	}
}

// LocalPort is the port the socket is bound to.
func (s *UDPSocket) LocalPort() uint16 { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// Recv waits for datagrams and puts them into bufs, their lengths into sizes, their sources into from, and
// into local the addresses of ours to which they came (invalid if that is not known). A datagram longer than its buffer gives a size of -1. One goroutine at a time. After Close
// the error is net.ErrClosed.
func (s *UDPSocket) Recv(bufs [][]byte, sizes []int, from []netip.AddrPort, local []netip.Addr) (int, error) {
	n := min(len(bufs), len(sizes), len(from), len(local), UDPBatch)
	for i := range n {
		s.in.setBuffer(i, bufs[i])
	}
	defer s.in.forget(n)
	n, err := s.in.recv(s.raw, n)
	if err != nil {
		return 0, err
	}
	for i := range n {
		sizes[i] = int(s.in.headers[i].Len)
		if s.in.headers[i].Hdr.Flags&unix.MSG_TRUNC != 0 {
			sizes[i] = -1
		}
		from[i], local[i] = s.in.address(i), s.in.local(i)
	}
	return n, nil
}

// Send sends bufs[i] to to[i], in order, from local[i] if that is valid and still ours. A datagram that the kernel refuses (no route, too big,
// forbidden) does not stop those after it: sent counts those that left and err is the first refusal.
func (s *UDPSocket) Send(bufs [][]byte, to []netip.AddrPort, local []netip.Addr) (sent int, err error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	for len(bufs) > 0 {
		n := min(len(bufs), UDPBatch)
		k, e := s.sendBatch(bufs[:n], to[:n], local[:n])
		sent += k
		if err == nil {
			err = e
		}
		bufs, to, local = bufs[n:], to[n:], local[n:]
	}
	return sent, err
}

func (s *UDPSocket) sendBatch(bufs [][]byte, to []netip.AddrPort, local []netip.Addr) (sent int, first error) {
	n := 0
	for i := range bufs {
		if a := to[i].Addr(); !a.IsValid() || a.Is4() == s.is6 {
			first = ErrFamily
			continue
		}
		s.out.setBuffer(n, bufs[i])
		s.out.setAddress(n, to[i], s.is6)
		s.out.setLocal(n, local[i], s.is6)
		n++
	}
	defer s.out.forget(n)
	for i := 0; i < n; {
		k, err := s.out.send(s.raw, i, n)
		sent, i = sent+k, i+k
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return sent, err
			}
			if s.out.unpinned(i) {
				continue // the address is no longer ours, perhaps
			}
			if first == nil {
				first = err
			}
			i++ // the error is the first datagram's
		}
	}
	return sent, first
}

// Close wakes Recv up and frees the port.
func (s *UDPSocket) Close() error { return s.conn.Close() }

// MarkControl is a net.Dialer's or net.ListenConfig's Control that sets the mark on a socket: for
// connections that must never be routed into the TUN, such as the uplink.
func MarkControl(mark uint32) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
		}); e != nil {
			return e
		}
		if err != nil {
			return fmt.Errorf("netio: SO_MARK (needs CAP_NET_ADMIN): %w", err)
		}
		return nil
	}
}
