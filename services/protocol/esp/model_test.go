package esp_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/replay"
	"sallyport.dev/sallyport/services/protocol/sad"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// The whole inbound path, as RFC 4301 section 5.2 has it, beside a slow and obviously right one:
//
//	sender ─seal─▶ network: drops, doubles, delays, damages ─▶ SAD ─▶ window ─▶ ICV ─▶ window ─▶ SPD ─▶ accepted?
//	         │                                                                                          ║ the same?
//	         └─ what was sealed, with its number ─▶ list of SAs ─▶ set of all numbers ─▶ list of entries ─▶ accepted?

// outcome is what became of a packet.
type outcome int

const (
	accepted outcome = iota
	unknown          // no SA, or the ICV is wrong
	replayed
	late
	refused // by the SPD
)

// modelSA is an inbound SA and its slow double.
type modelSA struct {
	sad.SA
	config esp.Config
	sealer *esp.Sealer
	opener *esp.Opener

	seen map[uint64]bool // every number accepted, ever
	top  uint64
}

// sent is a packet under way. inner is what it carries, an IP datagram, also in transport mode.
type sent struct {
	sa       *modelSA
	seq      uint64
	packet   []byte
	dst, src netip.Addr // outer
	inner    []byte
}

type world struct {
	*rand.Rand
	seed    uint64
	sas     []*modelSA
	view    *sad.View[*modelSA]
	entries []spd.Entry
	table   *spd.Table
	cache   *spd.Cache
	flying  []sent
	counts  map[outcome]int
}

var modelPairs = [][16]byte{{1}, {2}, {3}}

func (w *world) addr() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(w.IntN(6))}) }

func (w *world) selector() spd.Selector {
	a, b := w.addr(), w.addr()
	if b.Less(a) {
		a, b = b, a
	}
	ports := []spd.Ports{spd.AnyPorts(), spd.AnyPorts(), spd.AnyPorts(), {First: 0, Last: 1}, spd.OpaquePorts()}[w.IntN(5)]
	return spd.Selector{First: a, Last: b, Proto: []uint8{0, 0, 0, ipwire.ProtoUDP, ipwire.ProtoTCP}[w.IntN(5)], Ports: ports}
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 99)), seed: seed, cache: spd.NewCache(8), counts: map[outcome]int{}}
	for n := range 1 + w.IntN(8) {
		e := spd.Entry{ID: [16]byte{byte(n)}, Priority: w.Uint32N(4), Action: spd.Action(w.IntN(4)), // more PROTECT than others
			Local: []spd.Selector{w.selector(), w.selector()}, Remote: []spd.Selector{w.selector(), w.selector()}}
		if e.Action >= spd.Protect {
			e.Action, e.Pair = spd.Protect, modelPairs[w.IntN(len(modelPairs))]
		}
		w.entries = append(w.entries, e)
	}
	var err error
	if w.table, err = spd.New(w.entries); err != nil {
		t.Fatal(err)
	}
	database := sad.NewDatabase[*modelSA]()
	for n := range 3 {
		sa := w.newSA(t, n)
		if _, err := database.Install(sa.SA, func() (*modelSA, error) { return sa, nil }); err == nil {
			w.sas = append(w.sas, sa) // some clash, and are not there
		}
	}
	w.view = database.View()
	return w
}

func (w *world) newSA(t *testing.T, n int) *modelSA {
	suite, err := transform.ParseSuite([]string{"aes128gcm16", "null-sha256", "chacha20poly1305", "aes128-sha256"}[w.IntN(4)])
	if err != nil {
		t.Fatal(err)
	}
	keymat := make(transform.Keymat, suite.KeymatLen())
	for i := range keymat {
		keymat[i] = byte(w.Uint32())
	}
	sa := &modelSA{
		SA: sad.SA{ID: [16]byte{byte(n + 1)}, Pair: modelPairs[n], Generation: 1, SPI: 256 + w.Uint32N(4), Direction: sad.Inbound},
		config: esp.Config{Encryption: suite.Encryption, Integrity: suite.Integrity, Keymat: keymat, ESN: w.IntN(2) == 0,
			Transport: w.IntN(3) == 0, Window: []int{0, 32, 33, 63, 64, 65, 100, 500, 4096, replay.Off}[w.IntN(10)]},
		seen: map[uint64]bool{0: true},
	}
	if w.IntN(2) == 0 { // several SAs have one SPI, and are told apart by the addresses
		sa.Destination = w.addr()
		if w.IntN(2) == 0 {
			sa.Source = w.addr()
		}
	}
	sa.config.SPI = sa.SPI
	if sa.config.Window == replay.Off {
		sa.config.ESN = false
	}
	if sa.opener, err = esp.NewOpener(sa.config); err != nil {
		t.Fatal(err)
	}
	sa.goOnAfter(t, 0)
	return sa
}

// goOnAfter makes the sender's last number seq.
func (sa *modelSA) goOnAfter(t *testing.T, seq uint64) {
	c := sa.config
	c.Sequence = seq
	var err error
	if sa.sealer, err = esp.NewSealer(c); err != nil {
		t.Fatal(err)
	}
}

// size is the width of the SA's window; 0 is off.
func (sa *modelSA) size() uint64 {
	switch sa.config.Window {
	case 0:
		return replay.DefaultSize
	case replay.Off:
		return 0
	}
	return uint64(sa.config.Window)
}

// skip moves the sender's numbers on, as if packets had been lost, at times to just before 2^32 or a multiple.
func (w *world) skip(t *testing.T, sa *modelSA) {
	seq := sa.sealer.Seq() + w.Uint64N(2*sa.size()+100)
	if w.IntN(3) == 0 {
		seq = (seq>>31+1)<<31 - 1 - w.Uint64N(2*sa.size()+50)
	}
	if seq < sa.sealer.Seq() || !sa.config.ESN && seq > 1<<32-500 {
		return
	}
	sa.goOnAfter(t, seq)
}

// send seals a packet of random addresses, protocol and ports, and leaves it to the network.
func (w *world) send(t *testing.T) {
	sa := w.sas[w.IntN(len(w.sas))]
	if w.IntN(6) == 0 {
		w.skip(t, sa)
	}
	inner := make([]byte, 40+w.IntN(60))
	h := ipwire.IPv4Header{TTL: 64, Protocol: []uint8{ipwire.ProtoUDP, ipwire.ProtoTCP, 47}[w.IntN(3)], Src: w.addr(), Dst: w.addr()}
	for i := range inner {
		inner[i] = byte(w.IntN(3)) // ports, mostly; lengths of the transport do not matter here
	}
	if _, err := ipwire.PutIPv4(inner, h); err != nil {
		t.Fatal(err)
	}
	if w.IntN(5) == 0 && !sa.config.Transport {
		inner[7] = 1 // fragment offset
	}
	s := sent{sa: sa, src: w.addr(), dst: w.addr(), inner: inner}
	if sa.Destination.IsValid() && w.IntN(4) > 0 {
		s.dst = sa.Destination
	}
	if sa.Source.IsValid() && w.IntN(4) > 0 {
		s.src = sa.Source
	}
	payload, next := inner, esp.NextHeaderIPv4
	if sa.config.Transport {
		payload, next = inner[ipwire.IPv4MinHeaderLen:], h.Protocol
	}
	var err error
	if s.packet, err = sa.sealer.Seal(make([]byte, 0, 256), payload, next); err != nil {
		t.Fatal(err)
	}
	s.seq = sa.sealer.Seq()
	w.flying = append(w.flying, s)
}

// receive is the path under test.
func (w *world) receive(t *testing.T, s sent, packet []byte) (outcome, []byte) {
	spi, err := esp.SPI(packet)
	if err != nil {
		return unknown, nil
	}
	sa, ok := w.view.InboundFor(spi, s.dst, s.src)
	if !ok {
		return unknown, nil
	}
	opened, err := sa.opener.Open(packet)
	switch err {
	case nil:
	case esp.ErrReplayed:
		return replayed, nil
	case esp.ErrLate:
		return late, nil
	case esp.ErrICV, esp.ErrShort, esp.ErrAlignment:
		return unknown, nil
	default:
		t.Fatalf("%v", err)
	}
	datagram := opened.Payload
	if sa.config.Transport {
		datagram = append(bytes.Clone(s.inner[:ipwire.IPv4MinHeaderLen]), opened.Payload...) // the outer header's part
	}
	flow, err := ipwire.ParseFlow(datagram)
	if err != nil {
		t.Fatal(err)
	}
	admitted := w.table.Admits(sa.Pair, flow)
	if e, ok := w.cache.LookupInbound(w.table, flow); admitted != (ok && e.Action == spd.Protect && e.Pair == sa.Pair) {
		t.Fatalf("the cache gives %+v for %+v, Admits says %v", e, flow, admitted)
	}
	if !admitted {
		return refused, nil
	}
	return accepted, datagram
}

// expect is the slow path. It knows which number the packet was sealed under, and whether it was damaged.
// unknown stands for each reason to drop it that moves nothing: its number may look old to another SA, or in
// another 2^32.
func (w *world) expect(t *testing.T, s sent, damaged bool) outcome {
	if damaged || w.slowSA(s) != s.sa {
		return unknown
	}
	sa := s.sa
	switch size := sa.size(); {
	case size == 0:
	case s.seq+size <= sa.top && sa.config.ESN: // its low half is taken for one of the next 2^32
		return unknown
	case s.seq+size <= sa.top:
		return late
	case sa.config.ESN && s.seq+size >= 1<<32+sa.top+1: // and its of the last
		return unknown
	case sa.seen[s.seq]:
		return replayed
	}
	sa.seen[s.seq] = true
	sa.top = max(sa.top, s.seq)
	if !w.slowAdmits(sa.Pair, s.inner) {
		return refused
	}
	return accepted
}

// slowSA asks all SAs, and takes the one with the most addresses.
func (w *world) slowSA(s sent) (best *modelSA) {
	for _, sa := range w.sas {
		if sa.SPI != s.sa.SPI || sa.Destination.IsValid() && sa.Destination != s.dst || sa.Source.IsValid() && sa.Source != s.src {
			continue
		}
		if best == nil || sa.Source.IsValid() || sa.Destination.IsValid() && !best.Source.IsValid() {
			best = sa
		}
	}
	return best
}

func (w *world) slowAdmits(pair [16]byte, datagram []byte) bool {
	var first *spd.Entry
	for i := range w.entries {
		e := &w.entries[i]
		before := first == nil || e.Priority < first.Priority || e.Priority == first.Priority && e.ID[0] < first.ID[0]
		if before && slowMatch(e.Remote, datagram, 0) && slowMatch(e.Local, datagram, 1) {
			first = e
		}
	}
	return first != nil && first.Pair == pair
}

// slowMatch reads an IPv4 header without options from its bytes. end is 0 for the source, 1 for the destination.
func slowMatch(selectors []spd.Selector, datagram []byte, end int) bool {
	addr, port := datagram[15+4*end], uint16(datagram[20+2*end])<<8|uint16(datagram[21+2*end])
	noPorts := datagram[9] == 47 || datagram[7] != 0
	for _, s := range selectors {
		portOK := s.Ports == spd.AnyPorts() || !noPorts && s.Ports.First <= port && port <= s.Ports.Last || noPorts && s.Ports == spd.OpaquePorts()
		if s.First.As4()[3] <= addr && addr <= s.Last.As4()[3] && (s.Proto == 0 || s.Proto == datagram[9]) && portOK {
			return true
		}
	}
	return false
}

// deliver lets one packet arrive, whole or damaged, and compares.
func (w *world) deliver(t *testing.T) {
	at := w.IntN(len(w.flying))
	if w.IntN(3) > 0 {
		at = max(len(w.flying)-1-w.IntN(4), 0) // mostly a late one
	}
	s := w.flying[at]
	packet := bytes.Clone(s.packet)
	damaged := w.IntN(5) == 0
	if damaged {
		packet[4+w.IntN(len(packet)-4)] ^= 1 << w.IntN(8)
	}
	want := w.expect(t, s, damaged)
	got, datagram := w.receive(t, s, packet)
	if got != want && (want != unknown || got != replayed && got != late) {
		t.Fatalf("seed %d: packet %#x of window %d, ESN %v, top %#x, damaged %v: outcome %d, want %d", w.seed, s.seq, s.sa.size(), s.sa.config.ESN, s.sa.top, damaged, got, want)
	}
	if got == accepted && !bytes.Equal(datagram, s.inner) {
		t.Fatalf("seed %d: packet %#x: delivered %x, want %x", w.seed, s.seq, datagram, s.inner)
	}
	if s.sa.opener.Top() != s.sa.top {
		t.Fatalf("seed %d: packet %#x: the window's top is %#x, want %#x", w.seed, s.seq, s.sa.opener.Top(), s.sa.top)
	}
	w.counts[want]++
}

func TestInboundAgainstModel(t *testing.T) {
	counts := map[outcome]int{}
	crossed := 0
	for seed := range uint64(2500) {
		w := newWorld(t, seed)
		for range 250 {
			if w.IntN(2) == 0 || len(w.flying) == 0 {
				w.send(t)
			}
			if w.IntN(4) > 0 {
				w.deliver(t)
			}
			if at := w.IntN(len(w.flying)); w.IntN(8) == 0 && len(w.flying) > 1 {
				w.flying = slices.Delete(w.flying, at, at+1)
			}
		}
		for o, n := range w.counts {
			counts[o] += n
		}
		for _, sa := range w.sas {
			if sa.top >= 1<<32 {
				crossed++
			}
		}
	}
	for o, least := range map[outcome]int{accepted: 10_000, unknown: 10_000, replayed: 1000, late: 500, refused: 10_000} {
		if counts[o] < least {
			t.Errorf("outcome %d came %d times: the test is too tame", o, counts[o])
		}
	}
	if crossed < 500 {
		t.Errorf("%d SAs have come past 2^32", crossed)
	}
}
