package datapath

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// endlessTUN always has another packet: now one, now another.
type endlessTUN struct {
	nullTUN
	from  [2][]byte
	reads int
}

func (t *endlessTUN) Read(b []byte, _ bool) (int, error) {
	if t.reads == 10_000 {
		return 0, nil // for a test that fails
	}
	t.reads++
	return plain(b, t.from[t.reads%2]), nil
}

// TestForwardTakesItsShare: however fast packets come, and whatever becomes of them, forward returns soon, so that the
// clock, the tables and who waits for the lock get their turn.
func TestForwardTakesItsShare(t *testing.T) {
	small := inner("10.9.0.1", "10.9.0.1", 100)
	ect := slices.Clone(small)
	ipwire.SetECN(ect, ipwire.ECT0)
	for name, c := range map[string]struct {
		from          [2][]byte
		encapsulation Encapsulation
		without       bool // an SA
	}{
		"no SA":         {from: [2][]byte{small, small}, without: true},
		"no policy":     {from: [2][]byte{inner("10.9.0.1", "10.8.0.1", 100), inner("10.9.0.1", "10.8.0.1", 100)}},
		"malformed":     {from: [2][]byte{{0x45}, {0}}},
		"UDP":           {from: [2][]byte{small, small}},
		"UDP, two TOS":  {from: [2][]byte{small, ect}},
		"native":        {from: [2][]byte{small, small}, encapsulation: Native},
		"native, large": {from: [2][]byte{inner("10.9.0.1", "10.9.0.1", 1300), small}, encapsulation: Native},
	} {
		tun, conn := &endlessTUN{from: c.from}, Sockets{IPv4: new(nullConn)}
		d, err := New(Config{TUN: tun, UDP: conn, ESP: conn, Clock: func() time.Duration { return time.Hour }})
		if err != nil {
			t.Fatal(err)
		}
		p, sa := pairOf("1", "1", PathSpec{Remote: aAddr, Local: bAddr.Addr()}), half(1, 1)
		p.Remote, sa.Encapsulation = p.Local, c.encapsulation
		if err := d.SetPair(p); err != nil {
			t.Fatal(err)
		}
		if !c.without {
			if err := d.InstallOutbound(sa); err != nil {
				t.Fatal(err)
			}
		}
		s := newSender(d)
		n, _ := s.read(true)
		s.forward(n)
		if tun.reads < 30 || tun.reads > 200 {
			t.Errorf("%s: it took %d packets", name, tun.reads)
		}
		counters := d.Counters()
		counted := counters.OutPackets
		for _, r := range Reasons() {
			counted += counters.Drops(r)
		}
		if counted != uint64(tun.reads) {
			t.Errorf("%s: %d packets taken, %d counted", name, tun.reads, counted)
		}
	}
}

// narrowConn takes nothing with DF that is longer than most.
type narrowConn struct {
	nullConn
	most int
	left []int
}

func (c *narrowConn) Send(ps []datagram.Packet) (n int, err error) {
	for i := range ps {
		p := &ps[i]
		if p.Err = nil; p.DF && (len(p.Data) > c.most && p.Segment == 0 || p.Segment > c.most) {
			p.Err, err = datagram.ErrTooBig, datagram.ErrTooBig
			continue
		}
		c.left = append(c.left, len(p.Data))
		n += p.Count()
	}
	return n, err
}

// TestShrunkLinkUnderARun: each datagram of a run that has become too big leaves without DF.
func TestShrunkLinkUnderARun(t *testing.T) {
	c, shrunk := &narrowConn{most: 1000}, 0
	o := newOutbox(Config{UDP: Sockets{IPv4: c}}, arenaLen, func(netip.Addr) { shrunk++ })
	var tally Counters
	for _, n := range []int{1200, 1200, 1200, 1200, 700} {
		o.put(linkUDP, o.take(n, &tally), &outgoing{to: &ends{remote: bAddr}, df: true}, &tally)
	}
	o.flush(&tally)
	if !slices.Equal(c.left, []int{1200, 1200, 1200, 1200, 700}) || shrunk != 1 || tally.Dropped[OutSend] != 0 {
		t.Errorf("left %v, told %d times, %d dropped", c.left, shrunk, tally.Dropped[OutSend])
	}
}
