package datapath

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/offload"
	"sallyport.dev/sallyport/services/protocol/esp"
)

// nullTUN and nullConn take everything and allocate nothing. The TUN gives what queue holds.
type nullTUN struct {
	packets int
	queue   [][]byte
}

func (t *nullTUN) Features() offload.Features { return offload.Features{} }

func (t *nullTUN) Read(b []byte, _ bool) (int, error) {
	if len(t.queue) == 0 {
		return 0, nil
	}
	p := t.queue[0]
	t.queue = t.queue[1:]
	return plain(b, p), nil
}

func (t *nullTUN) Write([][]byte) error { t.packets++; return nil }

func (t *nullTUN) Close() error { return nil }

type nullConn struct{ datagrams int }

func (c *nullConn) Recv([]datagram.Packet) (int, error) { select {} }

func (c *nullConn) Send(ps []datagram.Packet) (n int, err error) {
	for i := range ps {
		n += ps[i].Count()
	}
	c.datagrams += n
	return n, nil
}

func (c *nullConn) PathErrors(func(datagram.PathError)) {}
func (c *nullConn) Close() error                        { return nil }

// still is one datapath whose loops do not run, with both SAs of one pair, of which it is both ends.
func still(t testing.TB) (*Datapath, *nullTUN, *nullConn) {
	t.Helper()
	tun, conn := new(nullTUN), new(nullConn)
	d, err := New(Config{TUN: tun, UDP: Sockets{IPv4: conn}, Clock: func() time.Duration { return time.Hour }})
	if err != nil {
		t.Fatal(err)
	}
	p := pairOf("1", "1", PathSpec{Remote: aAddr, RemoteBehindNAT: true})
	p.Remote = p.Local
	sa := half(1, 1)
	for _, err := range []error{d.SetPair(p), d.InstallInbound(sa), d.InstallOutbound(sa)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return d, tun, conn
}

func TestFastPathDoesNotAllocate(t *testing.T) {
	d, tun, conn := still(t)
	const batch, runs = 64, 50
	s, r := newSender(d), newReceiver(d, linkUDP, conn)
	v4, v6 := inner("10.9.0.1", "10.9.0.1", 1300), inner("fd09::1", "fd09::1", 1300)
	packets := slices.Repeat([][]byte{v4, v6}, batch/2)
	outbound := func() {
		tun.queue = packets
		for len(tun.queue) > 0 {
			n, _ := s.read(true)
			s.forward(n)
		}
	}
	if n := testing.AllocsPerRun(runs, outbound); n != 0 {
		t.Errorf("%v allocations for each batch sent", n)
	}
	if conn.datagrams != batch*(runs+1) {
		t.Fatalf("%d datagrams sent", conn.datagrams)
	}
	sealer := sealer(t, half(1, 1))
	buf := make([]byte, 0, 2000)
	inbound := func() {
		for i := range batch {
			packet, err := sealer.Seal(buf, v4, esp.NextHeaderIPv4)
			if i%8 == 7 {
				packet, err = sealer.Seal(buf, nil, esp.NextHeaderDummy)
			}
			if err != nil {
				t.Fatal(err)
			}
			arrive(r, i, packet, aAddr)
		}
		copy(r.packets[0].Data, "forged!!") // one that is dropped, and one that comes from elsewhere
		r.packets[1].Remote = evil
		r.deliver(batch)
	}
	if n := testing.AllocsPerRun(runs, inbound); n != 0 {
		t.Errorf("%v allocations for each batch received", n)
	}
	if want := (batch - batch/8 - 1) * (runs + 1); tun.packets != want {
		t.Fatalf("%d packets delivered, want %d; drops %v", tun.packets, want, drops(d))
	}
}

// FuzzDemux gives arbitrary datagrams to the demultiplexer: nothing but what was sealed under the key
// comes out, and each datagram is counted exactly once.
func FuzzDemux(f *testing.F) {
	sa := half(1, 1)
	s := sealer(f, sa)
	good := inner("10.9.0.1", "10.9.0.1", 40)
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Add([]byte{0, 0, 0, 0, 1, 2, 3, 4})
	f.Add(seal(f, s, good, esp.NextHeaderIPv4))
	f.Add(seal(f, s, nil, esp.NextHeaderDummy))
	f.Add(seal(f, s, appendProbe(nil, probeRequest, nonce{}), esp.NextHeaderDummy))
	f.Add(seal(f, s, good, 6))
	sealed := sealer(f, sa)
	var r *receiver // its buffers are large: made once
	f.Fuzz(func(t *testing.T, packet []byte) {
		d, tun, conn := still(t)
		if r == nil {
			r = newReceiver(d, linkUDP, conn)
		}
		r.d = d
		arrive(r, 0, packet, evil)
		r.deliver(1)
		c := d.Counters()
		counted := c.InPackets + c.InDummies + c.InKeepalives
		for _, reason := range Reasons() {
			counted += c.Drops(reason)
		}
		if counted != 1 {
			t.Errorf("counted %d times: %+v", counted, c)
		}
		authentic := c.InPackets+c.InDummies+c.Drops(InSelector)+c.Drops(InMalformed)+c.Drops(InNextHeader)+c.Drops(InPadding)+c.Drops(InInnerLength) == 1
		if authentic && !openable(sa, packet) {
			t.Errorf("accepted % x", packet)
		}
		if tun.packets != int(c.InPackets) {
			t.Errorf("%d packets to the TUN, %d counted", tun.packets, c.InPackets)
		}
		// The same bytes in the payload of a real packet: an authenticated hostile end.
		for _, next := range []uint8{esp.NextHeaderIPv4, esp.NextHeaderIPv6, esp.NextHeaderDummy} {
			if sealed.SealedLen(len(packet)) > 65000 {
				return
			}
			arrive(r, 0, seal(t, sealed, packet, next), evil)
			r.deliver(1)
		}
	})
}

// arrive makes packet the i-th of the receiver's batch.
func arrive(r *receiver, i int, packet []byte, from netip.AddrPort) {
	p := &r.packets[i]
	p.Data = append(p.Data[:0], packet...)
	p.Remote, p.Local, p.TOS, p.Err = from, bAddr.Addr(), 0, nil
}

// openable opens a datagram without the datapath.
func openable(sa SA, datagram []byte) bool {
	suite, _ := suiteOf(sa)
	o, err := esp.NewOpener(esp.Config{SPI: sa.SPI, Encryption: suite.Encryption, Keymat: sa.Key, ESN: sa.ESN})
	if err != nil {
		return false
	}
	_, err = o.Open(bytes.Clone(datagram))
	return err == nil || err == esp.ErrPadding || err == esp.ErrNextHeader || err == esp.ErrBadInnerLength
}
