//go:build linux

package netio_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/netio/nstest"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// wire is two hosts on one link.
//
//	left 192.0.2.1 and .7, 2001:db8::1 and ::7 ── 1500 ── right 192.0.2.2, 2001:db8::2
type wire struct {
	t           testing.TB
	left, right *nstest.Namespace
}

func newWire(t testing.TB) *wire {
	t.Helper()
	w := &wire{t, nstest.New(t), nstest.New(t)}
	nstest.Connect(t, w.left, "eth0", prefixes("192.0.2.1/24", "192.0.2.7/24", "2001:db8::1/64", "2001:db8::7/64"),
		w.right, "eth0", prefixes("192.0.2.2/24", "2001:db8::2/64"))
	return w
}

// ends are the addresses of a family; from is not the one that the kernel would take.
type ends struct {
	name     string
	v6       bool
	from, to netip.Addr
}

func bothFamilies() []ends {
	return []ends{
		{"IPv4", false, netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.2")},
		{"IPv6", true, netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("2001:db8::2")},
	}
}

// listen opens our socket of a family.
func (w *wire) listen(ns *nstest.Namespace, e ends, o netio.UDPOptions) *netio.UDPSocket {
	w.t.Helper()
	o.Port = 4500
	var v4, v6 *netio.UDPSocket
	var err error
	ns.Do(func() { v4, v6, err = netio.ListenUDP(o) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { v4.Close(); v6.Close() })
	if e.v6 {
		return v6
	}
	return v4
}

// plain opens a socket as any program has one at the right end's port 4500.
func (w *wire) plain(e ends) *net.UDPConn {
	w.t.Helper()
	var conn *net.UDPConn
	var err error
	w.right.Do(func() { conn, err = net.ListenUDP("udp", &net.UDPAddr{IP: e.to.AsSlice(), Port: 4500}) })
	if err == nil {
		var raw syscall.RawConn
		if raw, err = conn.SyscallConn(); err == nil {
			err = raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
			})
		}
	}
	if err == nil {
		err = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// offload switches a device's offload, by the ethtool command that sets it.
func (w *wire) offload(ns *nstest.Namespace, command, on uint32) {
	w.t.Helper()
	var err error
	ns.Do(func() {
		var fd int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		value := [2]uint32{command, on}
		request := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:], "eth0")
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			err = errno
		}
	})
	if err != nil {
		w.t.Fatalf("ethtool command %#x: %v", command, err)
	}
}

// frame is a UDP datagram as it was on the link.
type frame struct {
	payload []byte
	tos     uint8
	df      bool
	id      uint16
	src     netip.Addr
	valid   bool // its UDP checksum
}

// capture sees what arrives at the right end of the link.
func (w *wire) capture() int {
	w.t.Helper()
	fd := -1
	var err error
	w.right.Do(func() {
		protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(protocol)); err != nil {
			return
		}
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20); err == nil {
			err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// frames reads n UDP datagrams to port 4500 that were captured.
func (w *wire) frames(fd, n int) (out []frame) {
	w.t.Helper()
	b := make([]byte, 70000)
	for len(out) < n {
		k, err := unix.Read(fd, b)
		if err != nil {
			w.t.Fatalf("%d of %d frames: %v", len(out), n, err)
		}
		if f, ok := readFrame(bytes.Clone(b[:k])); ok {
			out = append(out, f)
		}
	}
	return out
}

func readFrame(b []byte) (f frame, ok bool) {
	var udp []byte
	var dst netip.Addr
	if h, err := ipwire.ParseIPv4(b); err == nil && h.Protocol() == unix.IPPROTO_UDP {
		f, dst, udp = frame{tos: h.TOS(), df: h.DontFragment(), id: h.ID(), src: h.Src()}, h.Dst(), h.Payload()
	} else if h, err := ipwire.ParseIPv6(b); err == nil && h.NextHeader() == unix.IPPROTO_UDP {
		f, dst, udp = frame{tos: ipwire.TOS(h), src: h.Src()}, h.Dst(), h.Payload()
	}
	h, err := ipwire.ParseUDP(udp)
	if err != nil || h.DstPort() != 4500 {
		return frame{}, false
	}
	f.payload = h[8:]
	sum := binary.BigEndian.AppendUint16(bytes.Clone(h), ipwire.PseudoHeader(f.src, dst, unix.IPPROTO_UDP, len(h)))
	if len(h)%2 != 0 {
		sum = append(append(bytes.Clone(h), 0), binary.BigEndian.AppendUint16(nil, ipwire.PseudoHeader(f.src, dst, unix.IPPROTO_UDP, len(h)))...)
	}
	f.valid = h.Checksum() != 0 && ipwire.Sum(sum) == 0xffff
	return f, true
}

// run is so many bytes, no two of its datagrams alike.
func run(n, segment int) datagram.Packet {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8*7)
	}
	for i := 0; segment > 0 && i+4 <= n; i += segment {
		binary.BigEndian.PutUint32(b[i:], uint32(i))
	}
	return datagram.Packet{Data: b, Segment: segment}
}

// datagrams are those of a packet.
func datagrams(p datagram.Packet) (out [][]byte) {
	if p.Count() == 1 {
		return [][]byte{p.Data}
	}
	for i := 0; i < len(p.Data); i += p.Segment {
		out = append(out, p.Data[i:min(i+p.Segment, len(p.Data))])
	}
	return out
}
