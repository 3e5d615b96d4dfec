package netio

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsg is the memory of one recvmmsg or sendmmsg call, made once. golang.org/x/net's ReadBatch makes
// a net.Addr for every datagram; here a datagram costs no allocation.
type mmsg struct {
	headers []unix.Mmsghdr
	iovecs  []unix.Iovec
	names   []unix.RawSockaddrInet6 // large enough for either family
	locals  []control
	call    func(fd uintptr) bool // bound once: a new closure would be an allocation per call

	first, last int // the part of headers that the call uses
	n           int
	err         error
}

func newMmsg(batch int, trap uintptr) *mmsg {
	m := &mmsg{
		headers: make([]unix.Mmsghdr, batch),
		iovecs:  make([]unix.Iovec, batch),
		names:   make([]unix.RawSockaddrInet6, batch),
		locals:  make([]control, batch),
	}
	for i := range m.headers {
		h := &m.headers[i].Hdr
		h.Iov = &m.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&m.names[i]))
	}
	m.call = func(fd uintptr) bool {
		n, _, errno := unix.Syscall6(trap, fd, uintptr(unsafe.Pointer(&m.headers[m.first])),
			uintptr(m.last-m.first), unix.MSG_DONTWAIT, 0, 0)
		m.n, m.err = int(n), nil
		if errno != 0 {
			m.n, m.err = 0, errno
		}
		return errno != unix.EAGAIN
	}
	return m
}

// setBuffer makes b the i-th datagram's memory.
func (m *mmsg) setBuffer(i int, b []byte) {
	m.iovecs[i].Base = unsafe.SliceData(b)
	m.iovecs[i].SetLen(len(b))
}

// forget drops the references to the caller's buffers.
func (m *mmsg) forget(n int) {
	for i := range m.iovecs[:n] {
		m.iovecs[i].Base = nil
	}
}

func (m *mmsg) recv(c syscall.RawConn, n int) (int, error) {
	for i := range m.headers[:n] {
		m.headers[i].Hdr.Namelen = unix.SizeofSockaddrInet6
		m.setControl(i, controlLen)
	}
	m.first, m.last = 0, n
	if err := c.Read(m.call); err != nil {
		return 0, err
	}
	return m.n, m.err
}

func (m *mmsg) send(c syscall.RawConn, first, last int) (int, error) {
	m.first, m.last = first, last
	if err := c.Write(m.call); err != nil {
		return 0, err
	}
	return m.n, m.err
}

// address is where the i-th datagram came from; invalid if the kernel gave none.
func (m *mmsg) address(i int) netip.AddrPort {
	name := &m.names[i]
	switch name.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), networkPort(&v4.Port))
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), networkPort(&name.Port))
	}
	return netip.AddrPort{}
}

// local is the address of ours to which the i-th datagram came; invalid if the kernel gave none.
func (m *mmsg) local(i int) netip.Addr { return m.locals[i].local(int(m.headers[i].Hdr.Controllen)) }

// setLocal makes the i-th datagram leave from an address of ours; the kernel chooses if that is invalid or of
// the other family.
func (m *mmsg) setLocal(i int, local netip.Addr, is6 bool) {
	n := 0
	if local.IsValid() && local.Is4() != is6 {
		n = m.locals[i].setLocal(local)
	}
	m.setControl(i, n)
}

// setControl says how much of the i-th datagram's control memory counts.
func (m *mmsg) setControl(i, n int) {
	h := &m.headers[i].Hdr
	h.Control = nil
	if n > 0 {
		h.Control = (*byte)(unsafe.Pointer(&m.locals[i]))
	}
	h.SetControllen(n)
}

// unpinned lets the kernel choose the i-th datagram's source after all; false if it could already.
func (m *mmsg) unpinned(i int) bool {
	was := m.headers[i].Hdr.Control != nil
	m.setControl(i, 0)
	return was
}

// setAddress makes to the i-th datagram's destination, in the socket's family.
func (m *mmsg) setAddress(i int, to netip.AddrPort, is6 bool) {
	name := &m.names[i]
	*name = unix.RawSockaddrInet6{}
	if is6 {
		name.Family = unix.AF_INET6
		name.Addr = to.Addr().As16()
		setNetworkPort(&name.Port, to.Port())
		m.headers[i].Hdr.Namelen = unix.SizeofSockaddrInet6
		return
	}
	v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
	v4.Family = unix.AF_INET
	v4.Addr = to.Addr().As4()
	setNetworkPort(&v4.Port, to.Port())
	m.headers[i].Hdr.Namelen = unix.SizeofSockaddrInet4
}

// networkPort reads a port that lies in network byte order.
func networkPort(p *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:])
}

func setNetworkPort(p *uint16, port uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(p))[:], port)
}
