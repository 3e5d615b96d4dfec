package sad

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

var (
	groupA, groupB   = netip.MustParseAddr("233.252.0.1"), netip.MustParseAddr("ff3e::1")
	senderA, senderB = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	senderC          = netip.MustParseAddr("2001:db8::1")
)

func groupSA(n int, spi uint32, dst, src netip.Addr) SA {
	sa := testSA(n, n, 1, Inbound)
	sa.SPI, sa.Destination, sa.Source = spi, dst, src
	return sa
}

// The longest match wins, RFC 4301 section 4.1, and what is removed is not found.
func TestInboundFor(t *testing.T) {
	d := NewDatabase[[16]byte]()
	none := netip.Addr{}
	mustInstall(t, d,
		groupSA(1, 300, none, none),
		groupSA(2, 300, groupA, none),
		groupSA(3, 300, groupA, senderA),
		groupSA(4, 301, groupA, none),
		groupSA(5, 302, groupB, senderC),
		groupSA(6, 303, none, none),
		groupSA(7, 300, senderA, none), // a unicast destination is as good
	)
	check := func(step string, want map[string]int) {
		t.Helper()
		v := d.View()
		for _, spi := range []uint32{300, 301, 302, 303, 304} {
			for _, dst := range []netip.Addr{none, groupA, groupB, senderA} {
				for _, src := range []netip.Addr{none, senderA, senderB, senderC} {
					got, ok := v.InboundFor(spi, dst, src)
					n, wantOK := want[fmt.Sprint(spi, dst, src)]
					if !wantOK {
						n, wantOK = want[fmt.Sprint(spi, dst)]
					}
					if !wantOK {
						n, wantOK = want[fmt.Sprint(spi)]
					}
					if ok != wantOK || ok && got != id(n) {
						t.Errorf("%s: SPI %d from %v to %v: SA %x, %v, want %d, %v", step, spi, src, dst, got, ok, n, wantOK)
					}
				}
			}
			if got, ok := v.Inbound(spi); ok != (want[fmt.Sprint(spi)] != 0) || ok && got != id(want[fmt.Sprint(spi)]) {
				t.Errorf("%s: SPI %d alone: SA %x, %v", step, spi, got, ok)
			}
		}
	}
	all := map[string]int{"300": 1, fmt.Sprint(300, groupA): 2, fmt.Sprint(300, groupA, senderA): 3, fmt.Sprint(301, groupA): 4,
		fmt.Sprint(302, groupB, senderC): 5, "303": 6, fmt.Sprint(300, senderA): 7}
	check("all", all)
	for _, removed := range []int{3, 1, 4, 5, 2, 7, 6} {
		d.Remove(id(removed))
		for k, n := range all {
			if n == removed {
				delete(all, k)
			}
		}
		check(fmt.Sprintf("without %d", removed), all)
	}
}

// Two SAs clash when SPI, destination and source are the same, and else not.
func TestSPIClashOfGroups(t *testing.T) {
	d := NewDatabase[[16]byte]()
	none := netip.Addr{}
	keys := [][2]netip.Addr{{none, none}, {groupA, none}, {groupB, none}, {groupA, senderA}, {groupA, senderB}, {groupB, senderC}}
	for n, k := range keys {
		mustInstall(t, d, groupSA(n+1, 300, k[0], k[1]))
	}
	for n, k := range keys {
		sa := groupSA(n+101, 300, k[0], k[1])
		if installed, err := install(d, sa); installed || !errors.Is(err, ErrSPIClash) {
			t.Errorf("second SA of %v: %v, %v", k, installed, err)
		}
		d.Remove(id(n + 1))
		mustInstall(t, d, sa)
	}
	moved := groupSA(101, 300, groupA, none)
	if installed, err := install(d, moved); installed || !errors.Is(err, ErrIDClash) {
		t.Errorf("the same ID with another destination: %v, %v", installed, err)
	}
}

func TestAddressesMalformed(t *testing.T) {
	mapped, zoned := netip.MustParseAddr("::ffff:233.252.0.1"), netip.MustParseAddr("ff02::1%eth0")
	for name, change := range map[string]func(*SA){
		"source alone":            func(s *SA) { s.Source = senderA },
		"two families":            func(s *SA) { s.Destination, s.Source = groupA, senderC },
		"IPv4-mapped destination": func(s *SA) { s.Destination = mapped },
		"IPv4-mapped source":      func(s *SA) { s.Destination, s.Source = groupB, mapped },
		"destination with a zone": func(s *SA) { s.Destination = zoned },
		"source with a zone":      func(s *SA) { s.Destination, s.Source = groupB, zoned },
		"outbound":                func(s *SA) { s.Direction, s.Destination = Outbound, groupA },
	} {
		d := NewDatabase[[16]byte]()
		sa := testSA(1, 1, 1, Inbound)
		change(&sa)
		if installed, err := install(d, sa); installed || !errors.Is(err, ErrSA) || d.Len() != 0 {
			t.Errorf("%s: %v, %v", name, installed, err)
		}
	}
}

// Narrowed SAs stand beside the pair's own, and each is renewed alone.
func TestNarrowed(t *testing.T) {
	d := NewDatabase[[16]byte]()
	add := func(n int, generation uint32, narrowed bool) {
		t.Helper()
		sa := testSA(n, 1, generation, Outbound)
		sa.Narrowed = narrowed
		mustInstall(t, d, sa)
	}
	check := func(step string, newest int, narrowed ...int) {
		t.Helper()
		v := d.View()
		got, ok := v.Outbound(id(1001))
		if ok != (newest != 0) || ok && got != id(newest) {
			t.Errorf("%s: outbound SA %x, %v, want %d", step, got, ok, newest)
		}
		var want [][16]byte
		for _, n := range narrowed {
			want = append(want, id(n))
		}
		if got := v.Narrowed(id(1001)); !slices.Equal(got, want) {
			t.Errorf("%s: narrowed %x, want %v", step, got, narrowed)
		}
	}
	check("nothing", 0)
	add(1, 1, true)
	check("one narrowed", 0, 1)
	first := d.View()
	add(2, 2, false)
	add(3, 3, true)
	add(4, 4, false)
	check("two of each", 4, 3, 1)
	d.Remove(id(4))
	check("the newest is gone", 2, 3, 1)
	d.Remove(id(1))
	check("the oldest is gone", 2, 3)
	d.Remove(id(2))
	d.Remove(id(3))
	check("all gone", 0)
	if got := first.Narrowed(id(1001)); len(got) != 1 || got[0] != id(1) {
		t.Errorf("an earlier picture has changed: %x", got)
	}
}

// many installs n SAs of each direction, with a View after each.
func many(tb testing.TB, n int) *Database[*int] {
	d := NewDatabase[*int]()
	value := new(int)
	for i := range n {
		for _, direction := range []Direction{Inbound, Outbound} {
			sa := SA{ID: [16]byte{byte(direction), byte(i >> 16), byte(i >> 8), byte(i)}, Pair: [16]byte{1, byte(i >> 16), byte(i >> 8), byte(i)},
				Generation: 1, SPI: uint32(1000 + i), Direction: direction}
			if _, err := d.Install(sa, func() (*int, error) { return value, nil }); err != nil {
				tb.Fatal(err)
			}
			d.View()
		}
	}
	return d
}

func BenchmarkInbound(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := many(b, n).View()
			i := uint32(0)
			for b.Loop() {
				i = i*1664525 + 1013904223
				if _, ok := v.InboundFor(1000+i>>8%uint32(n), groupA, senderA); !ok {
					b.Fatal("no SA")
				}
			}
		})
	}
}

func BenchmarkInboundOfGroup(b *testing.B) {
	d := many(b, 10_000)
	if _, err := d.Install(groupSA(1, 300, groupA, senderA), func() (*int, error) { return new(int), nil }); err != nil {
		b.Fatal(err)
	}
	v := d.View()
	for b.Loop() {
		if _, ok := v.InboundFor(300, groupA, senderA); !ok {
			b.Fatal("no SA")
		}
	}
}

func BenchmarkOutbound(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := many(b, n).View()
			i := uint32(0)
			for b.Loop() {
				i = i*1664525 + 1013904223
				k := i >> 8 % uint32(n)
				if _, ok := v.Outbound([16]byte{1, byte(k >> 16), byte(k >> 8), byte(k)}); !ok {
					b.Fatal("no SA")
				}
			}
		})
	}
}

// BenchmarkInstall replaces one SA and makes a View, beside so many others.
func BenchmarkInstall(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := many(b, n)
			sa := testSA(60_000, 1, 0, Inbound)
			value := new(int)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				old := sa.ID
				sa.ID = [16]byte{9, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
				sa.Generation++
				d.Remove(old)
				if _, err := d.Install(sa, func() (*int, error) { return value, nil }); err != nil {
					b.Fatal(err)
				}
				d.View()
			}
		})
	}
}
