package datapath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/esp"
)

func TestPacketsBothWays(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		for _, n := range []int{0, 1, 2, 3, 1300, 60000} {
			w.delivers(w.a, w.b, inner("10.9.0.1", "10.9.0.2", n))
			w.delivers(w.b, w.a, inner("10.9.0.2", "10.9.0.1", n))
			w.delivers(w.a, w.b, inner("fd09::1", "fd09::2", n))
			w.delivers(w.b, w.a, inner("fd09::2", "fd09::1", n))
		}
		for _, f := range w.wire.sent(netip.AddrPort{}) {
			if bytes.Contains(f.data, []byte{10, 9, 0, 1, 10, 9, 0, 2}) {
				t.Error("an inner header is readable on the wire")
			}
		}
		if d := drops(w.a.Datapath); len(d) > 0 {
			t.Errorf("drops at a: %v", d)
		}
		c := w.a.Counters()
		if c.OutPackets != 12 || c.InPackets != 12 || c.InDummies != 1 || c.Dummies != 1 {
			t.Errorf("counters %+v", c)
		}
	})
}

func TestTransforms(t *testing.T) {
	for _, c := range []struct {
		transform Transform
		key       int
	}{{Transform{ID: 20, KeyBits: 128}, 20}, {Transform{ID: 20, KeyBits: 256}, 36}, {Transform{ID: 28}, 36}, {Transform{ID: 28, KeyBits: 256}, 36}} {
		t.Run(fmt.Sprint(c.transform), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr})), w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})))
				sa := half(1, 1)
				sa.Transform, sa.Key = c.transform, bytes.Repeat([]byte{7}, c.key)
				w.must(w.b.InstallInbound(sa), w.a.InstallOutbound(sa))
				clear(sa.Key) // it is ours
				w.delivers(w.a, w.b, aToB)
			})
		})
	}
	inWorld(t, func(w *world) {
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr})))
		for _, bad := range []Transform{{}, {ID: 20, KeyBits: 64}, {ID: 12, KeyBits: 128}, {ID: 28, KeyBits: 128}} {
			sa := half(1, 1)
			sa.Transform = bad
			if err := w.a.InstallOutbound(sa); err == nil {
				t.Errorf("%v was installed", bad)
			}
		}
		sa := half(1, 1)
		sa.Key = sa.Key[1:]
		if err := w.a.InstallOutbound(sa); err == nil {
			t.Error("a short key was installed")
		}
		w.must(w.a.InstallOutbound(half(1, 1))) // nothing of that has burnt the generation
	})
}

func TestOutboundDrops(t *testing.T) {
	udp := inner("10.9.0.1", "10.9.0.2", 4)
	for _, c := range []struct {
		name   string
		set    func(w *world)
		packet []byte
		want   Reason
	}{
		{"truncated", nil, udp[:19], OutMalformed},
		{"cut before the ports", nil, udp[:22], OutMalformed},
		{"version 5", nil, append([]byte{0x55}, udp[1:]...), OutMalformed},
		{"no policy for the destination", nil, inner("10.9.0.1", "10.9.0.3", 4), OutNoPolicy},
		{"no policy for the source", nil, inner("10.9.0.7", "10.9.0.2", 4), OutNoPolicy},
		{"multicast", nil, inner("fd09::1", "ff02::1", 4), OutNoPolicy},
		{"pair is gone", func(w *world) { w.must(w.a.RemovePair(pairID(1))) }, udp, OutNoPolicy},
		{"SA is gone", func(w *world) { w.must(w.a.RemoveOutbound(saID(1))) }, udp, OutNoSA},
		{"no path", func(w *world) { w.must(w.a.SetPair(pairOf("1", "2", PathSpec{}))) }, udp, OutNoPath},
		{"the socket refuses it", func(w *world) {
			w.wire.conns[netip.AddrPortFrom(v6Of[aAddr], 4500)].refuse = func(*datagram.Packet) error { return errors.New("no route") }
			w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: netip.MustParseAddrPort("[2001:db8::1]:4500")})))
		}, udp, OutSend},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.connectStatic()
				w.wire.setTap(nil)
				if c.set != nil {
					c.set(w)
				}
				w.a.send(c.packet)
				if got := fmt.Sprint(drops(w.a.Datapath)); got != fmt.Sprintf("map[%v:1]", c.want) {
					t.Errorf("drops %v, want one %v", got, c.want)
				}
				if sent := w.wire.sent(netip.AddrPort{}); len(sent) != 0 {
					t.Errorf("%d packets left", len(sent))
				}
			})
		})
	}
}

// TestInboundDrops gives b datagrams that a foreign or hostile end makes with, or without, the key.
func TestInboundDrops(t *testing.T) {
	sa := half(1, 1)
	good := inner("10.9.0.1", "10.9.0.2", 40)
	wrongKey := sa
	wrongKey.Key = bytes.Repeat([]byte{9}, 20)
	wrongSPI := sa
	wrongSPI.SPI = 0x7777
	mangled := func(f func(p []byte) []byte) func(*esp.Sealer) []byte {
		return func(s *esp.Sealer) []byte { return f(seal(t, s, good, 4)) }
	}
	carrying := func(payload []byte, next uint8) func(*esp.Sealer) []byte {
		return func(s *esp.Sealer) []byte { return seal(t, s, payload, next) }
	}
	for _, c := range []struct {
		name string
		sa   SA
		make func(*esp.Sealer) []byte
		want Reason
	}{
		{"empty", sa, mangled(func([]byte) []byte { return nil }), InTruncated},
		{"one byte", sa, mangled(func([]byte) []byte { return []byte{0xfe} }), InTruncated},
		{"SPI only", sa, mangled(func(p []byte) []byte { return p[:4] }), InTruncated},
		{"header only", sa, mangled(func(p []byte) []byte { return p[:16] }), InTruncated},
		{"reserved SPI", sa, mangled(func(p []byte) []byte { copy(p, []byte{0, 0, 0, 255}); return p }), InNoSA},
		{"unknown SPI", wrongSPI, carrying(good, 4), InNoSA},
		{"IKE", sa, mangled(func(p []byte) []byte { return append([]byte{0, 0, 0, 0}, p...) }), InIKE},
		{"another key", wrongKey, carrying(good, 4), InForged},
		{"bit flipped", sa, mangled(func(p []byte) []byte { p[20] ^= 1; return p }), InForged},
		{"ICV cut", sa, mangled(func(p []byte) []byte { return p[:len(p)-4] }), InForged},
		{"sequence number changed", sa, mangled(func(p []byte) []byte { p[7]++; return p }), InForged},
		{"next header TCP", sa, carrying(good, 6), InNextHeader},
		{"IPv4 said to be IPv6", sa, carrying(good, 41), InInnerLength},
		{"inner packet cut", sa, carrying(good[:30], 4), InInnerLength},
		{"empty inner packet", sa, carrying(nil, 4), InInnerLength},
		{"source outside of the selectors", sa, carrying(inner("10.9.0.3", "10.9.0.2", 4), 4), InSelector},
		{"destination outside of the selectors", sa, carrying(inner("10.9.0.1", "10.9.0.9", 4), 4), InSelector},
		{"reflected", sa, carrying(inner("10.9.0.2", "10.9.0.1", 4), 4), InSelector},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.must(w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})), w.b.InstallInbound(sa))
				w.wire.inject(frame{from: aAddr, to: bAddr, data: c.make(sealer(t, c.sa))})
				if got := w.b.received(); len(got) > 0 {
					t.Errorf("delivered % x", got)
				}
				if got := fmt.Sprint(drops(w.b.Datapath)); got != fmt.Sprintf("map[%v:1]", c.want) {
					t.Errorf("drops %v, want one %v", got, c.want)
				}
				// What was dropped does not disturb what comes after.
				s := sealer(t, sa)
				seal(t, s, good, 4) // the number that may be used up
				w.wire.inject(frame{from: aAddr, to: bAddr, data: seal(t, s, good, 4)})
				if got := w.b.received(); len(got) != 1 {
					t.Errorf("a good packet did not get through: %v", drops(w.b.Datapath))
				}
			})
		})
	}
}

func TestReplay(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		w.delivers(w.a, w.b, aToB)
		captured := w.wire.sent(bAddr)
		for _, f := range captured {
			w.wire.inject(f)
		}
		if got := w.b.received(); len(got) > 0 {
			t.Errorf("%d replayed packets delivered", len(got))
		}
		if got := w.b.Counters().Drops(InReplayed); got != uint64(len(captured)) {
			t.Errorf("%d counted as replayed, want %d", got, len(captured))
		}
	})
}

func TestForeignDummiesAreDiscarded(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		w.wire.setTap(nil)
		s := sealer(t, half(1, 1))
		for range 5 {
			seal(t, s, nil, esp.NextHeaderDummy) // past what a has used
		}
		for _, payload := range [][]byte{nil, {1}, bytes.Repeat([]byte{0}, 1400), appendProbe(nil, 3, nonce{}), []byte("SallyPrb")} {
			w.wire.inject(frame{from: aAddr, to: bAddr, data: seal(t, s, payload, esp.NextHeaderDummy)})
		}
		w.wire.inject(frame{from: aAddr, to: bAddr, data: []byte{0xff}})
		if got := w.b.received(); len(got) > 0 {
			t.Errorf("delivered % x", got)
		}
		c := w.b.Counters()
		if c.InDummies != 6 || c.InKeepalives != 1 || len(drops(w.b.Datapath)) != 0 {
			t.Errorf("%d dummies (5 and the one of InstallOutbound), %d keepalives, drops %v", c.InDummies, c.InKeepalives, drops(w.b.Datapath))
		}
		if sent := w.wire.sent(netip.AddrPort{}); len(sent) != 0 {
			t.Errorf("%d answers", len(sent))
		}
	})
}

func TestMakeBeforeBreak(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		sent := 0
		pump := func(n int) {
			for range n {
				w.a.tun.in <- aToB
				w.b.tun.in <- bToA
				sent++
			}
		}
		for g := uint32(2); g < 40; g++ {
			pump(5)
			w.must(w.a.InstallInbound(half(g, 2)), w.b.InstallInbound(half(g, 1)))
			pump(5)
			w.must(w.a.InstallOutbound(half(g, 1)))
			pump(5)
			w.must(w.b.InstallOutbound(half(g, 2)))
			pump(5)
			w.must(w.a.RemoveOutbound(saID(byte(g-1))), w.b.RemoveOutbound(saID(byte(g-1))))
			synctest.Wait() // drain
			w.must(w.a.RemoveInbound(saID(byte(g-1))), w.b.RemoveInbound(saID(byte(g-1))))
		}
		if a, b := len(w.a.received()), len(w.b.received()); a != sent || b != sent {
			t.Errorf("%d and %d of %d arrived; %v %v", a, b, sent, drops(w.a.Datapath), drops(w.b.Datapath))
		}
		if n := len(w.a.SAs()); n != 2 {
			t.Errorf("%d SAs left", n)
		}
		if p := w.a.Pairs()[0]; p.InboundGeneration != 39 || p.OutboundGeneration != 39 {
			t.Errorf("generations %d and %d", p.InboundGeneration, p.OutboundGeneration)
		}
	})
}

// TestSequenceNumbersLeaveInOrder: dummies of control and packets of the sender share the SA.
func TestSequenceNumbersLeaveInOrder(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		w.wire.setTap(nil)
		s := sealer(t, half(1, 2))
		for range 5 {
			seal(t, s, nil, esp.NextHeaderDummy)
		}
		for i := range 200 {
			w.a.tun.in <- aToB
			w.wire.inject(frame{from: bAddr, to: aAddr, data: seal(t, s, appendProbe(nil, probeRequest, nonce{byte(i)}), esp.NextHeaderDummy)})
			time.Sleep(50 * time.Millisecond)
		}
		synctest.Wait()
		last := uint32(0)
		for _, f := range w.wire.sent(bAddr) {
			if n := sequence(f.data); n <= last {
				t.Fatalf("sequence number %d left after %d", n, last)
			} else {
				last = n
			}
		}
		if last < 300 {
			t.Errorf("only %d packets left: no answers among them?", last)
		}
	})
}

func TestInstallRules(t *testing.T) {
	inWorld(t, func(w *world) {
		if err := w.a.InstallInbound(half(1, 2)); !errors.Is(err, ErrNoPair) {
			t.Errorf("without a pair: %v", err)
		}
		w.connectStatic()
		w.delivers(w.a, w.b, aToB)
		before := w.a.SAs()
		w.must(w.a.InstallOutbound(half(1, 1)), w.a.InstallInbound(half(1, 2))) // once more
		if after := w.a.SAs(); len(after) != len(before) || after[0] != before[0] && after[0] != before[1] {
			t.Errorf("the same id again changed %v to %v", before, after)
		}
		burnt := func(err error, highest uint32) {
			t.Helper()
			if b, ok := errors.AsType[*Burnt](err); !ok || b.Highest != highest {
				t.Errorf("got %v, want burnt by %d", err, highest)
			}
		}
		w.rekey(7)
		again := half(7, 1)
		again.ID = saID(77)
		burnt(w.a.InstallOutbound(again), 7)
		burnt(w.a.InstallOutbound(half(6, 1)), 7)
		in := half(7, 2)
		in.ID, in.SPI = saID(78), 0x9999
		burnt(w.a.InstallInbound(in), 7)
		clash := half(8, 2)
		clash.SPI = half(7, 2).SPI
		if err := w.a.InstallInbound(clash); !errors.Is(err, ErrSPIClash) {
			t.Errorf("the same SPI: %v", err)
		}
		w.must(w.a.InstallInbound(half(8, 2)))
		w.must(w.a.RemoveOutbound(saID(7)))
		burnt(w.a.InstallOutbound(half(7, 1)), 7)
		if err := w.a.RemoveOutbound(saID(7)); !errors.Is(err, ErrNoSA) {
			t.Errorf("removed twice: %v", err)
		}
		w.delivers(w.a, w.b, aToB) // falls back to generation 1
		// Removing the pair removes its SAs, and what was burnt stays burnt.
		w.must(w.a.RemovePair(pairID(1)))
		if sas := w.a.SAs(); len(sas) != 0 {
			t.Errorf("SAs left without a pair: %v", sas)
		}
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr})))
		burnt(w.a.InstallOutbound(half(7, 1)), 7)
		w.must(w.a.InstallOutbound(half(9, 1)))
		if err := w.a.RemovePair(pairID(3)); !errors.Is(err, ErrNoPair) {
			t.Errorf("removed a pair that is not there: %v", err)
		}
	})
}

func TestBadPairs(t *testing.T) {
	inWorld(t, func(w *world) {
		good := pairOf("1", "2", PathSpec{Remote: bAddr})
		other := good
		other.ID = pairID(2)
		for name, spoil := range map[string]func(*Pair){
			"no id":             func(p *Pair) { p.ID = PairID{} },
			"no local":          func(p *Pair) { p.Local = nil },
			"no remote":         func(p *Pair) { p.Remote = nil },
			"selector":          func(p *Pair) { p.Remote = []Selector{{}} },
			"order":             func(p *Pair) { p.Order = maxOrder + 1 },
			"no address":        func(p *Pair) { p.Path.Remote = netip.AddrPortFrom(netip.Addr{}, 4500) },
			"negative interval": func(p *Pair) { p.Path.KeepaliveInterval = -1 },
			"given twice":       func(p *Pair) { p.ID = other.ID },
		} {
			bad := good
			spoil(&bad)
			if err := w.a.SetPairs(other, bad); !errors.Is(err, ErrPair) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := len(w.a.Pairs()); n != 0 {
			t.Errorf("%d pairs of refused calls are there", n)
		}
	})
}

// TestLongestPrefixWins: one end has 10.0.0.0/8, another one 10.9.0.2 within.
// Ids are random, so the order must not come from them.
func TestLongestPrefixWins(t *testing.T) {
	for n := range byte(50) {
		t.Run(fmt.Sprint(n), func(t *testing.T) { testLongestPrefixWins(t, n+100) })
	}
}

func testLongestPrefixWins(t *testing.T, id byte) {
	inWorld(t, func(w *world) {
		wide := pairOf("1", "2", PathSpec{Remote: netip.MustParseAddrPort("203.0.113.1:4500")})
		wide.ID, wide.RemoteHost = pairID(id), "wide"
		wide.Remote = []Selector{PrefixSelector(netip.MustParsePrefix("10.0.0.0/8"))}
		w.must(w.a.SetPair(wide))
		w.connectStatic()
		wideSA := half(1, 1)
		wideSA.ID, wideSA.Pair, wideSA.SPI = saID(99), wide.ID, 0x9900
		w.must(w.a.InstallOutbound(wideSA), w.a.InstallInbound(wideSA))
		w.delivers(w.a, w.b, aToB)
		w.wire.setTap(nil)
		w.a.send(inner("10.9.0.1", "10.77.0.1", 4))
		if sent := w.wire.sent(wide.Path.Remote); len(sent) != 1 {
			t.Errorf("%d packets to the wide end", len(sent))
		}
		// The wide end cannot speak for the narrow one.
		s := sealer(t, wideSA)
		w.wire.inject(frame{from: wide.Path.Remote, to: aAddr, data: seal(t, s, bToA, 4)})
		w.wire.inject(frame{from: wide.Path.Remote, to: aAddr, data: seal(t, s, inner("10.77.0.1", "10.9.0.1", 4), 4)})
		if got := w.a.received(); len(got) != 1 || w.a.Counters().Drops(InSelector) != 1 {
			t.Errorf("%d delivered, drops %v", len(got), drops(w.a.Datapath))
		}
	})
}

func TestSetPairReplacesSelectors(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		changed := pairOf("1", "2", PathSpec{Remote: bAddr})
		changed.Remote = []Selector{PrefixSelector(netip.MustParsePrefix("10.50.0.0/16")), PrefixSelector(netip.MustParsePrefix("10.51.0.7/32"))}
		w.must(w.a.SetPair(changed))
		w.wire.setTap(nil)
		for _, dst := range []string{"10.9.0.2", "10.50.1.1", "10.51.0.7"} {
			w.a.send(inner("10.9.0.1", dst, 4))
		}
		if n := len(w.wire.sent(bAddr)); n != 2 || w.a.Counters().Drops(OutNoPolicy) != 1 {
			t.Errorf("%d packets left, drops %v", n, drops(w.a.Datapath))
		}
		both := changed.Remote
		for i, gone := range []string{"10.51.0.7", "10.50.1.1"} { // one SPD entry fewer
			changed.Remote = both[i : i+1]
			w.must(w.a.SetPair(changed))
			w.a.send(inner("10.9.0.1", gone, 4))
		}
		if n := len(w.wire.sent(bAddr)); n != 2 {
			t.Errorf("a removed selector still matches")
		}
	})
}

func TestLifetimes(t *testing.T) {
	for _, c := range []struct {
		name       string
		soft, hard Lifetime
		use        func(w *world)
	}{
		{"time", Lifetime{Time: time.Minute}, Lifetime{Time: 2 * time.Minute}, func(*world) { time.Sleep(time.Minute + tick) }},
		{"packets", Lifetime{Packets: 3}, Lifetime{Packets: 6}, func(w *world) { w.a.send(aToB); w.a.send(aToB); w.a.send(aToB) }},
		{"bytes", Lifetime{Bytes: 300}, Lifetime{Bytes: 600}, func(w *world) { w.a.send(aToB); w.a.send(aToB); w.a.send(aToB) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr})), w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})))
				sa := half(1, 1)
				sa.Soft, sa.Hard = c.soft, c.hard
				w.must(w.b.InstallInbound(sa), w.a.InstallOutbound(sa))
				synctest.Wait()
				c.use(w)
				for _, e := range []*end{w.a, w.b} {
					events := e.nextEvents()
					if len(events) != 1 || events[0].Kind != SoftLifetime || events[0].SA != sa.ID || events[0].Inbound != (e == w.b) {
						t.Fatalf("after the soft limit: %+v", events)
					}
				}
				w.b.received()
				w.delivers(w.a, w.b, inner("10.9.0.1", "10.9.0.2", 0)) // it works on
				c.use(w)
				time.Sleep(tick)
				for _, e := range []*end{w.a, w.b} {
					events := e.nextEvents()
					// The receiver has seen what the sender sent: one end may still be short of its limit.
					if e == w.a && (len(events) != 1 || events[0].Kind != HardLifetime) {
						t.Fatalf("after the hard limit: %+v", events)
					}
				}
				w.b.received()
				w.wire.setTap(nil)
				w.a.send(aToB)
				if n := len(w.wire.sent(bAddr)); n != 0 || len(w.b.received()) != 0 {
					t.Errorf("%d packets left after the hard limit", n)
				}
				if w.a.Counters().Drops(OutNoSA) == 0 {
					t.Errorf("drops %v", drops(w.a.Datapath))
				}
				if len(w.a.SAs()) != 0 {
					t.Errorf("the SA is still there")
				}
			})
		})
	}
}

// TestHardLimitHoldsBetweenTicks: the packet path looks at the clock itself.
func TestHardLimitHoldsBetweenTicks(t *testing.T) {
	inWorld(t, func(w *world) {
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr})), w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})))
		time.Sleep(tick / 2) // between two ticks
		out, in := half(1, 1), half(1, 1)
		out.Hard.Time, in.Hard.Time = tick/4, tick/4
		w.must(w.b.InstallInbound(in), w.a.InstallOutbound(out))
		synctest.Wait()
		late := seal(t, sealer(t, in), aToB, 4)
		time.Sleep(tick / 4)
		w.wire.setTap(nil)
		w.a.send(aToB)
		w.wire.inject(frame{from: aAddr, to: bAddr, data: late})
		if n := len(w.wire.sent(bAddr)); n != 0 || len(w.b.received()) != 0 {
			t.Errorf("%d packets after the deadline", n)
		}
		if w.a.Counters().Drops(OutExpired) != 1 || w.b.Counters().Drops(InExpired) != 1 {
			t.Errorf("drops %v and %v", drops(w.a.Datapath), drops(w.b.Datapath))
		}
	})
}

func TestExpiredOnArrivalEndsAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr})))
		sa := half(1, 1)
		sa.Hard.Time = -time.Second
		w.must(w.a.InstallOutbound(sa))
		time.Sleep(tick)
		if events := w.a.nextEvents(); len(events) != 1 || events[0].Kind != HardLifetime {
			t.Errorf("events %+v", events)
		}
		if n := len(w.wire.sent(bAddr)); n != 0 {
			t.Errorf("%d packets left", n)
		}
	})
}

func TestStatus(t *testing.T) {
	inWorld(t, func(w *world) {
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr})), w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})))
		sa := half(1, 1)
		sa.Hard.Time = time.Hour
		w.must(w.b.InstallInbound(sa), w.a.InstallOutbound(sa))
		synctest.Wait()
		time.Sleep(time.Second)
		w.delivers(w.a, w.b, aToB)
		time.Sleep(time.Second)
		want := SAStatus{ID: sa.ID, Pair: sa.Pair, Generation: 1, SPI: sa.SPI, Transform: gcm128, ESN: true, Protocol: ESP, MTU: unlimitedMTU,
			Bytes: uint64(len(aToB)), Packets: 2, Age: 2 * time.Second, Left: time.Hour - 2*time.Second, Sequence: 2, Idle: time.Second}
		if got := w.a.SAs(); len(got) != 1 || got[0] != want {
			t.Errorf("a has %+v\nwant %+v", got, want)
		}
		want.Inbound, want.MTU = true, 0
		if got := w.b.SAs(); len(got) != 1 || got[0] != want {
			t.Errorf("b has %+v\nwant %+v", got, want)
		}
		p := w.a.Pairs()[0]
		if !p.Sent || p.Received || p.SinceSent != time.Second || p.Remote != bAddr {
			t.Errorf("a's pair %+v", p)
		}
		for _, text := range []string{fmt.Sprint(sa), fmt.Sprintf("%#v", sa), fmt.Sprintf("%+v", &sa), sa.LogValue().String()} {
			if bytes.Contains([]byte(text), []byte("1, 1, 1")) || bytes.Contains([]byte(text), []byte("1 1 1")) || bytes.Contains([]byte(text), []byte("Key")) {
				t.Errorf("the key is printed: %s", text)
			}
		}
	})
}

func TestRunEndsWithABrokenTUN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, wire: &wire{conns: make(map[netip.AddrPort]*fakeConn)}}
		tun := newFakeTUN()
		d, err := New(Config{TUN: tun, UDP: Sockets{IPv4: w.conn(aAddr)}, Clock: func() time.Duration { return time.Hour }})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- d.Run(context.Background()) }()
		broken := errors.New("broken")
		for range maxFailures - 1 {
			tun.fail <- broken
		}
		synctest.Wait()
		tun.in <- aToB // one that works begins the count anew
		synctest.Wait()
		for range maxFailures {
			tun.fail <- broken
		}
		if err := <-done; !errors.Is(err, broken) {
			t.Errorf("Run: %v", err)
		}
		if n := d.Counters().Drops(OutTUN); n != 2*maxFailures-2 {
			t.Errorf("%d counted", n)
		}
	})
}

func TestNewNeedsDevices(t *testing.T) {
	clock := func() time.Duration { return 0 }
	conn := &fakeConn{}
	for _, c := range []Config{{}, {TUN: newFakeTUN(), Clock: clock}, {TUN: newFakeTUN(), UDP: Sockets{IPv4: conn}}, {UDP: Sockets{IPv4: conn}, Clock: clock}} {
		if _, err := New(c); err == nil {
			t.Errorf("New(%+v) worked", c)
		}
	}
}
