//go:build linux

package netio_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/netio/nstest"
	"sallyport.dev/sallyport/services/protocol/fragment"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// socket is what UDPSocket and RawSocket have in common.
type socket interface {
	Recv([]datagram.Packet) (int, error)
	Send([]datagram.Packet) (int, error)
	PathErrors(func(datagram.PathError))
	Close() error
}

// route is a router between two hosts; the link behind it takes 1400 bytes.
//
//	left 192.0.2.1, 2001:db8:1::1 ── 1500 ── router ── 1400 ── right 198.51.100.2, 2001:db8:2::2
type route struct {
	left, router, right *nstest.Namespace
}

var (
	left4, right4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	left6, right6 = netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:2::2")
)

func newRoute(t *testing.T) *route {
	t.Helper()
	r := &route{nstest.New(t), nstest.New(t), nstest.New(t)}
	nstest.Connect(t, r.left, "eth0", prefixes("192.0.2.1/24", "2001:db8:1::1/64"), r.router, "eth0", prefixes("192.0.2.254/24", "2001:db8:1::fe/64"))
	nstest.Connect(t, r.router, "eth1", prefixes("198.51.100.254/24", "2001:db8:2::fe/64"), r.right, "eth0", prefixes("198.51.100.2/24", "2001:db8:2::2/64"))
	r.router.Run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	r.router.Run("ip", "link", "set", "eth1", "mtu", "1400")
	r.right.Run("ip", "link", "set", "eth0", "mtu", "1400")
	for _, end := range []struct {
		ns     *nstest.Namespace
		v4, v6 string
	}{{r.left, "192.0.2.254", "2001:db8:1::fe"}, {r.right, "198.51.100.254", "2001:db8:2::fe"}} {
		end.ns.Run("ip", "route", "add", "default", "via", end.v4)
		end.ns.Run("ip", "-6", "route", "add", "default", "via", end.v6)
	}
	return r
}

func (r *route) udp(t *testing.T, ns *nstest.Namespace, o netio.UDPOptions) (v4, v6 *netio.UDPSocket) {
	t.Helper()
	o.Port = 4500
	var err error
	ns.Do(func() { v4, v6, err = netio.ListenUDP(o) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v4.Close(); v6.Close() })
	return v4, v6
}

func (r *route) raw(t *testing.T, ns *nstest.Namespace, proto uint8) (v4, v6 *netio.RawSocket) {
	t.Helper()
	var err error
	ns.Do(func() { v4, v6, err = netio.ListenRaw(proto, netio.DefaultMark) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v4.Close(); v6.Close() })
	return v4, v6
}

// arrive receives n packets, or fails after ten seconds.
func arrive(t *testing.T, s socket, n int) (out []datagram.Packet) {
	t.Helper()
	timeout := time.AfterFunc(10*time.Second, func() { s.Close() })
	defer timeout.Stop()
	for len(out) < n {
		ps := make([]datagram.Packet, 8)
		k, err := s.Recv(ps)
		if err != nil {
			t.Fatalf("%d of %d packets: %v", len(out), n, err)
		}
		for i := range ps[:k] {
			ps[i].Data = bytes.Clone(ps[i].Data)
		}
		out = append(out, ps[:k]...)
	}
	return out
}

// pathError receives until a path error comes.
func pathError(t *testing.T, s socket) (e datagram.PathError) {
	t.Helper()
	timeout := time.AfterFunc(10*time.Second, func() { s.Close() })
	defer timeout.Stop()
	for found := false; !found; {
		if _, err := s.Recv(make([]datagram.Packet, 8)); err != nil {
			t.Fatalf("no path error: %v", err)
		}
		s.PathErrors(func(p datagram.PathError) {
			e, found = p, true
			e.Quoted = bytes.Clone(p.Quoted)
		})
	}
	return e
}

// watcher is a raw socket that sees UDP datagrams with their IPv4 headers.
func watcher(t *testing.T, ns *nstest.Namespace) int {
	t.Helper()
	fd := -1
	var err error
	ns.Do(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP) })
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func watch(t *testing.T, fd int) ipwire.IPv4 {
	t.Helper()
	b := make([]byte, 70000)
	n, err := unix.Read(fd, b)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ipwire.ParseIPv4(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// esp is an ESP packet, as far as anybody on the way can tell.
func esp(n int) []byte {
	b := bytes.Repeat([]byte{0xe5}, n)
	binary.BigEndian.PutUint32(b, 0x1234)
	binary.BigEndian.PutUint32(b[4:], 7)
	return b
}

func TestUDPHeaders(t *testing.T) {
	r := newRoute(t)
	for _, noChecksum := range []bool{false, true} {
		t.Run(fmt.Sprintf("without a checksum %v", noChecksum), func(t *testing.T) {
			v4, _ := r.udp(t, r.left, netio.UDPOptions{Mark: netio.DefaultMark, NoChecksum: noChecksum})
			peer, _ := r.udp(t, r.right, netio.UDPOptions{Mark: netio.DefaultMark})
			fd := watcher(t, r.right)
			to := netip.AddrPortFrom(right4, 4500)
			sent := []datagram.Packet{{Data: esp(100), Remote: to, TOS: 0xb9, DF: true}, {Data: esp(101), Remote: to, TOS: 2}, {Data: esp(102), Remote: to, DF: true}}
			if n, err := v4.Send(sent); n != 3 || err != nil {
				t.Fatal(n, err)
			}
			got := arrive(t, peer, 3)
			for i, s := range sent {
				h := watch(t, fd)
				udp, err := ipwire.ParseUDP(h.Payload())
				if err != nil || h.DontFragment() != s.DF || h.TOS() != s.TOS || udp.SrcPort() != 4500 || (udp.Checksum() == 0) != noChecksum {
					t.Errorf("on the wire DF %v, TOS %#x, checksum %#x; want DF %v, TOS %#x; %v", h.DontFragment(), h.TOS(), udp.Checksum(), s.DF, s.TOS, err)
				}
				p := got[i]
				if !bytes.Equal(p.Data, s.Data) || p.TOS != s.TOS || p.TTL != 63 || p.Local != right4 || p.Remote != netip.AddrPortFrom(left4, 4500) {
					t.Errorf("got %d bytes, TOS %#x, TTL %d, at %v from %v", len(p.Data), p.TOS, p.TTL, p.Local, p.Remote)
				}
			}
		})
	}
	t.Run("IPv6", func(t *testing.T) {
		_, v6 := r.udp(t, r.left, netio.UDPOptions{Mark: netio.DefaultMark})
		_, peer := r.udp(t, r.right, netio.UDPOptions{Mark: netio.DefaultMark})
		if n, err := v6.Send([]datagram.Packet{{Data: esp(100), Remote: netip.AddrPortFrom(right6, 4500), TOS: 0xb9, DF: true}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		p := arrive(t, peer, 1)[0]
		if p.TOS != 0xb9 || p.TTL != 63 || p.Local != right6 || p.Remote.Addr() != left6 {
			t.Errorf("TOS %#x, TTL %d, at %v from %v", p.TOS, p.TTL, p.Local, p.Remote)
		}
	})
}

// TestTooBigForTheLink: each packet is judged on its own, and without DF all leave.
func TestTooBigForTheLink(t *testing.T) {
	r := newRoute(t)
	r.left.Run("ip", "link", "set", "eth0", "mtu", "1400") // as the rest: nobody on the way has to say anything
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("IPv6 %v", v6), func(t *testing.T) {
			s, s6 := r.udp(t, r.left, netio.UDPOptions{Mark: netio.DefaultMark})
			peer, peer6 := r.udp(t, r.right, netio.UDPOptions{Mark: netio.DefaultMark})
			to := netip.AddrPortFrom(right4, 4500)
			if v6 {
				s, peer, to = s6, peer6, netip.AddrPortFrom(right6, 4500)
			}
			ps := []datagram.Packet{{Data: esp(1000), Remote: to, DF: true}, {Data: esp(1500), Remote: to, DF: true}, {Data: esp(5000), Remote: to}, {Data: esp(1001), Remote: to, DF: true}}
			n, err := s.Send(ps)
			if n != 3 || !errors.Is(err, datagram.ErrTooBig) {
				t.Errorf("%d left: %v", n, err)
			}
			for i, p := range ps {
				if tooBig := errors.Is(p.Err, datagram.ErrTooBig); tooBig != (i == 1) || i != 1 && p.Err != nil {
					t.Errorf("packet %d: %v", i, p.Err)
				}
			}
			got := map[int]bool{}
			for _, p := range arrive(t, peer, 3) {
				got[len(p.Data)] = true
			}
			if !got[1000] || !got[5000] || !got[1001] {
				t.Errorf("lengths %v", got)
			}
		})
	}
}

// TestPathErrors: what a router on the way and the far host say.
func TestPathErrors(t *testing.T) {
	r := newRoute(t)
	for _, c := range []struct {
		name  string
		proto uint8 // 0: UDP
		v6    bool
	}{{"UDP over IPv4", 0, false}, {"UDP over IPv6", 0, true}, {"ESP over IPv4", 50, false}, {"ESP over IPv6", 50, true}, {"AH over IPv4", 51, false}} {
		t.Run(c.name, func(t *testing.T) {
			var s socket
			port, local, remote := uint16(0), left4, right4
			if c.v6 {
				local, remote = left6, right6
			}
			if c.proto == 0 {
				v4, v6 := r.udp(t, r.left, netio.UDPOptions{Mark: netio.DefaultMark})
				s, port = v4, 4500
				if c.v6 {
					s = v6
				}
			} else {
				v4, v6 := r.raw(t, r.left, c.proto)
				s = v4
				if c.v6 {
					s = v6
				}
			}
			packet := func(n int) datagram.Packet {
				p := datagram.Packet{Data: esp(n), Remote: netip.AddrPortFrom(remote, port), DF: true}
				if c.proto != 0 {
					p.Data = whole(t, c.proto, local, remote, esp(n))
				}
				return p
			}
			if n, err := s.Send([]datagram.Packet{packet(1440)}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			e := pathError(t, s)
			if e.MTU != 1400 || e.Remote != netip.AddrPortFrom(remote, port) || e.Local.IsValid() && e.Local != local || !e.Offender.IsValid() || !bytes.HasPrefix(e.Quoted, esp(8)) {
				t.Errorf("path error %+v", e)
			}
			// The kernel's own belief does not stop us: the next one of that size leaves too.
			if n, err := s.Send([]datagram.Packet{packet(1440)}); n != 1 || err != nil {
				t.Errorf("after the message: %d left, %v", n, err)
			}
			pathError(t, s)
			if n, err := s.Send([]datagram.Packet{packet(100)}); n != 1 || err != nil {
				t.Errorf("a small one: %d left, %v", n, err)
			}
			if e := pathError(t, s); e.MTU != 0 || e.Offender != remote { // nobody listens there
				t.Errorf("unreachable: %+v", e)
			}
			// A quote is never taken for what it looks like: here an IPv4 header in front of ESP or AH.
			if c.proto != 0 {
				like := esp(1440)
				like[0], like[9] = 0x45, c.proto
				p := packet(8)
				p.Data = whole(t, c.proto, local, remote, like)
				if n, err := s.Send([]datagram.Packet{p}); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				if e := pathError(t, s); e.MTU != 1400 || !bytes.HasPrefix(e.Quoted, like[:10]) {
					t.Errorf("quote that looks like a header: %+v", e)
				}
			}
			// An error that is pending is not the next packets' own.
			if n, err := s.Send([]datagram.Packet{packet(100), packet(101)}); n != 2 || err != nil {
				t.Errorf("%d left, %v", n, err)
			}
		})
	}
}

// TestAHErrors: AH over IPv6 has a socket of its own for what ICMPv6 says.
func TestAHErrors(t *testing.T) {
	r := newRoute(t)
	_, s := r.raw(t, r.left, 51)
	var hears *netio.AHErrors
	var err error
	r.left.Do(func() { hears, err = netio.ListenAHErrors() })
	if err != nil {
		t.Fatal(err)
	}
	defer hears.Close()
	ah := append([]byte{6, 4, 0, 0}, esp(1400)...)
	if n, err := s.Send([]datagram.Packet{{Data: whole(t, 51, left6, right6, ah), Remote: netip.AddrPortFrom(right6, 0)}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	e := pathError(t, hears)
	if e.MTU != 1400 || e.Remote != netip.AddrPortFrom(right6, 0) || e.Local != left6 || !e.Offender.IsValid() || !bytes.HasPrefix(e.Quoted, ah[:12]) {
		t.Errorf("path error %+v", e)
	}
}

// whole puts a payload behind an IP header.
func whole(t *testing.T, proto uint8, src, dst netip.Addr, payload []byte) []byte {
	t.Helper()
	var err error
	var b []byte
	if src.Is4() {
		b = append(make([]byte, 20), payload...)
		_, err = ipwire.PutIPv4(b, ipwire.IPv4Header{TOS: 0xb9, ID: 0x4242, DontFragment: true, TTL: 9, Protocol: proto, Src: src, Dst: dst})
	} else {
		b = append(make([]byte, 40), payload...)
		_, err = ipwire.PutIPv6(b, ipwire.IPv6Header{TrafficClass: 0xb9, HopLimit: 9, NextHeader: proto, Src: src, Dst: dst})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forwarded is what a datagram looks like behind one router.
func forwarded(p []byte) []byte {
	p = bytes.Clone(p)
	if ipwire.Version(p) == 4 {
		ipwire.IPv4(p).SetTTL(p[8] - 1)
		ipwire.IPv4(p).UpdateChecksum()
	} else {
		p[7]--
	}
	return p
}

// TestRawDatagramsArriveWhole: what one end sent is what the other gets, headers and all.
func TestRawDatagramsArriveWhole(t *testing.T) {
	r := newRoute(t)
	options := bytes.Clone(whole(t, 50, left4, right4, append([]byte{0x94, 4, 0, 0}, esp(100)...))) // router alert
	options[0] = 0x46
	ipwire.IPv4(options).UpdateChecksum()
	extended := func(proto uint8, chain ...[]byte) []byte {
		var headers []byte
		for i, x := range chain {
			x = bytes.Clone(x)
			next := proto
			if i+1 < len(chain) {
				next = chain[i+1][0]
			}
			headers = append(headers, append([]byte{next}, x[1:]...)...)
		}
		return whole(t, chain[0][0], left6, right6, append(headers, esp(100)...))
	}
	// The first byte says what the header is; it is replaced by what follows it.
	hop := []byte{0, 0, 0x1e, 4, 1, 2, 3, 4}                                   // an option to be skipped
	dst := []byte{60, 0, 0x1e, 4, 5, 6, 7, 8}                                  // likewise
	long := append([]byte{60, 2, 0x1e, 20}, append(make([]byte, 18), 1, 0)...) // 24 bytes, padded by PadN
	for _, c := range []struct {
		name   string
		proto  uint8
		packet []byte
	}{
		{"ESP over IPv4", 50, whole(t, 50, left4, right4, esp(200))},
		{"AH over IPv4", 51, whole(t, 51, left4, right4, esp(200))},
		{"IPv4 options", 50, options},
		{"ESP over IPv6", 50, whole(t, 50, left6, right6, esp(200))},
		{"AH over IPv6", 51, whole(t, 51, left6, right6, esp(200))},
		{"hop-by-hop options", 51, extended(51, hop)},
		{"destination options", 51, extended(51, dst)},
		{"hop-by-hop and destination options", 50, extended(50, hop, dst)},
		{"long options", 51, extended(51, hop, long)},
	} {
		t.Run(c.name, func(t *testing.T) {
			s4, s6 := r.raw(t, r.left, c.proto)
			p4, p6 := r.raw(t, r.right, c.proto)
			s, p, local, remote := s4, p4, left4, right4
			if ipwire.Version(c.packet) == 6 {
				s, p, local, remote = s6, p6, left6, right6
			}
			if n, err := s.Send([]datagram.Packet{{Data: c.packet, Remote: netip.AddrPortFrom(remote, 0), Local: local}}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			got := arrive(t, p, 1)[0]
			if got.Err != nil || !bytes.Equal(got.Data, forwarded(c.packet)) {
				t.Errorf("%v\ngot  % x\nwant % x", got.Err, got.Data, forwarded(c.packet))
			}
			if got.Local != remote || got.Remote != netip.AddrPortFrom(local, 0) || got.TTL != 8 || got.TOS != 0xb9 {
				t.Errorf("at %v from %v, TTL %d, TOS %#x", got.Local, got.Remote, got.TTL, got.TOS)
			}
		})
	}
}

// TestRawHeadersTooLong: a datagram whose extension headers have no room is not given for another one.
func TestRawHeadersTooLong(t *testing.T) {
	r := newRoute(t)
	_, s := r.raw(t, r.left, 50)
	_, p := r.raw(t, r.right, 50)
	options := []byte{50, 600/8 - 1}
	for range 3 {
		options = append(append(options, 0x1e, 196), make([]byte, 196)...) // to be skipped
	}
	options = append(options, 1, 2, 0, 0)
	to := netip.AddrPortFrom(right6, 0)
	ps := []datagram.Packet{{Data: whole(t, 60, left6, right6, append(options, esp(100)...)), Remote: to}, {Data: whole(t, 50, left6, right6, esp(100)), Remote: to}}
	if n, err := s.Send(ps); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	got := arrive(t, p, 2)
	if !errors.Is(got[0].Err, datagram.ErrTruncated) || got[1].Err != nil || !bytes.Equal(got[1].Data, forwarded(ps[1].Data)) {
		t.Errorf("%v, then %v: %d bytes", got[0].Err, got[1].Err, len(got[1].Data))
	}
}

// TestRawFragments: the kernel joins outer fragments, and too big ones are refused one by one.
func TestRawFragments(t *testing.T) {
	r := newRoute(t)
	for _, v6 := range []bool{false, true} {
		s, s6 := r.raw(t, r.left, 50)
		p, p6 := r.raw(t, r.right, 50)
		local, remote := left4, right4
		if v6 {
			s, p, local, remote = s6, p6, left6, right6
		}
		big := whole(t, 50, local, remote, esp(4000))
		if !v6 {
			ipwire.IPv4(big).SetDontFragment(false)
			ipwire.IPv4(big).UpdateChecksum()
		}
		to := netip.AddrPortFrom(remote, 0)
		pieces, err := fragment.Split(nil, make([]byte, fragment.SplitSpace(len(big), 1400)), big, 1400, 99)
		if err != nil || len(pieces) < 3 {
			t.Fatal(len(pieces), err)
		}
		ps := []datagram.Packet{{Data: big, Remote: to}}
		for _, piece := range pieces {
			ps = append(ps, datagram.Packet{Data: piece, Remote: to})
		}
		if n, err := s.Send(ps); n != len(pieces) || !errors.Is(err, datagram.ErrTooBig) || !errors.Is(ps[0].Err, datagram.ErrTooBig) {
			t.Fatalf("%d left, %v", n, err)
		}
		got := arrive(t, p, 1)[0]
		at, _, err := ipwire.FindHeader(got.Data, 50)
		if err != nil || !bytes.Equal(got.Data[at:], esp(4000)) {
			t.Errorf("IPv6 %v: %d bytes arrived, %v", v6, len(got.Data), err)
		}
	}
}

// TestClearSocketStealsNothing: whatever the source port, datagrams arrive at the socket that is read.
func TestClearSocketStealsNothing(t *testing.T) {
	ns := nstest.New(t)
	var err error
	v4, v6 := (&route{}).udp(t, ns, netio.UDPOptions{Mark: netio.DefaultMark})
	const many = 64
	for _, c := range []struct {
		socket *netio.UDPSocket
		to     string
	}{{v4, "127.0.0.1:4500"}, {v6, "[::1]:4500"}} {
		for range many {
			ns.Do(func() {
				var conn net.Conn
				if conn, err = net.Dial("udp", c.to); err == nil {
					_, err = conn.Write([]byte("steal me"))
					conn.Close()
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		arrive(t, c.socket, many)
	}
}

func TestClosedSocketsWakeUp(t *testing.T) {
	ns := nstest.New(t)
	var v4, v6 *netio.UDPSocket
	var esp4, esp6 *netio.RawSocket
	var err error
	ns.Do(func() {
		if v4, v6, err = netio.ListenUDP(netio.UDPOptions{Port: 4500}); err == nil {
			esp4, esp6, err = netio.ListenRaw(50, 0)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []socket{v4, v6, esp4, esp6} {
		done := make(chan error)
		go func() {
			_, err := s.Recv(make([]datagram.Packet, 1))
			done <- err
		}()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%T: %v", s, err)
		}
	}
}

func TestSocketsDoNotAllocate(t *testing.T) {
	r := newRoute(t)
	v4, _ := r.udp(t, r.left, netio.UDPOptions{Mark: netio.DefaultMark})
	peer, _ := r.udp(t, r.right, netio.UDPOptions{Mark: netio.DefaultMark})
	_, esp6 := r.raw(t, r.left, 50)
	_, esp6Peer := r.raw(t, r.right, 50)
	for _, c := range []struct {
		from, to socket
		packet   datagram.Packet
	}{
		{v4, peer, datagram.Packet{Data: esp(100), Remote: netip.AddrPortFrom(right4, 4500), Local: left4, DF: true}},
		{v4, peer, datagram.Packet{Data: esp(13005), Segment: 1300, Remote: netip.AddrPortFrom(right4, 4500), Local: left4, DF: true}},
		{v4, peer, datagram.Packet{Data: esp(70005), Segment: 350, Remote: netip.AddrPortFrom(right4, 4500), Local: left4, DF: true}},
		{v4, peer, datagram.Packet{Data: esp(2605), Segment: 1300, Remote: netip.AddrPortFrom(right4, 4500)}},
		{esp6, esp6Peer, datagram.Packet{Data: whole(t, 50, left6, right6, esp(100)), Remote: netip.AddrPortFrom(right6, 0)}},
	} {
		ps, in := []datagram.Packet{c.packet, c.packet, c.packet, c.packet}, make([]datagram.Packet, 8)
		many := len(ps) * c.packet.Count()
		timeout := time.AfterFunc(10*time.Second, func() { c.to.Close() })
		defer timeout.Stop()
		var failed error
		allocs := testing.AllocsPerRun(50, func() {
			if n, err := c.from.Send(ps); n != many {
				failed = err
			}
			for got := 0; got < many && failed == nil; {
				n, err := c.to.Recv(in)
				for i := range in[:n] {
					got += in[i].Count()
				}
				failed = err
			}
		})
		if failed != nil || allocs != 0 {
			t.Errorf("%T: %v allocations, %v", c.from, allocs, failed)
		}
	}
}

func TestPathTo(t *testing.T) {
	r := newRoute(t)
	r.left.Run("ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.254", "mtu", "1300")
	var routes *netio.Routes
	var err error
	r.left.Do(func() { routes, err = netio.OpenRoutes(netio.DefaultMark) })
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Close()
	for _, c := range []struct {
		to    string
		local netip.Addr
		mtu   int
	}{{"198.51.100.2", left4, 1500}, {"2001:db8:2::2", left6, 1500}, {"203.0.113.5", left4, 1300}} {
		if local, mtu, err := routes.PathTo(netip.MustParseAddr(c.to)); local != c.local || mtu != c.mtu || err != nil {
			t.Errorf("to %s: from %v, MTU %d, %v", c.to, local, mtu, err)
		}
	}
	r.left.Run("ip", "route", "del", "default")
	if _, _, err := routes.PathTo(right4); err == nil {
		t.Error("there is no route, and no error")
	}
}

func TestUDPSocketsAreDual(t *testing.T) {
	ns := nstest.New(t)
	var err error
	v4, v6 := (&route{}).udp(t, ns, netio.UDPOptions{Mark: netio.DefaultMark})
	for _, c := range []struct {
		socket *netio.UDPSocket
		local  string
	}{{v4, "127.0.0.1:0"}, {v6, "[::1]:0"}} {
		var peer *net.UDPConn
		ns.Do(func() { peer, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(c.local))) })
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		exchange(t, c.socket, peer)
	}
	ns.Do(func() { _, _, err = netio.ListenUDP(netio.UDPOptions{Port: 4500}) })
	if err == nil || !strings.Contains(err.Error(), "another IKE or IPsec daemon") {
		t.Errorf("second listener: %v", err)
	}
}

// exchange sends three datagrams each way.
func exchange(t *testing.T, s *netio.UDPSocket, peer *net.UDPConn) {
	t.Helper()
	local := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	to := netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	sent, err := s.Send([]datagram.Packet{{Data: []byte("a"), Remote: to, DF: true}, {Data: []byte("bb"), Remote: to}, {Data: []byte("ccc"), Remote: to, DF: true}})
	if sent != 3 || err != nil {
		t.Fatalf("sent %d: %v", sent, err)
	}
	buf := make([]byte, 16)
	for _, want := range []string{"a", "bb", "ccc"} {
		n, from, err := peer.ReadFromUDPAddrPort(buf)
		if err != nil || string(buf[:n]) != want || from.Port() != 4500 {
			t.Fatalf("got %q from %v: %v", buf[:n], from, err)
		}
		if _, err := peer.WriteToUDPAddrPort([]byte(strings.Repeat("x", len(want)+6)), from); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range arrive(t, s, 3) {
		if p.Remote != to || p.Err != nil || string(p.Data) != "xxxxxxxxx"[:7+i] {
			t.Errorf("%q from %v, want %v: %v", p.Data, p.Remote, to, p.Err)
		}
	}
}

// TestAnswersLeaveFromTheAddressAskedAt: a NAT in front of the other end lets nothing else in.
func TestAnswersLeaveFromTheAddressAskedAt(t *testing.T) {
	us, them := nstest.New(t), nstest.New(t)
	nstest.Connect(t, us, "eth0", prefixes("192.0.2.1/24", "192.0.2.7/24", "2001:db8::1/64", "2001:db8::7/64"),
		them, "eth0", prefixes("192.0.2.2/24", "2001:db8::2/64"))
	var err error
	v4, v6 := (&route{}).udp(t, us, netio.UDPOptions{Mark: netio.DefaultMark})
	for _, c := range []struct {
		socket           *netio.UDPSocket
		peer, ours, gone string
	}{
		{v4, "192.0.2.2:4500", "192.0.2.1", "192.0.2.9"}, {v4, "192.0.2.2:4500", "192.0.2.7", "2001:db8::1"},
		{v6, "[2001:db8::2]:4500", "2001:db8::1", "2001:db8::9"}, {v6, "[2001:db8::2]:4500", "2001:db8::7", "192.0.2.1"},
	} {
		var peer *net.UDPConn
		them.Do(func() { peer, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(c.peer))) })
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		if err := peer.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		ours := netip.AddrPortFrom(netip.MustParseAddr(c.ours), 4500)
		if _, err := peer.WriteToUDPAddrPort([]byte("ask"), ours); err != nil {
			t.Fatal(err)
		}
		asked := arrive(t, c.socket, 1)[0]
		if asked.Local != ours.Addr() {
			t.Fatalf("asked at %v: %v", ours, asked.Local)
		}
		// Then from an address that is not ours: better from another than not at all.
		sent, err := c.socket.Send([]datagram.Packet{{Data: []byte("answer"), Remote: asked.Remote, Local: asked.Local},
			{Data: []byte("late"), Remote: asked.Remote, Local: netip.MustParseAddr(c.gone)}})
		if sent != 2 || err != nil {
			t.Fatalf("sent %d: %v", sent, err)
		}
		for _, what := range []string{"answer", "late"} {
			n, who, err := peer.ReadFromUDPAddrPort(make([]byte, 8))
			if err != nil || n != len(what) || what == "answer" && who.Addr().Unmap() != ours.Addr() {
				t.Errorf("asked at %v: %s from %v, %v", ours, what, who, err)
			}
		}
		peer.Close()
	}
}

// TestErrorsDoNotMoveUs: an ICMP message about an earlier packet does not make the next one leave from another of our
// addresses.
func TestErrorsDoNotMoveUs(t *testing.T) {
	us, them := nstest.New(t), nstest.New(t)
	nstest.Connect(t, us, "eth0", prefixes("192.0.2.1/24", "192.0.2.7/24", "2001:db8::1/64", "2001:db8::7/64"),
		them, "eth0", prefixes("192.0.2.2/24", "2001:db8::2/64"))
	r := &route{}
	v4, v6 := r.udp(t, us, netio.UDPOptions{Mark: netio.DefaultMark})
	for _, c := range []struct {
		socket      *netio.UDPSocket
		peer        string
		locals      [2]string
		udp, icmp   string
		unreachable byte
	}{
		{v4, "192.0.2.2", [2]string{"192.0.2.7", "192.0.2.1"}, "ip4:udp", "ip4:icmp", 3},
		{v6, "2001:db8::2", [2]string{"2001:db8::7", "2001:db8::1"}, "ip6:udp", "ip6:ipv6-icmp", 1},
	} {
		remote := netip.MustParseAddr(c.peer)
		hear := func(ns *nstest.Namespace, network string) *net.IPConn {
			var conn *net.IPConn
			var err error
			ns.Do(func() { conn, err = net.ListenIP(network, nil) })
			if err == nil {
				err = conn.SetDeadline(time.Now().Add(10 * time.Second))
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		datagrams, answers := hear(them, c.udp), hear(us, c.icmp)
		buf := make([]byte, 256)
		for i := range 6 { // nobody listens there: each makes an error for the next
			local := netip.MustParseAddr(c.locals[i%2])
			if n, err := c.socket.Send([]datagram.Packet{{Data: esp(40), Remote: netip.AddrPortFrom(remote, 4500), Local: local, DF: true}}); n != 1 || err != nil {
				t.Fatalf("datagram %d: %d left, %v", i, n, err)
			}
			_, from, err := datagrams.ReadFromIP(buf)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := netip.AddrFromSlice(from.IP); got.Unmap() != local {
				t.Errorf("datagram %d left from %v, want %v", i, got, local)
			}
			for buf[0] = 0; buf[0] != c.unreachable; {
				if _, _, err := answers.ReadFromIP(buf); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestPathToIsPublic: an address that expires is no end of a tunnel, whatever the host prefers for its users.
func TestPathToIsPublic(t *testing.T) {
	us, them := nstest.New(t), nstest.New(t)
	nstest.Connect(t, us, "eth0", nil, them, "eth0", prefixes("2001:db8::2/64"))
	us.Run("sysctl", "-q", "-w", "net.ipv6.conf.eth0.use_tempaddr=2", "net.ipv6.conf.eth0.dad_transmits=0")
	us.Run("ip", "address", "add", "2001:db8::7/64", "dev", "eth0", "mngtmpaddr", "nodad")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out := us.Run("ip", "-6", "address", "show", "dev", "eth0", "temporary")
		if strings.Contains(out, "2001:db8:") && !strings.Contains(out, "tentative") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no temporary address: %s", out)
		}
	}
	if chosen := us.Run("ip", "-6", "route", "get", "2001:db8::2"); strings.Contains(chosen, "src 2001:db8::7 ") {
		t.Fatalf("the host does not prefer its temporary address: %s", chosen)
	}
	var routes *netio.Routes
	var err error
	us.Do(func() { routes, err = netio.OpenRoutes(netio.DefaultMark) })
	if err != nil {
		t.Fatal(err)
	}
	defer routes.Close()
	for range 2 {
		if local, _, err := routes.PathTo(netip.MustParseAddr("2001:db8::2")); local != netip.MustParseAddr("2001:db8::7") || err != nil {
			t.Errorf("from %v, %v", local, err)
		}
	}
}

// TestErrorsWhileSendingIsStuck: an ICMP message that comes while nothing more can be sent is told, and the receiver
// then waits as ever.
func TestErrorsWhileSendingIsStuck(t *testing.T) {
	us, them := nstest.New(t), nstest.New(t)
	nstest.Connect(t, us, "eth0", prefixes("192.0.2.1/24"), them, "eth0", prefixes("192.0.2.2/24"))
	// Nobody has 192.0.2.9, and what is sent there waits for long.
	us.Run("sysctl", "-q", "-w", "net.ipv4.neigh.eth0.unres_qlen_bytes=1000000000", "net.ipv4.neigh.eth0.mcast_solicit=1000")
	v4, _ := (&route{}).udp(t, us, netio.UDPOptions{Mark: netio.DefaultMark})
	var sent atomic.Int64
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		for {
			n, err := v4.Send([]datagram.Packet{{Data: esp(1400), Remote: netip.MustParseAddrPort("192.0.2.9:4500"), DF: true}})
			if err != nil {
				return
			}
			sent.Add(int64(n))
		}
	}()
	t.Cleanup(func() { v4.Close(); <-stuck })
	for last := int64(-1); sent.Load() == 0 || sent.Load() != last; time.Sleep(300 * time.Millisecond) {
		last = sent.Load()
	}

	told, calls := false, 0
	failed := make(chan error)
	go func() {
		for {
			_, err := v4.Recv(make([]datagram.Packet, 1))
			if calls++; err != nil {
				failed <- err
				return
			}
			v4.PathErrors(func(datagram.PathError) {
				told = true
				time.AfterFunc(time.Second, func() { v4.Close() })
			})
		}
	}()
	time.Sleep(100 * time.Millisecond) // so that Recv waits when the message comes
	var icmp net.PacketConn
	var err error
	them.Do(func() { icmp, err = net.ListenPacket("ip4:icmp", "192.0.2.2") })
	if err != nil {
		t.Fatal(err)
	}
	defer icmp.Close()
	udp := binary.BigEndian.AppendUint16(nil, 4500)
	udp = binary.BigEndian.AppendUint16(udp, 4500)
	udp = append(udp, 0, 28, 0, 0, 0, 0, 0, 0)
	message := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, whole(t, unix.IPPROTO_UDP, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), udp)...)
	binary.BigEndian.PutUint16(message[2:], ^ipwire.Sum(message))
	if _, err := icmp.WriteTo(message, &net.IPAddr{IP: net.IPv4(192, 0, 2, 1)}); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(10*time.Second, func() { v4.Close() })
	defer timeout.Stop()
	if err := <-failed; !told || calls > 100 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("told: %v; %d calls, %v", told, calls, err)
	}
}
