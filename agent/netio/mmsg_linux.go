package netio

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsg is the memory of one recvmmsg or sendmmsg call, made once. golang.org/x/net's ReadBatch makes
// a net.Addr for every datagram; here a datagram costs no allocation.
type mmsg struct {
	headers  []unix.Mmsghdr
	iovecs   []unix.Iovec
	names    []unix.RawSockaddrInet6 // large enough for either family
	controls []control
	call     func(fd int) bool // bound once: a new closure would be an allocation per call
	// fetch is called when a receiver that waits learns of an error, and ends the call if it returns true.
	fetch func(fd int) bool

	vain bool // the last call has received all that there was

	first, last int // the part of headers that the call uses
	n           int
	err         error
}

// newMmsg makes the memory for a batch, with controlLen bytes of ancillary data for each datagram. trap is
// SYS_RECVMMSG or SYS_SENDMMSG.
func newMmsg(batch, controlLen int, trap, flags uintptr) *mmsg {
	m := &mmsg{
		headers:  make([]unix.Mmsghdr, batch),
		iovecs:   make([]unix.Iovec, batch),
		names:    make([]unix.RawSockaddrInet6, batch),
		controls: make([]control, batch),
	}
	for i := range m.headers {
		h := &m.headers[i].Hdr
		h.Iov = &m.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&m.names[i]))
		m.controls[i] = newControl(controlLen)
	}
	// Raw: nothing here blocks, so Go's scheduler need not know.
	m.call = func(fd int) bool {
		n, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&m.headers[m.first])),
			uintptr(m.last-m.first), unix.MSG_DONTWAIT|flags, 0, 0)
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

// expect prepares the first n headers to receive.
func (m *mmsg) expect(n int) {
	for i := range m.headers[:n] {
		m.headers[i].Hdr.Namelen = unix.SizeofSockaddrInet6
		m.setControl(i, len(m.controls[i]))
	}
	m.first, m.last = 0, n
}

// recv waits for datagrams, of which it returns the number; 0 where fetch ended the wait.
func (m *mmsg) recv(d *descriptor, n int) (int, error) {
	m.expect(n)
	got, err := m.do(d, unix.POLLIN, m.fetch, m.vain)
	m.vain = got > 0 && got < n
	return got, err
}

func (m *mmsg) send(d *descriptor, first, last int) (int, error) {
	m.first, m.last = first, last
	return m.do(d, unix.POLLOUT, nil, false)
}

func (m *mmsg) do(d *descriptor, events int16, fetch func(fd int) bool, vain bool) (int, error) {
	m.n, m.err = 0, nil
	err := d.do(events, m.call, fetch, vain)
	switch {
	case err != nil:
		return 0, err
	case m.err == unix.EAGAIN: // fetch ended it
		return 0, nil
	}
	return m.n, m.err
}

// ancillary is what the kernel told about the i-th datagram.
func (m *mmsg) ancillary(i int) control {
	return m.controls[i][:min(int(m.headers[i].Hdr.Controllen), len(m.controls[i]))]
}

// truncated reports whether the i-th datagram was longer than its buffer, or what was told about it.
func (m *mmsg) truncated(i int) bool {
	return m.headers[i].Hdr.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0
}

// length is that of the i-th datagram.
func (m *mmsg) length(i int) int { return int(m.headers[i].Len) }

// setControl says how much of the i-th datagram's control memory counts.
func (m *mmsg) setControl(i, n int) {
	h := &m.headers[i].Hdr
	h.Control = nil
	if n > 0 {
		h.Control = &m.controls[i][0]
	}
	h.SetControllen(n)
}

// address is where the i-th datagram came from; invalid if the kernel gave none.
func (m *mmsg) address(i int) netip.AddrPort {
	name := &m.names[i]
	if m.headers[i].Hdr.Namelen == 0 {
		return netip.AddrPort{}
	}
	switch name.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), networkPort(&v4.Port))
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), networkPort(&name.Port))
	}
	return netip.AddrPort{}
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
