package spd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

func id(n int) (id [16]byte) {
	binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
	return id
}

func prefix(s string) Selector { return Prefix(netip.MustParsePrefix(s)) }

func protect(n int, priority uint32, local, remote string) Entry {
	return Entry{ID: id(n), Priority: priority, Action: Protect, Pair: id(1000 + n),
		Local: []Selector{prefix(local)}, Remote: []Selector{prefix(remote)}}
}

func flow(src, dst string) ipwire.Flow {
	return ipwire.Flow{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: ipwire.ProtoTCP, SrcPort: 1000, DstPort: 80}
}

func mustNew(t testing.TB, entries ...Entry) *Table {
	t.Helper()
	table, err := New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// linear is the SPD as RFC 4301 tells it: an ordered list, asked from the top.
func linear(entries []Entry, match func(*Entry) bool) (Entry, bool) {
	var best *Entry
	for i := range entries {
		if match(&entries[i]) && (best == nil || compareEntries(&entries[i], best) < 0) {
			best = &entries[i]
		}
	}
	if best == nil {
		return Entry{}, false
	}
	return *best, true
}

// Random tables of nested and overlapping ranges of both families, through the index and
// through the list, also after changes.
func TestTableAgainstList(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 7))
		entries := randomEntries(random, 0, 40)
		table := mustNew(t, entries...)
		compareTables(t, random, table, entries)

		more := randomEntries(random, 30, 60) // 30 to 39 take the place of others
		var err error
		if table, err = table.With(more...); err != nil {
			t.Fatal(err)
		}
		entries = append(entries[:30:30], more...)
		compareTables(t, random, table, entries)

		table = table.Without(id(3), id(35), id(59), id(12345))
		kept := entries[:0:0]
		for _, e := range entries {
			if e.ID != id(3) && e.ID != id(35) && e.ID != id(59) {
				kept = append(kept, e)
			}
		}
		compareTables(t, random, table, kept)
	}
}

func compareTables(t *testing.T, random *rand.Rand, table *Table, entries []Entry) {
	t.Helper()
	if table.Len() != len(entries) {
		t.Fatalf("%d entries, want %d", table.Len(), len(entries))
	}
	for range 500 {
		f := randomFlow(random)
		got, ok := table.Lookup(f)
		want, wantOK := linear(entries, func(e *Entry) bool { return e.MatchOutbound(f) })
		if ok != wantOK || got.ID != want.ID || got.Action != want.Action {
			t.Fatalf("Lookup(%+v) = %x, %v, want %x, %v", f, got.ID, ok, want.ID, wantOK)
		}
		inbound, ok := table.LookupInbound(f.Reverse())
		if ok != wantOK || inbound.ID != want.ID {
			t.Fatalf("LookupInbound(%+v) = %x, %v, want %x, %v", f.Reverse(), inbound.ID, ok, want.ID, wantOK)
		}
		admitted := table.Admits(want.Pair, f.Reverse())
		if admitted != (wantOK && want.Action == Protect) || table.Admits(id(99999), f) {
			t.Fatalf("Admits(%+v) = %v, the entry is %+v", f, admitted, want)
		}
	}
}

// randomAddr is one of few, so that ranges meet and nest.
func randomAddr(random *rand.Rand, v6 bool) netip.Addr {
	n := byte(random.IntN(40))
	switch {
	case v6 && random.IntN(30) == 0:
		return netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	case v6 && random.IntN(10) == 0:
		return netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: 10, 15: n}) // IPv4-mapped is IPv6
	case v6:
		return netip.AddrFrom16([16]byte{0: 0xfd, 15: n})
	case random.IntN(30) == 0:
		return netip.MustParseAddr("255.255.255.255")
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, n})
}

func randomSelectors(random *rand.Rand, v6 bool) (s []Selector) {
	for range 1 + random.IntN(3) {
		a, b := randomAddr(random, v6), randomAddr(random, v6)
		if b.Less(a) {
			a, b = b, a
		}
		if random.IntN(3) == 0 {
			b = a
		}
		ports := []Ports{AnyPorts(), AnyPorts(), OpaquePorts(), {80, 80}, {0, 1023}, {1024, 65535}}[random.IntN(6)]
		s = append(s, Selector{a, b, []uint8{0, 0, 6, 17}[random.IntN(4)], ports})
	}
	return s
}

func randomEntries(random *rand.Rand, from, to int) (entries []Entry) {
	for n := from; n < to; n++ {
		v6 := random.IntN(2) == 0
		e := Entry{ID: id(n), Priority: random.Uint32N(20), Action: Action(random.IntN(3)),
			Local: randomSelectors(random, v6), Remote: randomSelectors(random, v6)}
		if e.Action == Protect {
			e.Pair = id(1000 + n)
		}
		entries = append(entries, e)
	}
	return entries
}

func randomFlow(random *rand.Rand) ipwire.Flow {
	v6 := random.IntN(2) == 0
	f := ipwire.Flow{Src: randomAddr(random, v6), Dst: randomAddr(random, v6), Proto: []uint8{6, 17, 47}[random.IntN(3)]}
	if f.Proto == 47 || random.IntN(5) == 0 {
		f.Opaque = true
	} else {
		f.SrcPort, f.DstPort = []uint16{0, 80, 5000, 65535}[random.IntN(4)], []uint16{0, 80, 5000, 65535}[random.IntN(4)]
	}
	return f
}

func TestEmptyDiscards(t *testing.T) {
	for name, table := range map[string]*Table{"zero": {}, "new": mustNew(t), "emptied": mustNew(t, protect(1, 1, "0.0.0.0/0", "0.0.0.0/0")).Without(id(1))} {
		if e, ok := table.Lookup(flow("10.0.0.1", "10.0.0.2")); ok || e.Action != Discard {
			t.Errorf("%s table: %v, %v", name, e.Action, ok)
		}
		if table.Admits([16]byte{}, flow("10.0.0.1", "10.0.0.2")) {
			t.Errorf("%s table admits", name)
		}
		if _, ok := table.Lookup(ipwire.Flow{}); ok {
			t.Errorf("%s table has an entry for a flow without addresses", name)
		}
	}
}

func TestOrder(t *testing.T) {
	narrow, wide := protect(1, 10, "10.0.0.1/32", "10.0.0.2/32"), protect(2, 20, "10.0.0.0/8", "10.0.0.0/8")
	discard := Entry{ID: id(3), Priority: 15, Action: Discard, Local: wide.Local, Remote: []Selector{prefix("10.0.0.0/24")}}
	table := mustNew(t, wide, discard, narrow)
	for _, tt := range []struct {
		src, dst string
		want     Entry
	}{
		{"10.0.0.1", "10.0.0.2", narrow},
		{"10.0.0.1", "10.0.0.3", discard},
		{"10.0.0.9", "10.0.0.2", discard},
		{"10.0.0.1", "10.0.1.0", wide},
		{"10.0.0.1", "10.255.255.255", wide},
	} {
		if got, ok := table.Lookup(flow(tt.src, tt.dst)); !ok || got.ID != tt.want.ID {
			t.Errorf("%s to %s: entry %x, want %x", tt.src, tt.dst, got.ID, tt.want.ID)
		}
	}
	for _, dst := range []string{"9.255.255.255", "11.0.0.0", "0.0.0.0", "255.255.255.255", "::ffff:10.0.0.2", "fd00::1"} {
		if got, ok := table.Lookup(flow("10.0.0.1", dst)); ok {
			t.Errorf("to %s: entry %x, want none", dst, got.ID)
		}
	}
	for i, e := range table.Entries() {
		if want := []Entry{narrow, discard, wide}[i]; e.ID != want.ID {
			t.Errorf("entry %d is %x, want %x", i, e.ID, want.ID)
		}
	}
}

// What one pair's SA carries must be that pair's traffic, whoever holds the key.
func TestAdmits(t *testing.T) {
	a, b := protect(1, 10, "10.0.0.1/32", "10.0.0.2/32"), protect(2, 10, "10.0.0.1/32", "10.0.0.3/32")
	table := mustNew(t, a, b)
	if !table.Admits(a.Pair, flow("10.0.0.2", "10.0.0.1")) {
		t.Error("the pair's own traffic is refused")
	}
	for name, tt := range map[string]struct {
		pair     [16]byte
		src, dst string
	}{
		"source of another pair":  {a.Pair, "10.0.0.3", "10.0.0.1"},
		"foreign destination":     {a.Pair, "10.0.0.2", "10.0.0.9"},
		"own source address":      {a.Pair, "10.0.0.1", "10.0.0.1"},
		"the direction backwards": {a.Pair, "10.0.0.1", "10.0.0.2"},
		"unknown pair":            {id(77), "10.0.0.2", "10.0.0.1"},
		"no pair":                 {[16]byte{}, "10.0.0.2", "10.0.0.1"},
	} {
		if table.Admits(tt.pair, flow(tt.src, tt.dst)) {
			t.Errorf("%s is admitted", name)
		}
	}
	shadow := Entry{ID: id(3), Priority: 1, Action: Bypass, Local: a.Local, Remote: a.Remote}
	shadowed, err := table.With(shadow)
	if err != nil {
		t.Fatal(err)
	}
	if shadowed.Admits(a.Pair, flow("10.0.0.2", "10.0.0.1")) {
		t.Error("traffic is admitted that an earlier entry bypasses")
	}
}

// A builder's caller keeps its slices, and a reader its table.
func TestImmutable(t *testing.T) {
	entries := []Entry{protect(1, 10, "10.0.0.1/32", "10.0.0.2/32")}
	table := mustNew(t, entries...)
	entries[0].Remote[0], entries[0].Action = prefix("10.9.9.9/32"), Bypass
	next, err := table.With(protect(1, 10, "10.0.0.1/32", "10.0.0.7/32"), protect(2, 10, "10.0.0.1/32", "10.0.0.8/32"))
	if err != nil {
		t.Fatal(err)
	}
	next.Without(id(1), id(2))
	if e, ok := table.Lookup(flow("10.0.0.1", "10.0.0.2")); !ok || e.Action != Protect || table.Len() != 1 {
		t.Error("the old table has changed")
	}
	if _, ok := next.Lookup(flow("10.0.0.1", "10.0.0.8")); !ok || next.Len() != 2 {
		t.Error("the new table has changed")
	}
	if _, ok := next.Lookup(flow("10.0.0.1", "10.0.0.2")); ok {
		t.Error("the replaced entry is still there")
	}
}

func TestInvalidEntries(t *testing.T) {
	good := protect(1, 1, "10.0.0.0/24", "10.0.1.0/24")
	selector := func(change func(*Selector)) func(*Entry) {
		return func(e *Entry) {
			s := e.Remote[0]
			change(&s)
			e.Remote = []Selector{s}
		}
	}
	for name, tt := range map[string]struct {
		change func(*Entry)
		want   error
	}{
		"action 3":               {func(e *Entry) { e.Action = 3 }, ErrEntry},
		"PROTECT without a pair": {func(e *Entry) { e.Pair = [16]byte{} }, ErrEntry},
		"BYPASS with a pair":     {func(e *Entry) { e.Action = Bypass }, ErrEntry},
		"no local selector":      {func(e *Entry) { e.Local = nil }, ErrEntry},
		"no remote selector":     {func(e *Entry) { e.Remote = nil }, ErrEntry},
		"256 selectors":          {func(e *Entry) { e.Local = make([]Selector, 256) }, ErrEntry},
		"no address":             {selector(func(s *Selector) { *s = Prefix(netip.Prefix{}) }), ErrSelector},
		"no last address":        {selector(func(s *Selector) { s.Last = netip.Addr{} }), ErrSelector},
		"two families":           {selector(func(s *Selector) { s.Last = netip.MustParseAddr("fd00::1") }), ErrSelector},
		"zone":                   {selector(func(s *Selector) { s.First, s.Last = netip.MustParseAddr("fe80::1%a"), netip.MustParseAddr("fe80::2") }), ErrSelector},
		"range upside down":      {selector(func(s *Selector) { s.First, s.Last = s.Last, s.First }), ErrSelector},
		"ports upside down":      {selector(func(s *Selector) { s.Ports = Ports{2, 1} }), ErrSelector},
	} {
		e := good
		tt.change(&e)
		if _, err := New([]Entry{e}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := New([]Entry{good, good}); !errors.Is(err, ErrEntry) {
		t.Errorf("the same ID twice: %v", err)
	}
	if _, err := New([]Entry{good}); err != nil {
		t.Errorf("a good entry: %v", err)
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table := pairs(t, 200)
	f := flow("10.0.0.1", "10.1.0.77")
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := table.Lookup(f); !ok || table.Admits(id(1), f.Reverse()) {
			t.Fatal("wrong entry")
		}
	}); n != 0 {
		t.Errorf("%v allocations per lookup", n)
	}
}

// pairs is a host's SPD in a mesh: an address of each family for each other host, some
// with a subnet behind them.
func pairs(t testing.TB, n int) *Table {
	var entries []Entry
	for i := range n {
		e := protect(i, 100, "10.0.0.1/32", fmt.Sprintf("10.1.%d.%d/32", i/256, i%256))
		e.Remote = append(e.Remote, prefix(fmt.Sprintf("fd00::%x/128", i+2)))
		e.Local = append(e.Local, prefix("fd00::1/128"))
		if i%10 == 0 {
			e.Remote = append(e.Remote, prefix(fmt.Sprintf("172.%d.%d.0/24", 16+i/2560, i/10%256)))
		}
		entries = append(entries, e)
	}
	return mustNew(t, entries...)
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1, 2000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, f := pairs(b, n), flow("10.0.0.1", "10.1.0.0")
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := table.Lookup(f); !ok {
					b.Fatal("no entry")
				}
			}
		})
	}
}

func BenchmarkWith2000(b *testing.B) {
	table := pairs(b, 2000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := table.With(protect(5, 1, "10.0.0.1/32", "10.9.0.1/32")); err != nil {
			b.Fatal(err)
		}
	}
}
