package netio

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// control is the memory of one datagram's control message: our own address, as struct in_pktinfo or
// in6_pktinfo (RFC 3542 section 6). It is aligned as struct cmsghdr wants it.
type control [8]uint64

const controlLen = int(unsafe.Sizeof(control{}))

// head is the message's header.
func (c *control) head() *unix.Cmsghdr { return (*unix.Cmsghdr)(unsafe.Pointer(c)) }

// body is where the message's content begins.
func (c *control) body() unsafe.Pointer {
	return unsafe.Pointer(&(*[controlLen]byte)(unsafe.Pointer(c))[unix.CmsgLen(0)])
}

// local is the address to which a datagram was sent; invalid if the kernel did not tell, and for one that
// cannot be sent from. n is how many bytes of control messages there are: we ask for this one alone.
func (c *control) local(n int) netip.Addr {
	h, a := c.head(), netip.Addr{}
	switch {
	case n < unix.CmsgLen(unix.SizeofInet4Pktinfo):
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO:
		a = netip.AddrFrom4((*unix.Inet4Pktinfo)(c.body()).Spec_dst)
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && n >= unix.CmsgLen(unix.SizeofInet6Pktinfo):
		a = netip.AddrFrom16((*unix.Inet6Pktinfo)(c.body()).Addr)
	}
	if !a.IsGlobalUnicast() && !a.IsLoopback() {
		return netip.Addr{} // a link-local address would need its link
	}
	return a
}

// setLocal makes the datagram leave from a, and returns the length of the message.
func (c *control) setLocal(a netip.Addr) int {
	*c = control{}
	h := c.head()
	if a.Is4() {
		h.Level, h.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		h.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		(*unix.Inet4Pktinfo)(c.body()).Spec_dst = a.As4()
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	}
	h.Level, h.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	h.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	(*unix.Inet6Pktinfo)(c.body()).Addr = a.As16()
	return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
}
