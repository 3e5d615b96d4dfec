package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
)

const (
	// SocketBatch is the largest number of messages in one system call of Send.
	SocketBatch = 128
	// udpReceiveBatch is that in one of UDPSocket.Recv, each of which may be a run of 64 KB. More gain nothing, and the
	// memory should stay in the processor's cache.
	udpReceiveBatch = 16
)

// socketBuffer is what we ask the kernel to queue: about 6 ms at 10 Gbit/s.
const socketBuffer = 8 << 20

// preferPublic is <linux/in6.h>'s IPV6_PREFER_SRC_PUBLIC (RFC 5014 section 3).
const preferPublic = 0x0002

// arrivalControl holds what UDP sockets are told of each message: our address, TOS, TTL, length of the segments.
const arrivalControl = 160

// UDPOptions say how ListenUDP's sockets are.
type UDPOptions struct {
	// Port is the local port; 0 takes any free one.
	Port uint16
	// Mark is set on packets sent, so that our own rules do not route them into the TUN.
	Mark uint32
	// NoChecksum sends over IPv4 without a UDP checksum, as RFC 3948 section 2.1 advises: the ICV covers more. A
	// checksum costs little with offload, and segmentation offload needs it.
	NoChecksum bool
}

// UDPSocket sends and receives batches of datagrams of one address family. Recv and PathErrors are for one
// goroutine, Send for any.
//
// There are two sockets on the port. The second, main, receives everything and sends with DF (IP_PMTUDISC_PROBE: what
// is too big for the link is refused, and the kernel's own idea of the path is not asked). The first, clear, only
// sends, without DF. Of two sockets of equal right the kernel gives datagrams, and what ICMP says, to the one that
// was bound last; with SO_REUSEPORT it would choose by a hash for ICMP, whatever program steers the datagrams.
type UDPSocket struct {
	main, clear *descriptor
	is6         bool
	in          *inbox

	sending      sync.Mutex
	out          *outgoing
	single       *outgoing // a message of its own
	segmentation segmentation
	offload      atomic.Pointer[datagram.Offload]
}

// ListenUDP opens the port for IPv4 and for IPv6, each on its own; with port 0 the two may differ. v6 is nil where
// the kernel has no IPv6.
func ListenUDP(o UDPOptions) (v4, v6 *UDPSocket, err error) {
	if v4, err = listenUDP(false, o); err != nil {
		return nil, nil, err
	}
	v6, err = listenUDP(true, o)
	switch {
	case noIPv6(err):
		return v4, nil, nil
	case err != nil:
		v4.Close()
		return nil, nil, err
	}
	return v4, v6, nil
}

// noIPv6: it is not built in, or disabled.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

func listenUDP(is6 bool, o UDPOptions) (*UDPSocket, error) {
	s := &UDPSocket{is6: is6,
		in:  newInbox(udpReceiveBatch, arrivalControl, 0, newErrorQueue(0)),
		out: newOutgoing(SocketBatch), single: newOutgoing(1)}
	var err error
	// The first one takes the port for itself, so that another daemon on it is noticed. It shares it for the moment
	// in which the second is bound, and never again.
	if s.clear, err = openUDP(is6, o, false); err != nil {
		return nil, err
	}
	o.Port = s.LocalPort()
	share := func(on int) option { return option{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, on} }
	if err = udpOption(s.clear, share(1)); err == nil {
		s.main, err = openUDP(is6, o, true)
	}
	if err == nil {
		err = errors.Join(udpOption(s.main, share(0)), udpOption(s.clear, share(0)))
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.startOffload(o)
	return s, nil
}

// startOffload asks the kernel for what it can.
func (s *UDPSocket) startOffload(o UDPOptions) {
	gro := udpOption(s.main, option{"UDP_GRO", unix.IPPROTO_UDP, unix.UDP_GRO, 1})
	var never error
	switch {
	case o.NoChecksum && !s.is6:
		never = errNoChecksum
	case s.main.control(segments) != nil:
		never = errKernel // it would take a run for one datagram
	}
	s.segmentation = newSegmentation(never)
	s.offload.Store(&datagram.Offload{Send: s.segmentation.err(), Receive: gro})
}

// segments fails if the kernel has no UDP_SEGMENT.
func segments(fd int) error {
	_, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	return err
}

// openUDP opens one of the sockets of a port.
func openUDP(is6 bool, o UDPOptions, main bool) (*descriptor, error) {
	family, any := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(o.Port)})
	if is6 {
		family, any = unix.AF_INET6, &unix.SockaddrInet6{Port: int(o.Port)}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		if err = setUDPOptions(fd, is6, main, o); err == nil {
			err = unix.Bind(fd, any)
		}
		if err != nil {
			unix.Close(fd)
		}
	}
	var d *descriptor
	if err == nil {
		d, err = newDescriptor(fd)
	}
	if err != nil {
		return nil, fmt.Errorf("netio: listen on UDP port %d of %s: %w%s", o.Port, familyName(is6), err, udpAdvice(err))
	}
	return d, nil
}

func familyName(is6 bool) string {
	if is6 {
		return "IPv6"
	}
	return "IPv4"
}

// udpOption sets an option of a socket that is open.
func udpOption(d *descriptor, o option) error {
	if err := d.control(func(fd int) error { return setOptions(fd, []option{o}) }); err != nil {
		return fmt.Errorf("netio: UDP socket: %w", err)
	}
	return nil
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

// LocalPort is the port the socket is bound to.
func (s *UDPSocket) LocalPort() (port uint16) {
	_ = s.clear.control(func(fd int) error {
		switch a, _ := unix.Getsockname(fd); a := a.(type) {
		case *unix.SockaddrInet4:
			port = uint16(a.Port)
		case *unix.SockaddrInet6:
			port = uint16(a.Port)
		}
		return nil
	})
	return port
}

// Recv waits for datagrams and runs of them (UDP_GRO), sets as many of ps, and returns how many; none when only path errors came. After Close the error is net.ErrClosed; others are transient.
func (s *UDPSocket) Recv(ps []datagram.Packet) (int, error) {
	n, err := s.in.receive(s.main, ps)
	for i := range n {
		p := &ps[i]
		p.Remote = s.in.address(i)
		a := s.in.ancillary(i).arrival()
		p.Segment, p.TOS, p.TTL, p.Local = a.segment, a.tos, a.ttl, netip.Addr{}
		if pinnable(a.local) { // a link-local address would need its link
			p.Local = a.local
		}
	}
	return n, err
}

// PathErrors yields what ICMP has said of packets sent, since the last call, as far as Recv has found it.
func (s *UDPSocket) PathErrors(yield func(datagram.PathError)) { s.in.errors.fetch(yield) }

// Close wakes Recv up and frees the port.
func (s *UDPSocket) Close() error {
	return closeAll(s.main, s.clear)
}

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
