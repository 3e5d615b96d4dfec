package netio

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
)

const (
	// errorBatch is how many messages of an error queue are read at once; more wait.
	errorBatch = 16
	// quotedMax is what is kept of a quoted packet: more than IP headers, UDP and ESP header.
	quotedMax = 512
	// errorControl holds an extended error with its offender, and an address of ours.
	errorControl = 256
	// sizeofExtendedErr is that of struct sock_extended_err, <linux/errqueue.h>.
	sizeofExtendedErr = 16
)

// errorQueue reads what ICMP says of packets that a socket has sent (IP_RECVERR). It belongs to the receiver.
//
// A message on the queue also makes the next receive or send fail once with its error, which is nobody's own; both
// try again then.
type errorQueue struct {
	m     *mmsg
	bufs  [errorBatch][]byte
	n     int
	proto uint8 // of a raw socket, whose addresses have no port; 0: UDP
}

func newErrorQueue(proto uint8) *errorQueue {
	q := &errorQueue{m: newMmsg(errorBatch, errorControl, unix.SYS_RECVMMSG, unix.MSG_ERRQUEUE), proto: proto}
	for i := range q.bufs {
		q.bufs[i] = make([]byte, quotedMax)
	}
	return q
}

// fill reads what is there, if the last messages were fetched, and reports whether there is something to fetch.
func (q *errorQueue) fill(fd int) bool {
	if q.n > 0 {
		return true
	}
	for i, b := range q.bufs {
		q.m.setBuffer(i, b)
	}
	q.m.expect(errorBatch)
	q.m.call(fd)
	q.n = q.m.n
	return q.n > 0
}

// control is fill for who has no descriptor at hand.
func (q *errorQueue) control(d *descriptor) {
	_ = d.control(func(fd int) error { q.fill(fd); return nil })
}

// fetch yields the messages that fill has read and forgets them.
func (q *errorQueue) fetch(yield func(datagram.PathError)) {
	for i := range q.n {
		if e, ok := q.message(i); ok {
			yield(e)
		}
	}
	q.n = 0
}

// message translates the i-th message; false for what no ICMP message said.
func (q *errorQueue) message(i int) (datagram.PathError, bool) {
	e := datagram.PathError{Remote: q.m.address(i), Quoted: q.bufs[i][:min(q.m.length(i), quotedMax)]}
	if q.proto != 0 {
		e.Remote = netip.AddrPortFrom(e.Remote.Addr(), 0)
	}
	found := false
	for m, rest, ok := q.m.ancillary(i).next(); ok; m, rest, ok = rest.next() {
		switch {
		case m.is(unix.IPPROTO_IP, unix.IP_RECVERR, sizeofExtendedErr), m.is(unix.IPPROTO_IPV6, unix.IPV6_RECVERR, sizeofExtendedErr):
			found = extended(&e, m.data)
		case m.is(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo):
			// ipi_addr, where the ICMP message came to: on an error queue ipi_spec_dst is not filled in.
			e.Local = netip.AddrFrom4([4]byte(m.data[8:12]))
		default:
			var a arrival
			if a.take(&m) && a.local.IsValid() {
				e.Local = a.local
			}
		}
	}
	return e, found && e.Remote.Addr().IsValid()
}

// extended reads struct sock_extended_err; false for an error of the kernel's own, which the send has returned too.
func extended(e *datagram.PathError, b []byte) bool {
	errno, origin := binary.NativeEndian.Uint32(b), b[4]
	if origin != unix.SO_EE_ORIGIN_ICMP && origin != unix.SO_EE_ORIGIN_ICMP6 {
		return false
	}
	e.Type, e.Code, e.Offender = b[5], b[6], offender(b[sizeofExtendedErr:])
	if errno == uint32(unix.EMSGSIZE) {
		e.MTU = int(binary.NativeEndian.Uint32(b[8:]))
	}
	return true
}

// offender reads the struct sockaddr behind a struct sock_extended_err.
func offender(b []byte) netip.Addr {
	if len(b) < unix.SizeofSockaddrInet4 {
		return netip.Addr{}
	}
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[4:8]))
	case unix.AF_INET6:
		if len(b) >= int(unsafe.Offsetof(unix.RawSockaddrInet6{}.Addr))+16 {
			return netip.AddrFrom16([16]byte(b[8:24])).Unmap()
		}
	}
	return netip.Addr{}
}
