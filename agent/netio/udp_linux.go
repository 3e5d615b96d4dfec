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

	"sallyport.dev/sallyport/agent/datagram"
)

// SocketBatch is the largest number of packets in one Recv or Send.
const SocketBatch = 128

// socketBuffer is what we ask the kernel to queue: about 5 ms at 10 Gbit/s.
const socketBuffer = 7 << 20

// preferPublic is <linux/in6.h>'s IPV6_PREFER_SRC_PUBLIC (RFC 5014 section 3).
const preferPublic = 0x0002

// unchangedRetries is how often a datagram that the kernel refuses is tried again as it is.
const unchangedRetries = 2

// arrivalControl holds what UDP sockets are told of each datagram: our address, TOS, TTL.
const arrivalControl = 128

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
	main, clear *udpConn
	is6         bool
	in          *mmsg
	errors      *errorQueue

	sending sync.Mutex
	out     *mmsg
	index   [SocketBatch]int // of the packets that a call sends
}

// udpConn is one of the two sockets.
type udpConn struct {
	*net.UDPConn
	raw syscall.RawConn
}

// ListenUDP opens the port for IPv4 and for IPv6, each on its own; with port 0 the two may differ. v6 is nil where
// the kernel has no IPv6.
func ListenUDP(o UDPOptions) (v4, v6 *UDPSocket, err error) {
	if v4, err = listenUDP("udp4", o); err != nil {
		return nil, nil, err
	}
	v6, err = listenUDP("udp6", o)
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

func listenUDP(network string, o UDPOptions) (*UDPSocket, error) {
	s := &UDPSocket{is6: network == "udp6", errors: newErrorQueue(0),
		in:  newMmsg(SocketBatch, arrivalControl, unix.SYS_RECVMMSG, 0),
		out: newMmsg(SocketBatch, departureLen, unix.SYS_SENDMMSG, 0)}
	s.in.idle = s.errors.fill
	var err error
	// The first one takes the port for itself, so that another daemon on it is noticed. It shares it for the moment
	// in which the second is bound, and never again.
	if s.clear, err = openUDP(network, o, false); err != nil {
		return nil, err
	}
	o.Port = s.LocalPort()
	share := func(on int) func(fd int) error {
		return func(fd int) error {
			return setOptions(fd, []option{{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, on}})
		}
	}
	if err = s.clear.control(share(1)); err == nil {
		s.main, err = openUDP(network, o, true)
	}
	if err == nil {
		err = errors.Join(s.main.control(share(0)), s.clear.control(share(0)))
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openUDP opens one of the sockets of a port.
func openUDP(network string, o UDPOptions, main bool) (*udpConn, error) {
	is6 := network == "udp6"
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = setUDPOptions(int(fd), is6, main, o) }); e != nil {
			return e
		}
		return err
	}}
	pc, err := lc.ListenPacket(context.Background(), network, ":"+strconv.Itoa(int(o.Port)))
	if err != nil {
		return nil, fmt.Errorf("netio: listen on %s port %d: %w%s", network, o.Port, err, udpAdvice(err))
	}
	conn := pc.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("netio: listen on %s port %d: %w", network, o.Port, err)
	}
	return &udpConn{conn, raw}, nil
}

func (c *udpConn) control(do func(fd int) error) error {
	var err error
	if e := c.raw.Control(func(fd uintptr) { err = do(int(fd)) }); e != nil {
		return e
	}
	if err != nil {
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
func (s *UDPSocket) LocalPort() uint16 { return s.clear.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// Recv waits for datagrams, sets everything but Buf of as many of ps, and returns how many; none when only path
// errors came. After Close the error is net.ErrClosed; others are transient.
func (s *UDPSocket) Recv(ps []datagram.Packet) (int, error) {
	n, err := receive(s.main.raw, s.in, s.errors, ps)
	for i := range n {
		p := &ps[i]
		p.Remote = s.in.address(i)
		a := s.in.ancillary(i).arrival()
		p.TOS, p.TTL, p.Local = a.tos, a.ttl, netip.Addr{}
		if pinnable(a.local) { // a link-local address would need its link
			p.Local = a.local
		}
	}
	return n, err
}

// receive fills the packets' buffers behind the headroom, and sets Data and Err.
func receive(c syscall.RawConn, m *mmsg, q *errorQueue, ps []datagram.Packet) (int, error) {
	n := min(len(ps), len(m.headers))
	for i := range n {
		m.setBuffer(i, ps[i].Buf[datagram.Headroom:])
	}
	defer m.forget(n)
	got, err := m.recv(c, n)
	if err != nil {
		if errors.Is(err, net.ErrClosed) {
			return 0, err
		}
		q.control(c) // mostly it is an ICMP message's
		if q.n > 0 {
			return 0, nil
		}
		return 0, err
	}
	for i := range got {
		p := &ps[i]
		p.Data, p.Err = p.Buf[datagram.Headroom:datagram.Headroom+min(m.length(i), len(p.Buf)-datagram.Headroom)], nil
		if m.truncated(i) {
			p.Err = datagram.ErrTruncated
		}
	}
	return got, nil
}

// PathErrors yields what ICMP has said of packets sent, since the last call, as far as Recv has found it.
func (s *UDPSocket) PathErrors(yield func(datagram.PathError)) { s.errors.fetch(yield) }

// Send sends the packets in order, and returns how many left. What the kernel refuses (no route, too big with DF,
// forbidden) does not stop those after it: it has Err set.
func (s *UDPSocket) Send(ps []datagram.Packet) (sent int, err error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	for len(ps) > 0 {
		n := 1 // packets of one kind go together; both kinds keep their order
		for n < min(len(ps), SocketBatch) && ps[n].DF == ps[0].DF {
			n++
		}
		conn := s.main
		if !ps[0].DF {
			conn = s.clear
		}
		k, e := s.sendBatch(conn, ps[:n])
		sent += k
		if err == nil {
			err = e
		}
		ps = ps[n:]
	}
	return sent, err
}

func (s *UDPSocket) sendBatch(conn *udpConn, ps []datagram.Packet) (sent int, first error) {
	n := 0
	for i := range ps {
		p := &ps[i]
		if a := p.Remote.Addr(); !a.IsValid() || a.Is4() == s.is6 {
			p.Err, first = datagram.ErrFamily, datagram.ErrFamily
			continue
		}
		p.Err = nil
		s.out.setBuffer(n, p.Data)
		s.out.setAddress(n, p.Remote, s.is6)
		length, _ := s.out.controls[n].departure(p.TOS, p.Local, s.is6)
		s.out.setControl(n, length)
		s.index[n] = i
		n++
	}
	return transmit(conn.raw, s.out, ps, s.index[:n], func(i int) {
		_, tosOnly := s.out.controls[i].departure(ps[s.index[i]].TOS, netip.Addr{}, s.is6)
		s.out.setControl(i, tosOnly)
	}, first)
}

// transmit sends the prepared messages, which are those of ps[index[i]], in order. One that is refused is tried again as
// it is, since the error may be that of an ICMP message about an earlier packet, which anybody can forge; then once
// more after relax, since an address of ours may be gone. What is refused even so has Err set.
func transmit(c syscall.RawConn, m *mmsg, ps []datagram.Packet, index []int, relax func(i int), first error) (sent int, err error) {
	n, retries := len(index), 0
	defer m.forget(n)
	for i := 0; i < n; {
		k, err := m.send(c, i, n)
		if k > 0 {
			sent, i, retries = sent+k, i+k, 0
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			for ; i < n; i++ {
				ps[index[i]].Err = err
			}
			return sent, err
		}
		if retries <= unchangedRetries {
			if retries++; retries > unchangedRetries {
				relax(i)
			}
			continue
		}
		if errors.Is(err, unix.EMSGSIZE) {
			err = datagram.ErrTooBig
		}
		if ps[index[i]].Err = err; first == nil {
			first = err
		}
		i, retries = i+1, 0
	}
	return sent, first
}

// Close wakes Recv up and frees the port.
func (s *UDPSocket) Close() error {
	var errs []error
	for _, c := range []*udpConn{s.main, s.clear} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
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
