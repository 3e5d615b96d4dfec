package datapath

import (
	"bytes"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// marked gives a packet a TOS byte.
func marked(p []byte, tos uint8) []byte {
	p = bytes.Clone(p)
	if ipwire.Version(p) == 4 {
		ipwire.IPv4(p).SetTOS(tos)
		ipwire.IPv4(p).UpdateChecksum()
	} else {
		ipwire.IPv6(p).SetTrafficClass(tos)
	}
	return p
}

// TestECN is RFC 6040: what the outer header says when it leaves, and what of it comes in when it arrives.
func TestECN(t *testing.T) {
	const notECT, ect1, ect0, ce = 0, 1, 2, 3
	for _, p := range []protection{{ESP, Tunnel, UDP, false}, {ESP, Tunnel, Native, true}, {AH, Tunnel, Native, false}} {
		for _, c := range []struct{ inner, path, want uint8 }{
			{notECT, notECT, notECT}, {ect0, ect0, ect0}, {ect1, ect1, ect1}, {ce, ce, ce},
			{ect0, ce, ce}, {ect1, ce, ce}, {ect0, ect1, ect1}, {ce, ect0, ce}, {ect0, notECT, ect0}, {notECT, ce, 255},
		} {
			for _, v6 := range []bool{false, true} {
				inWorld(t, func(w *world) {
					w.protect(p, func(sa *SA) { sa.Outer.CopyDSCP = true })
					w.wire.setTap(func(f *frame) bool {
						tos := f.tos
						if p.encapsulation == Native {
							tos = ipwire.TOS(f.data)
						}
						if tos != 0xb8|c.inner {
							t.Errorf("%v: the outer header says %#x", p, tos)
						}
						f.tos = tos&^3 | c.path
						if p.encapsulation == Native {
							f.data = marked(f.data, f.tos)
						}
						return true
					})
					packet := marked(p.inside(40, v6), 0xb8|c.inner)
					w.a.send(bytes.Clone(packet))
					got := w.b.received()
					if c.want == 255 {
						if len(got) != 0 || w.b.Counters().Drops(InECN) != 1 {
							t.Errorf("%v: %+v: %d arrived; drops %v", p, c, len(got), drops(w.b.Datapath))
						}
						return
					}
					if len(got) != 1 || !bytes.Equal(got[0], marked(packet, 0xb8|c.want)) {
						t.Errorf("%v: %+v: %d arrived: % x", p, c, len(got), got)
					}
				})
			}
		}
	}
}

func TestDSCP(t *testing.T) {
	for _, c := range []struct {
		outer Outer
		want  uint8
	}{{Outer{}, 2}, {Outer{CopyDSCP: true}, 0xba}, {Outer{DSCP: 10}, 40 | 2}, {Outer{DSCP: 10, NoECN: true}, 40}} {
		inWorld(t, func(w *world) {
			w.protect(protection{ESP, Tunnel, UDP, false}, func(sa *SA) { sa.Outer = c.outer })
			w.a.send(marked(aToB, 0xba))
			if sent := w.wire.sent(bAddr); len(sent) != 1 || sent[0].tos != c.want {
				t.Errorf("%+v: sent %+v", c.outer, sent)
			}
		})
	}
}

// TestTransportInUDPRepairsChecksums: NAT has changed the addresses, so the inner checksum is wrong.
func TestTransportInUDPRepairsChecksums(t *testing.T) {
	p := protection{ESP, Transport, UDP, false}
	before := inner("10.0.0.1", bAddr.Addr().String(), 60) // as the host behind the NAT made it
	for _, c := range []struct {
		name    string
		nat     OriginalAddresses
		damage  bool
		correct bool
	}{
		{"made anew", OriginalAddresses{}, false, true},
		{"adjusted", OriginalAddresses{netip.MustParseAddr("10.0.0.1"), bAddr.Addr()}, false, true},
		{"adjusting keeps damage", OriginalAddresses{netip.MustParseAddr("10.0.0.1"), bAddr.Addr()}, true, false},
	} {
		inWorld(t, func(w *world) {
			w.protect(p, func(sa *SA) { sa.NAT = c.nat })
			sa := half(1, 1)
			payload := bytes.Clone(before[20:])
			if c.damage {
				payload[20] ^= 0x40
			}
			w.wire.inject(frame{from: aAddr, to: bAddr, data: seal(t, sealerAt(t, sa, 50), payload, ipwire.ProtoUDP)})
			got := w.b.received()
			if len(got) != 1 {
				t.Fatalf("%s: %d arrived; drops %v", c.name, len(got), drops(w.b.Datapath))
			}
			sum := ipwire.AddSums(ipwire.PseudoHeader(aAddr.Addr(), bAddr.Addr(), ipwire.ProtoUDP, len(payload)), ipwire.Sum(got[0][20:]))
			if right := sum == 0xffff; right != c.correct {
				t.Errorf("%s: the checksum is right: %v", c.name, right)
			}
		})
	}
}

// TestTransportJoinsFragments: fragments from the TUN are sealed as one datagram, by the policy of all of it.
func TestTransportJoinsFragments(t *testing.T) {
	for _, p := range protections() {
		if p.mode != Transport {
			continue
		}
		t.Run(p.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.protect(p, nil)
				packet := p.inside(3000, false)
				if !p.v6 {
					packet = withID(packet, 9)
				}
				var s splitter
				pieces, err := s.split(packet, 1280, 7)
				if err != nil || len(pieces) < 3 {
					t.Fatal(len(pieces), err)
				}
				for first := range pieces {
					for i := range pieces {
						w.a.send(bytes.Clone(pieces[(first+i)%len(pieces)]))
					}
					got := w.b.received()
					if len(got) != 1 || !alike(got[0], packet) {
						t.Errorf("fragment %d first: %d arrived; drops %v %v", first, len(got), drops(w.a.Datapath), drops(w.b.Datapath))
					}
				}
			})
		})
	}
}

// TestFragmentsAndPorts is RFC 4301 section 7.3: where the policy has ports, later fragments follow the first.
func TestFragmentsAndPorts(t *testing.T) {
	inWorld(t, func(w *world) {
		ported := func(p Pair, local, remote uint16) Pair {
			for i := range p.Local {
				p.Local[i].Proto, p.Local[i].Ports = ipwire.ProtoUDP, spd.Ports{First: local, Last: local}
				p.Remote[i].Proto, p.Remote[i].Ports = ipwire.ProtoUDP, spd.Ports{First: remote, Last: remote}
			}
			return p
		}
		w.must(w.a.SetPair(ported(pairOf("1", "2", PathSpec{Remote: bAddr}), 1111, 2222)),
			w.b.SetPair(ported(pairOf("2", "1", PathSpec{Remote: aAddr}), 2222, 1111)))
		w.rekey(1)
		w.a.received()
		packet := withID(inner("10.9.0.1", "10.9.0.2", 3000), 5)
		var s splitter
		pieces, err := s.split(packet, 1280, 1)
		w.must(err)
		w.a.send(bytes.Clone(pieces[1]))
		if got := w.b.received(); len(got) != 0 || w.a.Counters().Drops(OutNoPolicy) != 1 {
			t.Errorf("a fragment whose first one was not seen: %d passed, drops %v", len(got), drops(w.a.Datapath))
		}
		w.a.send(inner("10.9.0.1", "10.9.0.2", 100)) // of the same flow, so that its way is known
		if got := w.b.received(); len(got) != 1 {
			t.Errorf("%d passed, drops %v", len(got), drops(w.a.Datapath))
		}
		for _, piece := range pieces {
			w.a.send(bytes.Clone(piece))
		}
		if joined := whole(t, w.b.received()); len(joined) != 1 || !bytes.Equal(joined[0][20:], packet[20:]) {
			t.Errorf("%d arrived whole; drops %v %v", len(joined), drops(w.a.Datapath), drops(w.b.Datapath))
		}
		// A hostile end sends a later fragment alone.
		w.wire.inject(frame{from: aAddr, to: bAddr, data: seal(t, sealerAt(t, half(1, 1), 100), withID(bytes.Clone(pieces[1]), 6), 4)})
		if got := w.b.received(); len(got) != 0 || w.b.Counters().Drops(InSelector) != 1 {
			t.Errorf("%d passed, drops %v", len(got), drops(w.b.Datapath))
		}
	})
}

// sealerAt seals from a sequence number on.
func sealerAt(t testing.TB, sa SA, seq uint64) *esp.Sealer {
	t.Helper()
	suite, err := suiteOf(sa)
	if err != nil {
		t.Fatal(err)
	}
	s, err := esp.NewSealer(esp.Config{SPI: sa.SPI, Encryption: suite.Encryption, Integrity: suite.Integrity, Keymat: sa.Key, ESN: sa.ESN, Sequence: seq})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestICMPErrorsFollowWhatTheyQuote is RFC 4301 section 6.2: an error from a router, which no policy names,
// travels with the answers to the packet that caused it.
func TestICMPErrorsFollowWhatTheyQuote(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		w.a.received()
		about := withDF(inner("10.9.0.2", "10.9.0.1", 1200)) // b's packet, that a router behind a could not forward
		message, ok := ipwire.AppendTooBig(nil, about, 1000)
		if !ok {
			t.Fatal("no message")
		}
		router := netip.MustParseAddr("10.77.0.9").As4()
		copy(message[12:16], router[:])
		ipwire.IPv4(message).UpdateChecksum()
		w.delivers(w.a, w.b, message)
		// One that quotes what the pair never carries goes nowhere.
		other, _ := ipwire.AppendTooBig(nil, withDF(inner("10.9.0.2", "10.9.0.7", 1200)), 1000)
		w.a.send(other)
		if n := w.a.Counters().Drops(OutNoPolicy); n != 1 {
			t.Errorf("drops %v", drops(w.a.Datapath))
		}
		forged := seal(t, sealerAt(t, half(1, 1), 50), other, 4)
		w.wire.inject(frame{from: aAddr, to: bAddr, data: forged})
		if got := w.b.received(); len(got) != 0 || w.b.Counters().Drops(InSelector) != 1 {
			t.Errorf("%d passed; drops %v", len(got), drops(w.b.Datapath))
		}
	})
}

// TestPopulate is RFC 4301 section 4.4.1.2: each flow asks for an SA of its own, and takes only that.
func TestPopulate(t *testing.T) {
	inWorld(t, func(w *world) {
		pair := pairOf("1", "2", PathSpec{Remote: bAddr})
		pair.Populate = spd.Populate{RemotePort: true, Protocol: true}
		w.must(w.a.SetPair(pair), w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})))
		w.a.send(aToB)
		events := w.a.nextEvents()
		if len(events) != 1 || events[0].Kind != Acquire || events[0].Remote.Ports != (spd.Ports{First: 2222, Last: 2222}) || events[0].Remote.Proto != 17 {
			t.Fatalf("events %+v", events)
		}
		sa := half(1, 1)
		w.must(w.b.InstallInbound(sa))
		sa.Local, sa.Remote = []Selector{events[0].Local}, []Selector{events[0].Remote}
		w.must(w.a.InstallOutbound(sa))
		w.delivers(w.a, w.b, aToB)
		other := bytes.Clone(aToB)
		other[23] ^= 1 // another port
		w.a.send(other)
		if n := w.a.Counters().Drops(OutNoSA); n != 2 {
			t.Errorf("drops %v", drops(w.a.Datapath))
		}
		time.Sleep(acquireEvery)
		w.a.send(other)
		if events := w.a.nextEvents(); len(events) != 1 || events[0].Kind != Acquire {
			t.Errorf("events %+v", events)
		}
	})
}

// TestNarrowedInbound: an SA with selectors of its own takes nothing else, though the pair might.
func TestNarrowedInbound(t *testing.T) {
	inWorld(t, func(w *world) {
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr})), w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})))
		sa := half(1, 1)
		w.must(w.a.InstallOutbound(sa))
		sa.Local = []Selector{{First: netip.MustParseAddr("10.9.0.2"), Last: netip.MustParseAddr("10.9.0.2"), Proto: 6, Ports: spd.AnyPorts()}}
		sa.Remote = []Selector{PrefixSelector(netip.MustParsePrefix("10.9.0.1/32"))}
		w.must(w.b.InstallInbound(sa))
		w.a.send(aToB) // UDP
		if got := w.b.received(); len(got) != 0 || w.b.Counters().Drops(InSelector) != 1 {
			t.Errorf("%d passed; drops %v", len(got), drops(w.b.Datapath))
		}
	})
}

func TestRules(t *testing.T) {
	inWorld(t, func(w *world) {
		pair := pairOf("1", "2", PathSpec{Remote: bAddr})
		pair.Order = 10
		w.must(w.a.SetPair(pair), w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})))
		w.rekey(1)
		w.a.received()
		any4 := PrefixSelector(netip.MustParsePrefix("0.0.0.0/0"))
		port := any4
		port.Proto, port.Ports = 17, spd.Ports{First: 2222, Last: 2222}
		w.must(w.a.SetRules(Rule{ID: [16]byte{1}, Order: 5, Local: []Selector{any4}, Remote: []Selector{port}},
			Rule{ID: [16]byte{2}, Order: 20, Bypass: true, Local: []Selector{any4}, Remote: []Selector{any4}}))
		w.a.send(aToB)
		w.a.send(inner("10.9.0.1", "10.9.0.9", 5)) // the same port
		if n := w.a.Counters().Drops(OutDiscarded); n != 2 || len(w.b.received()) != 0 {
			t.Errorf("drops %v", drops(w.a.Datapath))
		}
		other := bytes.Clone(aToB)
		other[23] ^= 1
		w.delivers(w.a, w.b, other)
		trace, err := w.a.Trace(aToB, false)
		if err != nil || trace.Entry == nil || trace.Entry.Action != spd.Discard || trace.Verdict != "out-discarded" {
			t.Errorf("trace %+v, %v", trace, err)
		}
		trace, err = w.a.Trace(other, false)
		if err != nil || trace.Entry == nil || trace.Entry.RemoteHost != "host-2" || trace.SA == nil || trace.SA.SPI != half(1, 1).SPI ||
			trace.Verdict != "" || len(trace.Considered) != 1 || trace.Considered[0].Reason == "" {
			t.Errorf("trace %+v, %v", trace, err)
		}
		w.must(w.a.SetRules())
		w.delivers(w.a, w.b, aToB)
		if err := w.a.SetRules(Rule{ID: [16]byte{1}, Local: []Selector{any4}, Remote: []Selector{any4}}); err == nil {
			t.Error("a rule without an order was taken")
		}
		if n := len(w.a.Policies()); n != 1 {
			t.Errorf("%d entries", n)
		}
	})
}

// TestCeiling: no number above the reservation is used, and more room is asked for in time.
func TestCeiling(t *testing.T) {
	inWorld(t, func(w *world) {
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr, Foreign: true})), w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})))
		sa := half(1, 1)
		w.must(w.b.InstallInbound(sa))
		sa.Sequence, sa.Ceiling = 1000, 1010
		w.must(w.a.InstallOutbound(sa))
		for range 6 {
			w.delivers(w.a, w.b, aToB)
		}
		events := w.a.nextEvents()
		if len(events) != 1 || events[0].Kind != CeilingNear || events[0].SA != sa.ID || events[0].Sequence != 1010 {
			t.Fatalf("events %+v", events)
		}
		for range 4 {
			w.delivers(w.a, w.b, aToB)
		}
		w.a.send(aToB)
		if n := w.a.Counters().Drops(OutCeiling); n != 1 || len(w.b.received()) != 0 {
			t.Errorf("drops %v", drops(w.a.Datapath))
		}
		w.must(w.a.RaiseCeiling(sa.ID, 1020))
		w.delivers(w.a, w.b, aToB)
		sent := w.wire.sent(bAddr)
		if first, last := sequence(sent[0].data), sequence(sent[len(sent)-1].data); first != 1001 || last != 1011 {
			t.Errorf("numbers %d to %d", first, last)
		}
	})
}

// TestForeignEndIsLeftAlone: no probe, no greeting.
func TestForeignEndIsLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connect(PathSpec{Remote: bAddr, Foreign: true, RemoteBehindNAT: true}, PathSpec{Remote: aAddr})
		time.Sleep(time.Minute)
		w.wire.inject(frame{from: evil, to: aAddr, data: seal(t, sealerAt(t, half(1, 2), 100), bToA, 4)})
		synctest.Wait()
		time.Sleep(time.Minute)
		if n := len(w.wire.sent(bAddr)) + len(w.wire.sent(evil)); n != 0 {
			t.Errorf("%d packets were sent", n)
		}
	})
}

// TestPadding is RFC 4303 section 2.7: short packets do not show their length.
func TestPadding(t *testing.T) {
	inWorld(t, func(w *world) {
		w.protect(protection{ESP, Tunnel, UDP, false}, func(sa *SA) { sa.Outer.Pad = 1200; sa.Outer.DummyInterval = time.Second })
		for _, n := range []int{0, 50, 1000} {
			w.delivers(w.a, w.b, inner("10.9.0.1", "10.9.0.2", n))
		}
		time.Sleep(10 * time.Second)
		sent := w.wire.sent(bAddr)
		if len(sent) < 10 {
			t.Errorf("%d packets, dummies among them", len(sent))
		}
		for _, f := range sent {
			if len(f.data) != len(sent[0].data) {
				t.Errorf("packets of %d and %d bytes", len(sent[0].data), len(f.data))
			}
		}
	})
}

// TestPaddingFitsThePath: more is asked for than the path takes.
func TestPaddingFitsThePath(t *testing.T) {
	inWorld(t, func(w *world) {
		w.mtu.Store(1300)
		w.protect(protection{ESP, Tunnel, UDP, false}, func(sa *SA) { sa.Outer.Pad = 5000 })
		w.delivers(w.a, w.b, withDF(inner("10.9.0.1", "10.9.0.2", 50)))
		if sent := w.wire.sent(bAddr); len(sent) != 1 || len(sent[0].data)+28 > 1300 || len(sent[0].data)+28 < 1297 {
			t.Errorf("%d packets, the first of %d bytes", len(sent), len(sent[0].data)+28)
		}
	})
}

// TestMulticastLookup is RFC 4301 section 4.1: one SPI, told apart by destination and source.
func TestMulticastLookup(t *testing.T) {
	inWorld(t, func(w *world) {
		w.must(w.b.SetPair(pairOf("2", "1", PathSpec{Remote: aAddr})))
		one, two := half(1, 1), half(2, 1)
		two.SPI = one.SPI
		one.Destination, one.Source = bAddr.Addr(), aAddr.Addr()
		two.Destination, two.Source = bAddr.Addr(), evil.Addr()
		w.must(w.b.InstallInbound(one), w.b.InstallInbound(two))
		w.wire.inject(frame{from: aAddr, to: bAddr, data: seal(t, sealer(t, one), aToB, 4)})
		w.wire.inject(frame{from: evil, to: bAddr, data: seal(t, sealer(t, two), aToB, 4)})
		w.wire.inject(frame{from: evil, to: bAddr, data: seal(t, sealerAt(t, one, 1), aToB, 4)}) // another's key
		if got := w.b.received(); len(got) != 2 || w.b.Counters().Drops(InForged) != 1 {
			t.Errorf("%d arrived; drops %v", len(got), drops(w.b.Datapath))
		}
	})
}

// TestBadSAs: what contradicts itself is refused.
func TestBadSAs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.must(w.a.SetPair(pairOf("1", "2", PathSpec{Remote: bAddr})))
		for name, spoil := range map[string]func(*SA){
			"protocol":         func(sa *SA) { sa.Protocol = 17 },
			"AH in UDP":        func(sa *SA) { sa.Protocol = AH; sa.Transform = Transform{Integrity: 12}; sa.Key = make([]byte, 32) },
			"AH that encrypts": func(sa *SA) { sa.Protocol, sa.Encapsulation = AH, Native },
			"ESN, no window":   func(sa *SA) { sa.ReplayWindow = NoReplayWindow },
			"mode":             func(sa *SA) { sa.Mode = 7 },
			"padded transport": func(sa *SA) { sa.Mode = Transport; sa.Outer.Pad = 100 },
			"DSCP":             func(sa *SA) { sa.Outer.DSCP = 64 },
			"source alone":     func(sa *SA) { sa.Source = aAddr.Addr() },
			"half a selector":  func(sa *SA) { sa.Local = []Selector{PrefixSelector(netip.MustParsePrefix("10.0.0.0/8"))} },
			"3DES":             func(sa *SA) { sa.Transform = Transform{ID: 3, Integrity: 12}; sa.Key = make([]byte, 56) },
			"no integrity":     func(sa *SA) { sa.Transform = Transform{ID: 12, KeyBits: 128}; sa.Key = make([]byte, 16) },
			"two integrities":  func(sa *SA) { sa.Transform.Integrity = 12 },
			"nothing at all":   func(sa *SA) { sa.Transform = Transform{} },
			"reserved SPI":     func(sa *SA) { sa.SPI = 255 },
		} {
			sa := half(1, 1)
			spoil(&sa)
			if err := w.a.InstallOutbound(sa); err == nil {
				t.Errorf("%s: it was installed", name)
			}
			if err := w.a.InstallInbound(sa); err == nil {
				t.Errorf("%s: it was installed inbound", name)
			}
		}
		w.must(w.a.InstallOutbound(half(1, 1)))
	})
}

// TestTap sees each packet on both sides.
func TestTap(t *testing.T) {
	inWorld(t, func(w *world) {
		w.connectStatic()
		w.a.received()
		var seen []Tapped
		w.b.SetTap(func(p Tapped) { p.Data = bytes.Clone(p.Data); seen = append(seen, p) })
		w.delivers(w.a, w.b, aToB)
		w.delivers(w.b, w.a, bToA)
		w.b.SetTap(nil)
		w.delivers(w.a, w.b, aToB)
		if len(seen) != 4 || seen[0].Inner || !seen[0].Inbound || !seen[1].Inner || !bytes.Equal(seen[1].Data, aToB) ||
			!seen[2].Inner || seen[2].Inbound || seen[3].Inner || seen[3].Inbound || seen[3].Remote != aAddr {
			t.Errorf("seen %+v", seen)
		}
	})
}
