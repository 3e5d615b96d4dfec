package datapath

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/offload"
	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// The tests' world: two datapaths, a and b, with fake TUNs, on a fake wire that a test can listen to,
// rewrite (NAT) and inject into. Time is synctest's.
//
//	10.9.0.1, fd09::1  TUN─a─192.0.2.1:4500 ──── wire ──── 198.51.100.2:4500─b─TUN  10.9.0.2, fd09::2
var (
	aAddr = netip.MustParseAddrPort("192.0.2.1:4500")
	bAddr = netip.MustParseAddrPort("198.51.100.2:4500")
	evil  = netip.MustParseAddrPort("203.0.113.66:666")
)

type frame struct {
	from, to netip.AddrPort
	data     []byte
	tos      uint8
	df       bool
}

// wire delivers frames to the conns by their destination. tap, if set, may change a frame or drop it.
type wire struct {
	mu    sync.Mutex
	conns map[netip.AddrPort]*fakeConn
	tap   func(*frame) bool
	seen  []frame // as sent, before tap
}

func (w *wire) send(f frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.data = bytes.Clone(f.data)
	w.seen = append(w.seen, frame{f.from, f.to, bytes.Clone(f.data), f.tos, f.df})
	if w.tap != nil && !w.tap(&f) {
		return
	}
	w.deliver(f)
}

func (w *wire) deliver(f frame) {
	if c := w.conns[f.to]; c != nil {
		c.in <- f
	}
}

// inject delivers a frame behind tap's back.
func (w *wire) inject(f frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deliver(frame{f.from, f.to, bytes.Clone(f.data), f.tos, f.df})
}

// setTap changes tap, and forgets what was seen.
func (w *wire) setTap(tap func(*frame) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tap, w.seen = tap, nil
}

// sent is what was sent to an address, or by anybody to anywhere for the zero one.
func (w *wire) sent(to netip.AddrPort) (out []frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.seen {
		if to == (netip.AddrPort{}) || f.to == to {
			out = append(out, f)
		}
	}
	return out
}

type fakeConn struct {
	wire   *wire
	addr   netip.AddrPort
	in     chan frame
	errors chan datagram.PathError
	refuse func(*datagram.Packet) error // why a packet does not leave; nil: all do
	raw    bool                         // a raw socket: the port stands for the protocol
	closed chan struct{}
	once   sync.Once
}

func (c *fakeConn) Recv(ps []datagram.Packet) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	case f := <-c.in:
		p := &ps[0]
		*p = datagram.Packet{Data: bytes.Clone(f.data), Remote: f.from, Local: f.to.Addr(), TOS: f.tos, TTL: 60}
		if c.raw {
			p.Remote = netip.AddrPortFrom(f.from.Addr(), 0)
			if len(f.data) > 1 {
				p.TOS = ipwire.TOS(f.data)
			}
		}
		return 1, nil
	}
}

func (c *fakeConn) Send(ps []datagram.Packet) (n int, err error) {
	for i := range ps {
		p := &ps[i]
		if c.refuse != nil {
			if p.Err = c.refuse(p); p.Err != nil {
				continue
			}
		}
		from, to := c.addr, p.Remote
		if p.Local.IsValid() {
			from = netip.AddrPortFrom(p.Local, from.Port())
		}
		if c.raw {
			to = netip.AddrPortFrom(to.Addr(), c.addr.Port())
		}
		for rest := p.Data; len(rest) > 0; n++ {
			step := len(rest)
			if p.Segment > 0 {
				step = min(step, p.Segment)
			}
			c.wire.send(frame{from: from, to: to, data: rest[:step], tos: p.TOS, df: p.DF})
			rest = rest[step:]
		}
	}
	return n, nil
}

func (c *fakeConn) PathErrors(yield func(datagram.PathError)) {
	for len(c.errors) > 0 {
		yield(<-c.errors)
	}
}

func (c *fakeConn) Close() error { c.once.Do(func() { close(c.closed) }); return nil }

type fakeTUN struct {
	in, out chan []byte
	fail    chan error
	closed  chan struct{}
	once    sync.Once
}

func newFakeTUN() *fakeTUN {
	return &fakeTUN{in: make(chan []byte, 1000), out: make(chan []byte, 10000), fail: make(chan error, 1), closed: make(chan struct{})}
}

func (t *fakeTUN) Features() offload.Features { return offload.Features{TCP: true, UDP: true} }

func (t *fakeTUN) Read(b []byte, wait bool) (int, error) {
	if !wait {
		select {
		case p := <-t.in:
			return plain(b, p), nil
		default:
			return 0, nil
		}
	}
	select {
	case <-t.closed:
		return 0, os.ErrClosed
	case err := <-t.fail:
		return 0, err
	case p := <-t.in:
		return plain(b, p), nil
	}
}

// plain puts a packet behind a virtio header that says nothing.
func plain(b, packet []byte) int {
	clear(b[:offload.HeaderLen])
	return offload.HeaderLen + copy(b[offload.HeaderLen:], packet)
}

// Write gives out the packets that a super-packet stands for.
func (t *fakeTUN) Write(pieces [][]byte) error {
	whole := bytes.Join(pieces, nil)
	var s offload.Splitter
	if err := s.Reset(append(whole, make([]byte, offload.Tail)...)[:len(whole)]); err != nil {
		panic(err) // a bug of the tests' subject
	}
	for p, ok := s.Next(); ok; p, ok = s.Next() {
		t.out <- bytes.Clone(p)
	}
	return nil
}

func (t *fakeTUN) Close() error { t.once.Do(func() { close(t.closed) }); return nil }

// end is one datapath of the world.
type end struct {
	*Datapath
	tun  *fakeTUN
	addr netip.AddrPort
}

type world struct {
	t    *testing.T
	wire *wire
	a, b *end
	mtu  atomic.Int32 // of the wire; 0: it takes everything
}

// v6Of are the ends' IPv6 addresses.
var v6Of = map[netip.AddrPort]netip.Addr{aAddr: netip.MustParseAddr("2001:db8::a"), bAddr: netip.MustParseAddr("2001:db8::b")}

// raw plugs raw sockets into the wire.
func (w *world) raw(v4 netip.Addr, proto Protocol) Sockets {
	v6 := v6Of[netip.AddrPortFrom(v4, 4500)]
	one := func(a netip.Addr) Conn {
		c := w.conn(netip.AddrPortFrom(a, uint16(proto)))
		c.raw = true
		return c
	}
	return Sockets{IPv4: one(v4), IPv6: one(v6)}
}

// pathTo is the kernel's answer at one end.
func (w *world) pathTo(at netip.AddrPort) func(netip.Addr) (netip.Addr, int, error) {
	return func(remote netip.Addr) (netip.Addr, int, error) {
		mtu := int(w.mtu.Load())
		if mtu == 0 {
			mtu = unlimitedMTU
		}
		if remote.Is4() {
			return at.Addr(), mtu, nil
		}
		return v6Of[at], mtu, nil
	}
}

// inWorld runs test with two running datapaths.
func inWorld(t *testing.T, test func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, wire: &wire{conns: make(map[netip.AddrPort]*fakeConn)}}
		start := time.Now()
		clock := func() time.Duration { return time.Hour + time.Since(start) }
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for _, e := range []struct {
			end  **end
			addr netip.AddrPort
		}{{&w.a, aAddr}, {&w.b, bAddr}} {
			conn := w.conn(e.addr)
			tun := newFakeTUN()
			v6 := w.conn(netip.AddrPortFrom(v6Of[e.addr], 4500))
			d, err := New(Config{TUN: tun, UDP: Sockets{IPv4: conn, IPv6: v6}, ESP: w.raw(e.addr.Addr(), ESP), AH: w.raw(e.addr.Addr(), AH),
				PathTo: w.pathTo(e.addr), Clock: clock})
			if err != nil {
				t.Fatal(err)
			}
			*e.end = &end{Datapath: d, tun: tun, addr: e.addr}
			group.Go(func() {
				if err := d.Run(ctx); err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		}
		defer group.Wait()
		defer cancel()
		test(w)
	})
}

// conn plugs a new socket into the wire.
func (w *world) conn(addr netip.AddrPort) *fakeConn {
	c := &fakeConn{wire: w.wire, addr: addr, in: make(chan frame, 1000), errors: make(chan datagram.PathError, 100), closed: make(chan struct{})}
	w.wire.conns[addr] = c
	return c
}

func pairID(n byte) PairID { return PairID{15: n} }
func saID(n byte) SAID     { return SAID{0: n} }

var gcm128 = Transform{ID: 20, KeyBits: 128}

// pairOf is the pair a-b as a (or b) sees it.
func pairOf(local, remote string, path PathSpec) Pair {
	side := func(n string) []Selector {
		return []Selector{PrefixSelector(netip.MustParsePrefix("10.9.0." + n + "/32")), PrefixSelector(netip.MustParsePrefix("fd09::" + n + "/128"))}
	}
	return Pair{ID: pairID(1), RemoteHost: "host-" + remote, Local: side(local), Remote: side(remote), Path: path}
}

// half is one SA of generation g: the same struct for who sends and who receives.
func half(g uint32, direction byte) SA {
	key := bytes.Repeat([]byte{byte(g), direction}, 10)
	return SA{ID: saID(byte(g)), Pair: pairID(1), Generation: g, SPI: 0x1000*uint32(direction) + g, Transform: gcm128, ESN: true, Key: key}
}

func (w *world) must(errs ...error) {
	w.t.Helper()
	for _, err := range errs {
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// connect makes the pair, and generation 1 in both directions.
func (w *world) connect(aPath, bPath PathSpec) {
	w.t.Helper()
	w.must(w.a.SetPair(pairOf("1", "2", aPath)), w.b.SetPair(pairOf("2", "1", bPath)))
	w.rekey(1)
}

// rekey installs generation g, inbound first.
func (w *world) rekey(g uint32) {
	w.t.Helper()
	w.must(w.a.InstallInbound(half(g, 2)), w.b.InstallInbound(half(g, 1)))
	w.must(w.a.InstallOutbound(half(g, 1)), w.b.InstallOutbound(half(g, 2)))
	synctest.Wait()
}

// static paths: both ends know the other.
func (w *world) connectStatic() {
	w.connect(PathSpec{Remote: bAddr}, PathSpec{Remote: aAddr})
}

// inner is a UDP packet.
func inner(src, dst string, n int) []byte {
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	payload := bytes.Repeat([]byte{byte(n)}, 8+n)
	if _, err := ipwire.PutUDP(payload, netip.AddrPortFrom(s, 1111), netip.AddrPortFrom(d, 2222)); err != nil {
		panic(err)
	}
	var err error
	b := make([]byte, 20+len(payload))
	if s.Is6() {
		b = make([]byte, 40+len(payload))
		copy(b[40:], payload)
		_, err = ipwire.PutIPv6(b, ipwire.IPv6Header{NextHeader: ipwire.ProtoUDP, HopLimit: 64, Src: s, Dst: d})
	} else {
		copy(b[20:], payload)
		_, err = ipwire.PutIPv4(b, ipwire.IPv4Header{Protocol: ipwire.ProtoUDP, TTL: 64, Src: s, Dst: d})
	}
	if err != nil {
		panic(err)
	}
	return b
}

var (
	aToB = inner("10.9.0.1", "10.9.0.2", 100)
	bToA = inner("10.9.0.2", "10.9.0.1", 100)
)

// send gives a packet to an end's TUN, and lets all settle.
func (e *end) send(p []byte) {
	e.tun.in <- p
	synctest.Wait()
}

// received is what the TUN was given since the last call.
func (e *end) received() (out [][]byte) {
	synctest.Wait()
	for len(e.tun.out) > 0 {
		out = append(out, <-e.tun.out)
	}
	return out
}

// delivers asserts that p crosses from one end to the other.
func (w *world) delivers(from, to *end, p []byte) {
	w.t.Helper()
	from.send(p)
	got := to.received()
	if len(got) != 1 || !bytes.Equal(got[0], p) {
		w.t.Fatalf("%d packets arrived; drops at the sender %v, at the receiver %v", len(got), drops(from.Datapath), drops(to.Datapath))
	}
}

// drops are the drop counters that are not zero, by name.
func drops(d *Datapath) map[string]uint64 {
	c, out := d.Counters(), make(map[string]uint64)
	for _, r := range Reasons() {
		if n := c.Drops(r); n > 0 {
			out[r.String()] = n
		}
	}
	return out
}

// path is where the pair's packets go.
func (e *end) path() netip.AddrPort {
	for _, p := range e.Pairs() {
		return p.Remote
	}
	return netip.AddrPort{}
}

// nextEvents are the events that can be had now.
func (e *end) nextEvents() (out []Event) {
	for {
		synctest.Wait()
		select {
		case ev := <-e.Events():
			out = append(out, ev)
		default:
			return out
		}
	}
}

// sealer makes packets of one half outside of the datapath: a captured, or a foreign end's packet.
func sealer(t testing.TB, sa SA) *esp.Sealer {
	t.Helper()
	suite, err := suiteOf(sa)
	if err != nil {
		t.Fatal(err)
	}
	s, err := esp.NewSealer(esp.Config{SPI: sa.SPI, Encryption: suite.Encryption, Integrity: suite.Integrity, Keymat: sa.Key, ESN: sa.ESN})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, s *esp.Sealer, payload []byte, nextHeader uint8) []byte {
	t.Helper()
	p, err := s.Seal(make([]byte, 0, s.SealedLen(len(payload))), payload, nextHeader)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sequence is a sealed packet's low sequence number.
func sequence(packet []byte) uint32 { return binary.BigEndian.Uint32(packet[4:]) }
