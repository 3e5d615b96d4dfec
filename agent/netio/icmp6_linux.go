package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// icmp6Filter is <linux/icmpv6.h>'s ICMPV6_FILTER: a bit that is set blocks a type (RFC 3542 section 3.2).
const icmp6Filter = 1

const (
	icmp6TooBig    = 2
	icmp6HeaderLen = 8
	icmp6Batch     = 16
)

// AHErrors hears what ICMPv6 says of AH packets that were sent. AH's own socket is never told: Linux takes AH for an
// extension header, and tells whom it protects, if that is a socket of this host. It has the methods of RawSocket,
// but receives path errors only.
type AHErrors struct {
	*descriptor
	in   *mmsg
	bufs [icmp6Batch][]byte
	n    int
}

// ListenAHErrors opens a raw ICMPv6 socket that gets "packet too big" messages alone. It is nil where the kernel has no
// IPv6.
func ListenAHErrors() (*AHErrors, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if noIPv6(err) {
		return nil, nil
	}
	if err == nil {
		filter := unix.ICMPv6Filter{Data: [8]uint32{^uint32(1 << icmp6TooBig), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)}}
		if err = unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, icmp6Filter, &filter); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("netio: raw socket for ICMPv6: %w%s", err, rawAdvice(err))
	}
	d, err := newDescriptor(fd)
	if err != nil {
		return nil, fmt.Errorf("netio: raw socket for ICMPv6: %w", err)
	}
	s := &AHErrors{descriptor: d, in: newMmsg(icmp6Batch, 0, unix.SYS_RECVMMSG, 0)}
	for i := range s.bufs {
		s.bufs[i] = make([]byte, icmp6HeaderLen+quotedMax)
	}
	return s, nil
}

// Recv waits for messages, for PathErrors to tell; it returns no packets. After Close the error is net.ErrClosed.
func (s *AHErrors) Recv([]datagram.Packet) (int, error) {
	for i, b := range s.bufs {
		s.in.setBuffer(i, b)
	}
	n, err := s.in.recv(s.descriptor, icmp6Batch)
	s.n = n
	return 0, err
}

// Send is an error: nothing is sent here.
func (s *AHErrors) Send([]datagram.Packet) (int, error) { return 0, errors.ErrUnsupported }

// PathErrors yields what the last Recv got about AH packets.
func (s *AHErrors) PathErrors(yield func(datagram.PathError)) {
	for i := range s.n {
		if e, ok := ahError(s.bufs[i][:min(s.in.length(i), len(s.bufs[i]))]); ok {
			e.Offender = s.in.address(i).Addr()
			yield(e)
		}
	}
	s.n = 0
}

// ahError reads a "packet too big" message; false if it quotes no AH packet. It changes the message.
func ahError(message []byte) (datagram.PathError, bool) {
	if len(message) < icmp6HeaderLen+ipwire.IPv6HeaderLen || message[0] != icmp6TooBig {
		return datagram.PathError{}, false
	}
	quoted := message[icmp6HeaderLen:]
	if ipwire.Version(quoted) != 6 {
		return datagram.PathError{}, false
	}
	ipwire.SetLength(quoted) // it is cut short
	at, _, err := ipwire.FindHeader(quoted, ipwire.ProtoAH)
	if err != nil {
		return datagram.PathError{}, false
	}
	return datagram.PathError{
		Remote: netip.AddrPortFrom(ipwire.IPv6(quoted).Dst(), 0), Local: ipwire.IPv6(quoted).Src(),
		Type: message[0], Code: message[1], MTU: int(min(binary.BigEndian.Uint32(message[4:]), 1<<31-1)), Quoted: quoted[at:],
	}, true
}
