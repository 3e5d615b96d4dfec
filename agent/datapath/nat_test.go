package datapath

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/services/protocol/esp"
)

// In these tests a is behind a NAT: b sees it at an outer address that a does not know.
var (
	outer1 = netip.MustParseAddrPort("203.0.113.1:40001")
	outer2 = netip.MustParseAddrPort("203.0.113.1:40002")
)

// nat is an address-dependent NAT: only b's packets pass inwards, and only to the mapping that is there.
type nat struct {
	outer   netip.AddrPort
	peer    netip.AddrPort // b, as a knows it
	lose    int            // that many of the next packets from a
	dropped int            // packets to a mapping that is not there
}

func (n *nat) translate(f *frame) bool {
	switch {
	case f.from == aAddr:
		if n.lose > 0 {
			n.lose--
			return false
		}
		f.from = n.outer
	case f.to == n.outer && f.from == n.peer:
		f.to = aAddr
	case f.to == outer1, f.to == outer2, f.to == aAddr:
		n.dropped++
		return false
	}
	return true
}

// rebind gives a another mapping.
func (w *world) rebind(n *nat, outer netip.AddrPort) {
	w.wire.mu.Lock()
	defer w.wire.mu.Unlock()
	n.outer = outer
}

// behindNAT puts a behind a NAT and connects; b has not been told where a is.
func (w *world) behindNAT() *nat {
	w.t.Helper()
	n := &nat{outer: outer1, peer: bAddr}
	w.wire.setTap(n.translate)
	w.connect(PathSpec{Remote: bAddr, LocalBehindNAT: true}, PathSpec{RemoteBehindNAT: true})
	return n
}

func (w *world) wantPath(e *end, want netip.AddrPort) {
	w.t.Helper()
	synctest.Wait()
	if got := e.path(); got != want {
		w.t.Fatalf("packets go to %v, want %v", got, want)
	}
}

func TestPathIsLearnedFromTheFirstDummy(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behindNAT()
		w.wantPath(w.b, outer1)
		events := w.b.nextEvents()
		if len(events) != 1 || events[0] != (Event{Kind: PathChanged, Pair: pairID(1), RemoteHost: "host-1", Addr: outer1}) {
			t.Errorf("events %+v", events)
		}
		w.delivers(w.b, w.a, bToA)
		w.delivers(w.a, w.b, aToB)
	})
}

// TestOneOfSeveralAddresses: b has two addresses, and a has been told the one that b would not choose. Nothing
// but answers from there pass a's NAT.
func TestOneOfSeveralAddresses(t *testing.T) {
	inWorld(t, func(w *world) {
		second := netip.MustParseAddrPort("198.51.100.7:4500")
		w.wire.mu.Lock()
		w.wire.conns[second] = w.wire.conns[bAddr]
		w.wire.mu.Unlock()
		n := &nat{outer: outer1, peer: second}
		w.wire.setTap(n.translate)
		w.connect(PathSpec{Remote: second, LocalBehindNAT: true}, PathSpec{RemoteBehindNAT: true})
		w.wantPath(w.b, outer1)
		w.delivers(w.b, w.a, bToA)
		w.delivers(w.a, w.b, aToB)
		w.wire.mu.Lock()
		n.peer = bAddr // told anew
		w.wire.mu.Unlock()
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr, LocalBehindNAT: true})))
		w.delivers(w.a, w.b, aToB) // with it b learns at which address it is asked now
		synctest.Wait()
		w.delivers(w.b, w.a, bToA)
	})
}

// TestFirstDummiesGetLost: the end behind NAT goes on until it hears something.
func TestFirstDummiesGetLost(t *testing.T) {
	inWorld(t, func(w *world) {
		n := &nat{outer: outer1, peer: bAddr, lose: 3}
		w.wire.setTap(n.translate)
		w.connect(PathSpec{Remote: bAddr, LocalBehindNAT: true}, PathSpec{RemoteBehindNAT: true})
		w.wantPath(w.b, netip.AddrPort{})
		time.Sleep(8 * time.Second)
		w.wantPath(w.b, outer1)
		w.delivers(w.b, w.a, bToA)
	})
}

// TestOutboundComesLate: a's dummy reaches b before b can send. The request waits for the SA.
func TestOutboundComesLate(t *testing.T) {
	inWorld(t, func(w *world) {
		n := &nat{outer: outer1, peer: bAddr}
		w.wire.setTap(n.translate)
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr, LocalBehindNAT: true})), w.b.SetPair(pairOf("2", "1", PathSpec{RemoteBehindNAT: true})))
		w.must(w.a.InstallInbound(half(1, 2)), w.b.InstallInbound(half(1, 1)), w.a.InstallOutbound(half(1, 1)))
		w.wantPath(w.b, netip.AddrPort{})
		w.must(w.b.InstallOutbound(half(1, 2)))
		w.wantPath(w.b, outer1)
	})
}

func TestPathFollowsRebinding(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.behindNAT()
		w.wantPath(w.b, outer1)
		w.b.nextEvents()
		w.rebind(n, outer2)
		w.delivers(w.a, w.b, aToB)
		w.wantPath(w.b, outer2)
		if events := w.b.nextEvents(); len(events) != 1 || events[0].Addr != outer2 {
			t.Errorf("events %+v", events)
		}
		w.delivers(w.b, w.a, bToA)
		// The controller repeats what it knows: the learned path stays.
		w.must(w.b.SetPair(pairOf("2", "1", PathSpec{RemoteBehindNAT: true})))
		w.wantPath(w.b, outer2)
	})
}

// TestIdleEndIsFound: a's mapping changes while nobody speaks. Keepalives do not tell b; the request
// that a sends after three silent intervals does.
func TestIdleEndIsFound(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.behindNAT()
		w.wantPath(w.b, outer1)
		w.rebind(n, outer2)
		time.Sleep(4 * DefaultKeepalive)
		w.wantPath(w.b, outer2)
		w.delivers(w.b, w.a, bToA)
	})
}

func TestKeepalives(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behindNAT()
		w.wire.mu.Lock()
		w.wire.seen = nil
		w.wire.mu.Unlock()
		keepalives := func() (n int) {
			for _, f := range w.wire.sent(netip.AddrPort{}) {
				if len(f.data) == 1 && f.data[0] == 0xff {
					if f.from != aAddr || f.to != bAddr {
						t.Errorf("a keepalive from %v to %v", f.from, f.to)
					}
					n++
				}
			}
			return n
		}
		time.Sleep(DefaultKeepalive - time.Second)
		if n := keepalives(); n != 0 {
			t.Errorf("%d keepalives before the interval", n)
		}
		w.delivers(w.a, w.b, aToB) // not idle
		time.Sleep(DefaultKeepalive - time.Second)
		if n := keepalives(); n != 0 {
			t.Errorf("%d keepalives while not idle", n)
		}
		time.Sleep(2 * time.Second)
		if n := keepalives(); n != 1 || w.a.Counters().Keepalives != 1 {
			t.Errorf("%d keepalives when idle, want 1", n)
		}
		if got := w.b.Counters(); got.InKeepalives != 1 || got.Keepalives != 0 {
			t.Errorf("b: %+v", got)
		}
		w.must(w.a.RemoveOutbound(saID(1)))
		time.Sleep(2 * DefaultKeepalive)
		if n := keepalives(); n != 1 {
			t.Errorf("%d keepalives, the last without an SA", n)
		}
	})
}

// An attacker sees all packets, can drop and delay them and send from any address of its own, but has no
// key. Each case leaves b's path where it was.
func TestAttackerCannotMoveThePath(t *testing.T) {
	// race captures a's next packet before b gets it and sends it from the attacker's address.
	race := func(w *world, n *nat) {
		w.wire.setTap(func(f *frame) bool {
			if f.from == aAddr && len(f.data) > 1 {
				f.from = evil
				return true
			}
			return n.translate(f)
		})
		w.a.send(aToB)
		if got := w.b.received(); len(got) != 1 {
			t.Fatal("the raced packet is not valid: the test shows nothing")
		}
		w.wire.mu.Lock()
		w.wire.tap = n.translate
		w.wire.mu.Unlock()
	}
	for name, attack := range map[string]func(w *world, n *nat){
		"replay": func(w *world, n *nat) {
			for _, f := range w.wire.sent(bAddr) {
				w.wire.inject(frame{from: evil, to: bAddr, data: f.data})
			}
			if sent := w.wire.sent(evil); len(sent) > 0 {
				t.Errorf("replay: %d packets to the attacker", len(sent))
			}
		},
		"forge": func(w *world, n *nat) {
			f := w.wire.sent(bAddr)[0]
			f.data[7] = 200 // a sequence number that was not used
			w.wire.inject(frame{from: evil, to: bAddr, data: f.data})
			if sent := w.wire.sent(evil); len(sent) > 0 {
				t.Errorf("forge: %d packets to the attacker", len(sent))
			}
		},
		"race": race,
		"race and reflect the request": func(w *world, n *nat) {
			race(w, n)
			for _, f := range w.wire.sent(evil) {
				w.wire.inject(frame{from: evil, to: bAddr, data: f.data})
			}
		},
		// a answers to b, where it knows b to be: the answer comes from a's own address.
		"race and relay the request as if from b": func(w *world, n *nat) {
			race(w, n)
			for _, f := range w.wire.sent(evil) {
				w.wire.inject(frame{from: bAddr, to: aAddr, data: f.data})
			}
		},
		// a answers to the attacker, who passes the answer on as if from a's address.
		"race, relay the request, answer from elsewhere": func(w *world, n *nat) {
			race(w, n)
			for _, f := range w.wire.sent(evil) {
				w.wire.inject(frame{from: evil, to: aAddr, data: f.data})
			}
			synctest.Wait()
			for _, f := range w.wire.sent(evil) {
				if f.from == aAddr {
					w.wire.inject(frame{from: outer2, to: bAddr, data: f.data})
				}
			}
		},
		"race, answer too late": func(w *world, n *nat) {
			race(w, n)
			requests := w.wire.sent(evil)
			time.Sleep(2*probeLife + probeTries*probeRepeat)
			for _, f := range requests {
				w.wire.inject(frame{from: evil, to: aAddr, data: f.data})
			}
			synctest.Wait()
			for _, f := range w.wire.sent(evil) {
				if f.from == aAddr {
					w.wire.inject(frame{from: evil, to: bAddr, data: f.data})
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				n := w.behindNAT()
				w.delivers(w.a, w.b, aToB)
				w.wantPath(w.b, outer1)
				w.b.nextEvents()
				attack(w, n)
				time.Sleep(2 * time.Second)
				w.wantPath(w.b, outer1)
				if events := w.b.nextEvents(); len(events) > 0 {
					t.Errorf("events %+v", events)
				}
				for _, f := range w.wire.sent(evil) {
					if len(f.data) > 100 {
						t.Error("traffic went to the attacker")
					}
				}
				w.delivers(w.b, w.a, bToA)
			})
		})
	}
}

// TestProbesAreFewAndBounded: b is told of a hundred addresses that never answer.
func TestProbesAreFewAndBounded(t *testing.T) {
	inWorld(t, func(w *world) {
		w.behindNAT()
		s := sealer(t, half(1, 1))
		for range 10 {
			seal(t, s, nil, esp.NextHeaderDummy) // past what a has used
		}
		w.wire.setTap(func(*frame) bool { return false })
		for i := range 100 {
			from := netip.AddrPortFrom(evil.Addr(), uint16(1000+i))
			w.wire.inject(frame{from: from, to: bAddr, data: seal(t, s, aToB, 4)})
		}
		if got := w.b.received(); len(got) != 100 {
			t.Fatalf("%d of 100 packets are valid: the test shows nothing", len(got))
		}
		time.Sleep(10 * time.Second)
		asked := make(map[netip.AddrPort]int)
		for _, f := range w.wire.sent(netip.AddrPort{}) {
			if f.from == bAddr {
				asked[f.to]++
			}
		}
		if len(asked) != maxOutstanding {
			t.Errorf("asked %d addresses, want %d: %v", len(asked), maxOutstanding, asked)
		}
		for to, n := range asked {
			if n != probeTries {
				t.Errorf("asked %v %d times, want %d", to, n, probeTries)
			}
		}
		w.wantPath(w.b, outer1)
		// The slots are free again.
		w.wire.inject(frame{from: evil, to: bAddr, data: seal(t, s, aToB, 4)})
		synctest.Wait()
		if len(w.wire.sent(evil)) != 1 {
			t.Error("no request to a later candidate")
		}
	})
}

// TestAnswersAreLimited: an authenticated but hostile end floods requests.
func TestAnswersAreLimited(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		w.wire.setTap(nil)
		s := sealer(t, half(1, 1))
		for range 10 {
			seal(t, s, nil, esp.NextHeaderDummy)
		}
		for i := range 500 {
			w.wire.inject(frame{from: aAddr, to: bAddr, data: seal(t, s, appendProbe(nil, probeRequest, nonce{byte(i)}), esp.NextHeaderDummy)})
		}
		synctest.Wait()
		answers := len(w.wire.sent(aAddr))
		if limited := w.b.Counters().Drops(ProbeLimited); answers != noticeBurst || limited != uint64(500-answers) {
			t.Errorf("%d answers, want %d; %d limited", answers, noticeBurst, limited)
		}
		time.Sleep(time.Second) // and there are answers again
		w.wire.inject(frame{from: aAddr, to: bAddr, data: seal(t, s, appendProbe(nil, probeRequest, nonce{}), esp.NextHeaderDummy)})
		synctest.Wait()
		if n := len(w.wire.sent(aAddr)); n != answers+1 {
			t.Errorf("%d answers a second later, want one more than %d", n, answers)
		}
		for i := range 3 { // answers that nobody asked for
			w.wire.inject(frame{from: aAddr, to: bAddr, data: seal(t, s, appendProbe(nil, probeAnswer, nonce{byte(i)}), esp.NextHeaderDummy)})
		}
		synctest.Wait()
		if n := w.b.Counters().Drops(ProbeStale); n != 3 {
			t.Errorf("%d stale answers, want 3", n)
		}
	})
}

// TestWhoDoesNotFollow: a valid packet from a new address moves nothing, and asks nothing.
func TestWhoDoesNotFollow(t *testing.T) {
	for name, spec := range map[string]PathSpec{
		"remote is not behind NAT":                 {Remote: aAddr},
		"this end is behind NAT":                   {Remote: aAddr, LocalBehindNAT: true},
		"both are behind NAT":                      {Remote: aAddr, LocalBehindNAT: true, RemoteBehindNAT: true},
		"both are behind NAT, and nothing is told": {LocalBehindNAT: true, RemoteBehindNAT: true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.connect(PathSpec{Remote: bAddr}, spec)
				w.wire.setTap(func(f *frame) bool {
					if f.from == aAddr {
						f.from = evil
					}
					return true
				})
				w.a.send(aToB)
				if got := w.b.received(); len(got) != 1 {
					t.Fatalf("%d delivered: the packet itself is good", len(got))
				}
				w.wantPath(w.b, spec.Remote)
				if sent := w.wire.sent(evil); len(sent) > 0 {
					t.Errorf("%d packets to the new address", len(sent))
				}
			})
		})
	}
}

// TestToldAddressIsProbed: the controller names another address than the proven one.
func TestToldAddressIsProbed(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.behindNAT()
		w.wantPath(w.b, outer1)
		told := PathSpec{Remote: outer2, RemoteBehindNAT: true}
		w.must(w.b.SetPair(pairOf("2", "1", told)))
		time.Sleep(10 * time.Second)
		w.wantPath(w.b, outer1) // nobody answers there
		w.rebind(n, outer2)
		told.Remote = outer1
		w.must(w.b.SetPair(pairOf("2", "1", told)))
		told.Remote = outer2
		w.must(w.b.SetPair(pairOf("2", "1", told)))
		w.wantPath(w.b, outer2)
		// Not mobile any more: what is told holds.
		w.must(w.b.SetPair(pairOf("2", "1", PathSpec{Remote: outer1})))
		w.wantPath(w.b, outer1)
	})
}

// TestAnswerAfterThePathWasFixed: while a request is out, the controller says that the other end is not
// behind NAT after all.
func TestAnswerAfterThePathWasFixed(t *testing.T) {
	inWorld(t, func(w *world) {
		n := w.behindNAT()
		w.rebind(n, outer2)
		lost := false
		w.wire.setTap(func(f *frame) bool {
			if f.to == outer2 && !lost {
				lost = true
				return false
			}
			return n.translate(f)
		})
		w.a.send(aToB)
		requests := w.wire.sent(outer2)
		if len(requests) != 1 {
			t.Fatalf("%d requests", len(requests))
		}
		w.must(w.b.SetPair(pairOf("2", "1", PathSpec{Remote: outer1})))
		w.wire.inject(frame{from: bAddr, to: aAddr, data: requests[0].data}) // a answers from outer2
		w.wantPath(w.b, outer1)
		if w.b.Counters().InDummies < 3 {
			t.Error("no answer came: the test shows nothing")
		}
	})
}

// TestCandidatesWithoutAnSAAreForgotten: they must not hold the slots for ever.
func TestCandidatesWithoutAnSAAreForgotten(t *testing.T) {
	inWorld(t, func(w *world) {
		w.must(w.b.SetPair(pairOf("2", "1", PathSpec{RemoteBehindNAT: true})), w.b.InstallInbound(half(1, 1)))
		s := sealer(t, half(1, 1))
		from := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(evil.Addr(), port) }
		for i := range uint16(maxOutstanding) {
			w.wire.inject(frame{from: from(1000 + i), to: bAddr, data: seal(t, s, aToB, 4)})
		}
		time.Sleep(probeLife + time.Second)
		w.must(w.b.InstallOutbound(half(1, 2)))
		w.wire.inject(frame{from: evil, to: bAddr, data: seal(t, s, aToB, 4)})
		synctest.Wait()
		if len(w.wire.sent(evil)) != 1 || len(w.wire.sent(from(1000))) != 0 {
			t.Errorf("sent %v", w.wire.sent(netip.AddrPort{}))
		}
	})
}

// TestPairsOfOneHostShareThePath: what is proven through one pair holds for the other.
func TestPairsOfOneHostShareThePath(t *testing.T) {
	inWorld(t, func(w *world) {
		second := pairOf("2", "1", PathSpec{RemoteBehindNAT: true})
		second.ID = pairID(2)
		second.Remote = []Selector{PrefixSelector(netip.MustParsePrefix("10.60.0.0/16"))}
		w.must(w.b.SetPair(second))
		w.behindNAT()
		for _, p := range w.b.Pairs() {
			if p.Remote != outer1 {
				t.Errorf("pair %v goes to %v", p.ID, p.Remote)
			}
		}
		if events := w.b.nextEvents(); len(events) != 1 {
			t.Errorf("events %+v, want one", events)
		}
		// A pair without a host's name shares with nobody.
		second.RemoteHost = ""
		w.must(w.b.SetPair(second))
		for _, p := range w.b.Pairs() {
			if p.ID == second.ID && p.Remote.IsValid() {
				t.Errorf("the nameless pair goes to %v", p.Remote)
			}
		}
		w.must(w.b.RemovePair(pairID(1)), w.b.RemovePair(pairID(2)))
		if n := len(w.b.tables.Load().paths); n != 0 {
			t.Errorf("%d paths left without pairs", n)
		}
	})
}

func TestProbeCodec(t *testing.T) {
	n := nonce{1, 2, 3}
	for _, kind := range []probeKind{probeRequest, probeAnswer} {
		b := appendProbe(nil, kind, n)
		if k, got, ok := parseProbe(b); !ok || k != kind || got != n {
			t.Errorf("%d became %d %x %v", kind, k, got, ok)
		}
		for i := range b {
			if _, _, ok := parseProbe(b[:i]); ok {
				t.Errorf("%d bytes parse", i)
			}
		}
		if _, _, ok := parseProbe(append(b, 0)); ok {
			t.Error("trailing bytes parse")
		}
	}
	for _, kind := range []probeKind{0, 3} {
		if _, _, ok := parseProbe(appendProbe(nil, kind, n)); ok {
			t.Errorf("kind %d parses", kind)
		}
	}
}

func TestLimiter(t *testing.T) {
	var l limiter
	now := time.Hour
	passed := func(n int) (ok int) {
		for range n {
			if l.allow(now, time.Second, 3) {
				ok++
			}
		}
		return ok
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 3}, {500 * time.Millisecond, 0}, {500 * time.Millisecond, 1}, {2 * time.Second, 2}, {time.Hour, 3}} {
		now += c.after
		if got := passed(10); got != c.want {
			t.Errorf("after %v more: %d passed, want %d", c.after, got, c.want)
		}
	}
	if fmt.Sprint(Reason(200)) != "reason-200" || fmt.Sprint(EventKind(9)) != "event-9" {
		t.Error("unknown values are not printed by number")
	}
}
