package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// ipv6HdrIncl is <linux/in6.h>'s IPV6_HDRINCL (Linux 4.5).
const ipv6HdrIncl = 36

// rawControl holds what raw IPv6 sockets are told: our address, class, hop limit, and extension headers as long as
// the room that they are put into.
const rawControl = 1024

// rawReceiveBatch is the largest number of datagrams in one system call of Recv.
const rawReceiveBatch = 32

// rawRoom is kept free in front of what raw IPv6 sockets receive: the IPv6 header and the extension headers, which the
// kernel takes off, are rebuilt there.
const rawRoom = 512

// RawSocket sends and receives whole IP datagrams of one protocol and address family. Recv and PathErrors are for one
// goroutine, Send for any.
//
// Outer fragments are joined by the kernel before they arrive, in the memory that net.ipv4.ipfrag_high_thresh and
// net.ipv6.ip6frag_high_thresh allow. What is sent leaves as it is: whoever sends fragments it.
//
// Sending and receiving have a socket each. With IPV6_HDRINCL Linux checks arriving packets for a checksum of the
// whole payload, which ESP and AH do not have.
type RawSocket struct {
	proto    uint8
	is6      bool
	receiver *descriptor
	in       *inbox
	sending  sync.Mutex
	sender   *descriptor
	out      *mmsg
	index    [SocketBatch]int
}

// ListenRaw opens the protocol, 50 or 51, for IPv4 and for IPv6. Packets sent carry mark. v6 is nil where the kernel
// has no IPv6.
func ListenRaw(proto uint8, mark uint32) (v4, v6 *RawSocket, err error) {
	if v4, err = listenRaw(proto, mark, false); err != nil {
		return nil, nil, err
	}
	v6, err = listenRaw(proto, mark, true)
	switch {
	case noIPv6(err):
		return v4, nil, nil
	case err != nil:
		return nil, nil, errors.Join(err, v4.Close())
	}
	return v4, v6, nil
}

func listenRaw(proto uint8, mark uint32, is6 bool) (*RawSocket, error) {
	room := 0
	if is6 {
		room = rawRoom
	}
	s := &RawSocket{proto: proto, is6: is6,
		in:  newInbox(rawReceiveBatch, rawControl, room, newErrorQueue(proto)),
		out: newMmsg(SocketBatch, departureLen, unix.SYS_SENDMMSG, 0)}
	var err error
	if s.receiver, err = openRaw(proto, mark, is6, true); err == nil {
		s.sender, err = openRaw(proto, mark, is6, false)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("netio: raw socket for IP protocol %d: %w%s", proto, err, rawAdvice(err)), s.Close())
	}
	return s, nil
}

func rawAdvice(err error) string {
	if errors.Is(err, unix.EPERM) {
		return ": native ESP and AH need CAP_NET_RAW: start the agent as root or by its systemd unit"
	}
	return ""
}

func openRaw(proto uint8, mark uint32, is6, receives bool) (*descriptor, error) {
	family := unix.AF_INET
	if is6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(proto))
	if err != nil {
		return nil, err
	}
	if err := setRawOptions(fd, mark, is6, receives); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return newDescriptor(fd)
}

func setRawOptions(fd int, mark uint32, is6, receives bool) error {
	if !receives {
		setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)
		if err := dropAll(fd); err != nil {
			return err
		}
		options := []option{{"IP_HDRINCL", unix.IPPROTO_IP, unix.IP_HDRINCL, 1}, {"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE}}
		if is6 {
			options = []option{{"IPV6_HDRINCL", unix.IPPROTO_IPV6, ipv6HdrIncl, 1}, {"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE}}
		}
		if mark != 0 {
			options = append(options, option{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, int(mark)})
		}
		return setOptions(fd, options)
	}
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
	if !is6 {
		return setOptions(fd, []option{{"IP_RECVERR", unix.IPPROTO_IP, unix.IP_RECVERR, 1}})
	}
	return setOptions(fd, []option{
		{"IPV6_RECVERR", unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1},
		{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
		{"IPV6_RECVTCLASS", unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1},
		{"IPV6_RECVHOPLIMIT", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
		{"IPV6_RECVHOPOPTS", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPOPTS, 1},
		{"IPV6_RECVRTHDR", unix.IPPROTO_IPV6, unix.IPV6_RECVRTHDR, 1},
		{"IPV6_RECVDSTOPTS", unix.IPPROTO_IPV6, unix.IPV6_RECVDSTOPTS, 1},
	})
}

// Recv waits for datagrams, sets as many of ps, and returns how many; none when only path errors came. After Close the error is net.ErrClosed; others are transient.
func (s *RawSocket) Recv(ps []datagram.Packet) (int, error) {
	n, err := s.in.receive(s.receiver, ps)
	for i := range n {
		p := &ps[i]
		p.Remote = netip.AddrPortFrom(s.in.address(i).Addr(), 0)
		if s.is6 {
			s.whole6(p, s.in.bufs[i], s.in.ancillary(i))
		} else {
			whole4(p)
		}
	}
	return n, err
}

// whole4 reads the header of a datagram that came with it.
func whole4(p *datagram.Packet) {
	h, err := ipwire.ParseIPv4(p.Data)
	if err != nil {
		if p.Err == nil {
			p.Err = datagram.ErrTruncated
		}
		return
	}
	p.Data = h
	p.Local, p.TOS, p.TTL = h.Dst(), h.TOS(), h.TTL()
}

// whole6 puts the headers that the kernel has taken off back in front of p.Data, into buf's room: the fixed header from our address,
// class and hop limit, and the extension headers, which are told in the order in which they were. What AH does not
// cover is not restored: the flow label is 0, and there is no fragment header.
func (s *RawSocket) whole6(p *datagram.Packet, buf []byte, c control) {
	if p.Err != nil {
		return
	}
	payload := len(p.Data)
	var a arrival
	start := rawRoom
	var headers [8]message
	n := 0
	for m, rest, ok := c.next(); ok; m, rest, ok = rest.next() {
		if a.take(&m) {
			continue
		}
		if extensionKind(&m) < 0 {
			continue
		}
		if n == len(headers) || len(m.data) < 8 || len(m.data)%8 != 0 {
			p.Err = datagram.ErrTruncated
			return
		}
		headers[n] = m
		n++
		start -= len(m.data)
	}
	start -= ipwire.IPv6HeaderLen
	if start < 0 || !a.local.IsValid() || !p.Remote.Addr().Is6() {
		p.Err = datagram.ErrTruncated
		return
	}
	p.Data = buf[start : rawRoom+payload : rawRoom+payload]
	p.Local, p.TOS, p.TTL = a.local, a.tos, a.ttl
	next, at := ipwire.IPv6HeaderLen, 6 // at: where the next header is named
	if _, err := ipwire.PutIPv6(p.Data, ipwire.IPv6Header{TrafficClass: a.tos, HopLimit: a.ttl, Src: p.Remote.Addr(), Dst: a.local}); err != nil {
		p.Err = datagram.ErrTruncated
		return
	}
	for i := range headers[:n] {
		p.Data[at] = uint8(extensionKind(&headers[i]))
		at = next
		next += copy(p.Data[next:], headers[i].data)
	}
	p.Data[at] = s.proto
}

// extensionKind is the protocol number of the extension header that a message tells, or -1.
func extensionKind(m *message) int {
	if m.level != unix.IPPROTO_IPV6 {
		return -1
	}
	switch m.kind {
	case unix.IPV6_HOPOPTS:
		return ipwire.ProtoHopByHop
	case unix.IPV6_RTHDR:
		return ipwire.ProtoRouting
	case unix.IPV6_DSTOPTS:
		return ipwire.ProtoDestination
	}
	return -1
}

// PathErrors yields what ICMP has said of packets sent, since the last call, as far as Recv has found it.
func (s *RawSocket) PathErrors(yield func(datagram.PathError)) { s.in.errors.fetch(yield) }

// Send sends the datagrams in order, each with its own IP header, and returns how many left. What the kernel refuses
// does not stop those after it: it has Err set, ErrTooBig when it is larger than the link takes.
func (s *RawSocket) Send(ps []datagram.Packet) (sent int, err error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	for len(ps) > 0 {
		n := min(len(ps), SocketBatch)
		k, e := s.sendBatch(ps[:n])
		sent += k
		if err == nil {
			err = e
		}
		ps = ps[n:]
	}
	return sent, err
}

func (s *RawSocket) sendBatch(ps []datagram.Packet) (int, error) {
	n := 0
	var first error
	for i := range ps {
		p := &ps[i]
		if a := p.Remote.Addr(); !a.IsValid() || a.Is4() == s.is6 {
			p.Err, first = datagram.ErrFamily, datagram.ErrFamily
			continue
		}
		p.Err = nil
		s.out.setBuffer(n, p.Data)
		s.out.setAddress(n, netip.AddrPortFrom(p.Remote.Addr(), 0), s.is6)
		s.out.setControl(n, 0)
		s.index[n] = i
		n++
	}
	defer s.out.forget(n)
	sent := 0
	for i := 0; i < n; i++ {
		k, err := transmit(s.sender, s.out, i, n, func(int) {})
		sent += k
		if i += k; err == nil {
			break
		}
		if ps[s.index[i]].Err = reason(err); first == nil {
			first = reason(err)
		}
	}
	return sent, first
}

// Close wakes Recv up.
func (s *RawSocket) Close() error {
	return closeAll(s.receiver, s.sender)
}
