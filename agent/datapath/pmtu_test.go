package datapath

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/fragment"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// withDF sets DF.
func withDF(p []byte) []byte {
	p = bytes.Clone(p)
	h := ipwire.IPv4(p)
	h.SetDontFragment(true)
	h.UpdateChecksum()
	return p
}

// withID gives a packet an identification, as a stack does that may fragment it.
func withID(p []byte, id uint16) []byte {
	p = bytes.Clone(p)
	h := ipwire.IPv4(p)
	h.SetID(id)
	h.UpdateChecksum()
	return p
}

// longest is the length of the longest outer packet sent, as an IP datagram.
func (w *world) longest(p protection) (n int) {
	for _, f := range w.wire.sent(netip.AddrPort{}) {
		l := len(f.data)
		if p.encapsulation == UDP {
			l += outerLen(f.to.Addr(), UDP)
		}
		n = max(n, l)
	}
	return n
}

// whole joins what arrived, as the stack behind the TUN does.
func whole(t *testing.T, packets [][]byte) (out [][]byte) {
	t.Helper()
	r := fragment.New(fragment.Config{})
	for _, p := range packets {
		if _, err := ipwire.ParseFlow(p); err != nil {
			t.Fatal(err)
		}
		if !isFragment(p) {
			out = append(out, bytes.Clone(p))
			continue
		}
		joined, err := r.Add(time.Hour, p)
		if err != nil {
			t.Fatal(err)
		}
		if joined != nil {
			out = append(out, bytes.Clone(joined))
		}
	}
	return out
}

// TestSmallPath: on a path of 1400 bytes nothing longer leaves with DF, whatever the protection, and what may not
// be fragmented is answered from its destination.
func TestSmallPath(t *testing.T) {
	for _, p := range protections() {
		for _, df := range []DF{DFCopy, DFSet, DFClear} {
			t.Run(fmt.Sprintf("%v DF %d", p, df), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.mtu.Store(1400)
					w.protect(p, func(sa *SA) { sa.Outer.DF = df })
					if p.mode == Transport && df != DFCopy {
						return // the packet's own bit counts
					}
					v6 := p.mode == Transport && p.v6
					packet := p.inside(1372, false)
					if v6 {
						w.answered(t, p, packet)
						return
					}
					packet = withID(packet, 77)
					w.a.send(bytes.Clone(packet))
					got := w.b.received()
					if p.encapsulation == Native {
						got = w.rejoin(t, p, packet)
					}
					if joined := whole(t, got); len(joined) != 1 || !alike(joined[0], packet) {
						t.Fatalf("%d packets arrived; drops %v %v", len(joined), drops(w.a.Datapath), drops(w.b.Datapath))
					}
					for _, f := range w.wire.sent(netip.AddrPort{}) {
						if p.encapsulation == UDP && f.df != (df == DFSet) {
							t.Errorf("sent with DF %v", f.df)
						}
					}
					if long := w.longest(p); df != DFClear && p.mode == Tunnel && long > 1400 {
						t.Errorf("a packet of %d bytes left", long)
					}
					if df == DFClear {
						return
					}
					w.wire.setTap(nil)
					w.answered(t, p, withDF(packet))
				})
			})
		}
	}
}

// answered: packet is too big, must not leave, and its sender is told.
func (w *world) answered(t *testing.T, p protection, packet []byte) {
	t.Helper()
	w.a.send(bytes.Clone(packet))
	if n := len(w.wire.sent(netip.AddrPort{})); n != 0 {
		t.Errorf("%d packets left", n)
	}
	got := w.a.received()
	if len(got) != 1 {
		t.Fatalf("%d ICMP messages; drops %v", len(got), drops(w.a.Datapath))
	}
	flow, err := ipwire.ParseFlow(got[0])
	original, _ := ipwire.ParseFlow(packet)
	if err != nil || flow.Src != original.Dst || flow.Dst != original.Src {
		t.Errorf("ICMP message of the flow %+v, %v", flow, err)
	}
	mtu := 0
	if flow.Proto == ipwire.ProtoICMP {
		mtu = int(binary.BigEndian.Uint16(got[0][26:]))
	} else {
		mtu = int(binary.BigEndian.Uint32(got[0][44:]))
	}
	// One of that size fits, and one larger does not.
	w.a.send(w.sized(packet, mtu))
	if n := len(w.b.received()); n != 1 {
		t.Errorf("a packet of the told size %d: %d arrived; drops %v", mtu, n, drops(w.a.Datapath))
	}
	if long := w.longest(p); long > 1400 {
		t.Errorf("it made an outer packet of %d bytes", long)
	}
	w.a.send(w.sized(packet, mtu+16))
	if n := len(w.b.received()); n != 0 {
		t.Errorf("a packet of 16 bytes more than the told %d passed", mtu)
	}
}

// sized makes packet n bytes long.
func (w *world) sized(packet []byte, n int) []byte {
	flow, _ := ipwire.ParseFlow(packet)
	header := 20
	if flow.Src.Is6() {
		header = 40
	}
	out := inner(flow.Src.String(), flow.Dst.String(), n-header-16)
	if flow.Src.Is4() {
		out = withDF(out)
	}
	return out
}

// rejoin does the kernel's work for raw sockets: it joins the outer fragments that were sent to b.
func (w *world) rejoin(t *testing.T, p protection, packet []byte) [][]byte {
	t.Helper()
	var frames []frame
	w.wire.setTap(func(f *frame) bool { frames = append(frames, *f); return false })
	w.a.send(bytes.Clone(packet))
	w.wire.setTap(nil)
	var outer [][]byte
	for _, f := range frames {
		if len(f.data) > 1400 {
			t.Errorf("an outer packet of %d bytes left", len(f.data))
		}
		outer = append(outer, f.data)
	}
	for _, data := range whole(t, outer) {
		w.wire.inject(frame{from: frames[0].from, to: frames[0].to, data: data})
	}
	return w.b.received()
}

// TestLearnedMTU: an ICMP message is believed for a live SPI and a recent number only, never below the least,
// and for ten minutes.
func TestLearnedMTU(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		conn := w.wire.conns[aAddr]
		say := func(mtu int, remote netip.AddrPort, spi, seq uint32) {
			quoted := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, spi), seq)
			conn.errors <- datagram.PathError{Remote: remote, Offender: netip.MustParseAddr("203.0.113.1"), Type: 3, Code: 4, MTU: mtu, Quoted: append(quoted, make([]byte, 20)...)}
			w.wire.inject(frame{from: bAddr, to: aAddr, data: []byte{0xff}}) // wakes the receiver
			synctest.Wait()
		}
		mtu := func() int {
			for _, sa := range w.a.SAs() {
				if !sa.Inbound {
					return sa.MTU
				}
			}
			return -1
		}
		spi := half(1, 1).SPI
		w.delivers(w.a, w.b, aToB)
		for name, lie := range map[string]func(){
			"wrong SPI":         func() { say(1000, bAddr, spi+1, 1) },
			"wrong destination": func() { say(1000, evil, spi, 1) },
			"number to come":    func() { say(1000, bAddr, spi, 1000) },
			"no MTU":            func() { say(0, bAddr, spi, 1) },
			"nonsense":          func() { say(20, bAddr, spi, 1) },
		} {
			if lie(); mtu() != unlimitedMTU {
				t.Errorf("%s: believed", name)
			}
		}
		if say(1200, bAddr, spi, 1); mtu() != 1200 {
			t.Errorf("the MTU is %d, want 1200", mtu())
		}
		if say(1300, bAddr, spi, 1); mtu() != 1200 {
			t.Errorf("a larger MTU was believed: %d", mtu())
		}
		if say(100, bAddr, spi, 1); mtu() != 576 {
			t.Errorf("the MTU is %d, want the least, 576", mtu())
		}
		if w.rekey(2); mtu() != 576 {
			t.Errorf("the new generation begins with %d", mtu())
		}
		time.Sleep(learnedLife + time.Minute)
		w.must(w.a.RemoveOutbound(saID(1)))
		if mtu() != unlimitedMTU {
			t.Errorf("after its life the MTU is %d", mtu())
		}
		if n := w.a.Counters().PathErrors; n != 4 {
			t.Errorf("%d messages about live SAs counted", n)
		}
	})
}

// TestShrunkLink: the link became smaller and the datapath does not know yet: the packet leaves in pieces, and
// the next one fits.
func TestShrunkLink(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		conn := w.wire.conns[aAddr]
		refused := 0
		conn.refuse = func(p *datagram.Packet) error {
			if p.DF && len(p.Data) > 1000 {
				refused++
				w.mtu.Store(1000)
				return fmt.Errorf("%w", datagram.ErrTooBig)
			}
			return nil
		}
		big := withDF(inner("10.9.0.1", "10.9.0.2", 1200))
		w.delivers(w.a, w.b, big)
		if sent := w.wire.sent(bAddr); refused != 1 || sent[len(sent)-1].df {
			t.Errorf("refused %d times, then sent with DF %v", refused, sent[len(sent)-1].df)
		}
		w.a.send(big)
		if got := w.a.received(); len(got) != 1 || got[0][20] != 3 || got[0][21] != 4 {
			t.Errorf("the sender is told % x", got)
		}
	})
}
