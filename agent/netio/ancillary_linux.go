package netio

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// control is the memory of one datagram's control messages (RFC 3542 section 20.3): aligned as struct cmsghdr wants.
type control []byte

// newControl makes n bytes, rounded up.
func newControl(n int) control {
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
}

// message is one control message.
type message struct {
	level, kind int32
	data        []byte
}

// next splits the first message off; false at the end, and for what is malformed.
func (c control) next() (m message, rest control, ok bool) {
	if len(c) < unix.SizeofCmsghdr {
		return message{}, nil, false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
	n := int(h.Len)
	if n < unix.CmsgLen(0) || n > len(c) {
		return message{}, nil, false
	}
	m = message{level: h.Level, kind: h.Type, data: c[unix.CmsgLen(0):n]}
	return m, c[min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(c)):], true
}

// is reports whether a message is of the kind and has at least n bytes.
func (m *message) is(level, kind int32, n int) bool {
	return m.level == level && m.kind == kind && len(m.data) >= n
}

// arrival is what the kernel told about a datagram or a run that came.
type arrival struct {
	local   netip.Addr // the address of ours that it was sent to
	tos     uint8
	ttl     uint8
	segment int // of a run; otherwise 0
}

func (c control) arrival() (a arrival) {
	for m, rest, ok := c.next(); ok; m, rest, ok = rest.next() {
		a.take(&m)
	}
	return a
}

// take notes a message; false if it says something else.
func (a *arrival) take(m *message) bool {
	switch {
	case m.is(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo):
		a.local = netip.AddrFrom4([4]byte(m.data[4:8])) // ipi_spec_dst
	case m.is(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo):
		a.local = netip.AddrFrom16([16]byte(m.data[:16]))
	case m.is(unix.IPPROTO_IP, unix.IP_TOS, 1):
		a.tos = m.data[0]
	case m.is(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 4):
		a.tos = uint8(binary.NativeEndian.Uint32(m.data))
	case m.is(unix.IPPROTO_IP, unix.IP_TTL, 4), m.is(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, 4):
		a.ttl = uint8(binary.NativeEndian.Uint32(m.data))
	case m.is(unix.IPPROTO_UDP, unix.UDP_GRO, 4):
		a.segment = int(binary.NativeEndian.Uint32(m.data))
	default:
		return false
	}
	return true
}

// pinnable is an address that can be sent from without naming a link.
func pinnable(a netip.Addr) bool { return a.IsGlobalUnicast() || a.IsLoopback() }

// put appends a message of n bytes at offset at, and returns its body and the end.
func (c control) put(at int, level, kind int32, n int) (body []byte, end int) {
	end = at + unix.CmsgSpace(n)
	clear(c[at:end])
	h := (*unix.Cmsghdr)(unsafe.Pointer(&c[at]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(n))
	return c[at+unix.CmsgLen(0) : at+unix.CmsgLen(n)], end
}

// departureLen is the control memory that departure needs.
var departureLen = unix.CmsgSpace(unix.SizeofInet6Pktinfo) + unix.CmsgSpace(4) + unix.CmsgSpace(2)

// departure makes a datagram leave with the TOS byte, a run in segments of so many bytes, if that is not 0, and all, if
// that is an address of the family, from local. It returns the length of the messages, and that without local.
func (c control) departure(tos uint8, segment int, local netip.Addr, is6 bool) (n, unbound int) {
	level, kind := int32(unix.IPPROTO_IP), int32(unix.IP_TOS)
	if is6 {
		level, kind = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	body, unbound := c.put(0, level, kind, 4)
	binary.NativeEndian.PutUint32(body, uint32(tos))
	if segment > 0 {
		body, unbound = c.put(unbound, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 2)
		binary.NativeEndian.PutUint16(body, uint16(segment))
	}
	if !local.IsValid() || local.Is4() == is6 {
		return unbound, unbound
	}
	if is6 {
		body, n = c.put(unbound, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
		a := local.As16()
		copy(body, a[:])
		return n, unbound
	}
	body, n = c.put(unbound, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
	a := local.As4()
	copy(body[4:], a[:])
	return n, unbound
}
