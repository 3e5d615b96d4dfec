package spd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Random flows over changing tables, through caches so small that they forget all the time.
func TestCacheAgainstTable(t *testing.T) {
	for _, size := range []int{0, 1, 5, 64, 4096} {
		random := rand.New(rand.NewPCG(uint64(size), 3))
		c := NewCache(size)
		tables := []*Table{{}, mustNew(t, randomEntries(random, 0, 30)...), mustNew(t, randomEntries(random, 0, 30)...)}
		for range 200 {
			table := tables[random.IntN(len(tables))]
			for range 50 {
				f := randomFlow(random)
				if random.IntN(4) == 0 {
					f.Fragment, f.Opaque = true, true
				}
				explainAgrees(t, table, f)
				for range 2 {
					got, ok := c.Lookup(table, f)
					if want, wantOK := table.Find(f); got != want || ok != wantOK {
						t.Fatalf("%d flows: Lookup(%+v) = %+v, %v, want %+v, %v", size, f, got, ok, want, wantOK)
					}
					got, ok = c.LookupInbound(table, f)
					if want, wantOK := table.FindInbound(f); got != want || ok != wantOK {
						t.Fatalf("%d flows: LookupInbound(%+v) = %+v, %v, want %+v, %v", size, f, got, ok, want, wantOK)
					}
				}
			}
		}
	}
}

// Flows that differ in one field alone are flows of their own.
func TestCacheKey(t *testing.T) {
	c, table := NewCache(64), mustNew(t, protect(1, 1, "10.0.0.1/32", "10.0.0.2/32"))
	base := flow("10.0.0.1", "10.0.0.2")
	if _, ok := c.Lookup(table, base); !ok {
		t.Fatal("no entry")
	}
	http := base
	http.DstPort = 81
	fragment, opaque := base, base
	fragment.Fragment, opaque.Opaque = true, true
	c.Lookup(table, flow("10.0.0.1", "10.0.0.3"))
	for name, f := range map[string]ipwire.Flow{"port": http, "fragment": fragment, "opaque": opaque, "base": base} {
		if got, ok := c.Lookup(table, f); !ok || got.ID != id(1) {
			t.Errorf("%s: %v", name, ok)
		}
	}
	if _, ok := c.LookupInbound(table, base); ok {
		t.Error("the inbound lookup has got the outbound one's answer")
	}
	if _, ok := c.Lookup(table, flow("::ffff:10.0.0.1", "::ffff:10.0.0.2")); ok {
		t.Error("an IPv4-mapped flow has got IPv4's answer")
	}
}

// After 2^32 tables the rounds begin again, and nothing of the first ones is left.
func TestCacheRoundWraps(t *testing.T) {
	c := NewCache(64)
	with, without := mustNew(t, protect(1, 1, "10.0.0.1/32", "10.0.0.2/32")), new(Table)
	f := flow("10.0.0.1", "10.0.0.2")
	c.Lookup(with, f) // round 1
	c.round = math.MaxUint32
	if _, ok := c.Lookup(without, f); ok || c.round != 1 {
		t.Errorf("the answer of another table of round 1: %v, round %d", ok, c.round)
	}
}

func TestCacheDoesNotAllocate(t *testing.T) {
	c, table, other := NewCache(64), pairs(t, 200), pairs(t, 10)
	random := rand.New(rand.NewPCG(1, 1))
	if n := testing.AllocsPerRun(1000, func() {
		f := randomFlow(random)
		c.Lookup(table, f)
		c.LookupInbound(table, f)
		c.Lookup(other, f)
	}); n != 0 {
		t.Errorf("%v allocations per lookup", n)
	}
}

func BenchmarkCache(b *testing.B) {
	for _, n := range []int{1, 2000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, table, f := NewCache(4096), pairs(b, n), flow("10.0.0.1", "10.1.0.0")
			b.ReportAllocs()
			for i := uint16(0); b.Loop(); i++ {
				f.SrcPort = i % 512
				if _, ok := c.Lookup(table, f); !ok {
					b.Fatal("no entry")
				}
			}
		})
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 2000, 20000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, f := pairs(b, n), flow("10.0.0.1", "10.1.0.0")
			for b.Loop() {
				if _, ok := table.Find(f); !ok {
					b.Fatal("no entry")
				}
			}
		})
	}
}

// The flows of many hosts and ports spread over the sets: a cache twice their number holds most of them.
func TestCacheHolds(t *testing.T) {
	for _, format := range []string{"10.1.%d.%d", "fd00:%x:%x::1", "fd00::%x:%x"} {
		c := NewCache(8192)
		sets := map[uint64]int{}
		for n := range 4096 {
			f := ipwire.Flow{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr(fmt.Sprintf(format, n/256, n%256)), Proto: 6, SrcPort: uint16(40000 + n%7), DstPort: 443}
			sets[hash(f)&uint64(len(c.sets)-1)]++
		}
		lost := 0
		for _, n := range sets {
			lost += max(n-ways, 0)
		}
		if lost > 4096/10 {
			t.Errorf("%s: %d of 4096 flows find no room in %d sets", format, lost, len(c.sets))
		}
	}
}
