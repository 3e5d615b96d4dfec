package plan_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// BenchmarkFleet2000 takes a full mesh of 2,000 hosts, 1,999,000 pairs, through a day in its life: all
// join, twenty agents restart, everything is rekeyed, twenty hosts leave. Agents ack at once. It prints
// the time and memory of each part, and fails unless the fleet converges each time.
func BenchmarkFleet2000(b *testing.B) {
	for b.Loop() {
		f := newBigFleet(2000)
		f.part(b, "join", func() { f.stepAll(f.world.Pairs()) })
		f.part(b, "20 restarts", func() {
			for n := range 20 {
				f.restart(n * 100)
			}
		})
		f.part(b, "rekey of everything", func() {
			f.now = f.now.Add(2 * time.Hour)
			f.stepAll(f.world.Pairs())
			f.now = f.now.Add(time.Minute)
			f.stepAll(f.world.Pairs())
		})
		f.part(b, "20 hosts leave", func() {
			for n := range 20 {
				f.leave(n*100 + 1)
			}
		})
	}
}

// BenchmarkSetHost is what one host's change costs in a fleet of 2,000.
func BenchmarkSetHost(b *testing.B) {
	f := newBigFleet(2000)
	for n := 0; b.Loop(); n++ {
		touched := 0
		for range f.world.SetHost(f.host(n%2000, n+1)) {
			touched++
		}
		if touched != 1999 {
			b.Fatalf("%d pairs touched", touched)
		}
	}
}

// BenchmarkStep is one pair that needs nothing.
func BenchmarkStep(b *testing.B) {
	f := newBigFleet(2)
	f.stepAll(f.world.Pairs())
	var id plan.PairID
	for id = range f.world.Pairs() {
	}
	b.ReportAllocs()
	for b.Loop() {
		if changes, _ := plan.Step(f.world.Situation(id, f.pairs[id]), f.now, plan.Limits{}); len(changes) > 0 {
			b.Fatal(changes)
		}
	}
}

// bigFleet is a fleet without chance: records in a map, agents that never fail.
type bigFleet struct {
	world  plan.World
	pairs  map[plan.PairID][]plan.Generation
	now    time.Time
	serial uint64
	steps  int
}

func newBigFleet(hosts int) *bigFleet {
	f := &bigFleet{pairs: make(map[plan.PairID][]plan.Generation), now: simStart}
	for n := range hosts {
		f.world.SetHost(f.host(n, 0))
	}
	p := meshPolicy("mesh", "*", "")
	p.Lifetime = plan.Lifetime{Rekey: time.Hour, Hard: 8 * time.Hour}
	f.world.SetPolicy(p)
	return f
}

func (f *bigFleet) host(n, life int) plan.Host {
	h := plan.Host{Name: fmt.Sprint("host-", n), Live: true, Labels: map[string]string{"n": fmt.Sprint(n)}}
	binary.BigEndian.PutUint32(h.UID[:], uint32(n)*2654435761)
	binary.BigEndian.PutUint32(h.UID[4:], uint32(n))
	binary.BigEndian.PutUint32(h.Epoch[:], uint32(n+1))
	binary.BigEndian.PutUint32(h.Epoch[4:], uint32(life+1))
	h.Observed = simAddr(h.UID)
	return h
}

// part runs one part and reports on it.
func (f *bigFleet) part(b *testing.B, name string, do func()) {
	began := time.Now()
	f.steps = 0
	do()
	took := time.Since(began)
	f.check(b, name)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.Logf("%-20s %9d pairs %9d steps %8v %6d MB live", name, f.world.PairCount(), f.steps, took.Round(time.Millisecond), m.HeapAlloc>>20)
	runtime.KeepAlive(f)
}

func (f *bigFleet) stepAll(ids func(func(plan.PairID) bool)) {
	for id := range ids {
		f.settle(id)
	}
}

// settle steps a pair until it rests, with every ack at once.
func (f *bigFleet) settle(id plan.PairID) {
	for {
		f.steps++
		changes, _ := plan.Step(f.world.Situation(id, f.pairs[id]), f.now, plan.Limits{})
		if len(changes) == 0 {
			return
		}
		gens := f.pairs[id]
		for _, c := range changes {
			gens = f.apply(gens, c)
		}
		if len(gens) == 0 {
			delete(f.pairs, id)
		} else {
			f.pairs[id] = slices.Clip(gens)
		}
	}
}

func (f *bigFleet) apply(gens []plan.Generation, c plan.Change) []plan.Generation {
	g := c.Generation
	i := slices.IndexFunc(gens, func(h plan.Generation) bool { return h.Number == g.Number })
	switch c.Kind {
	case plan.Forget:
		return slices.Delete(gens, i, i+1)
	case plan.Create:
		f.serial++
		g.ID = id128(f.serial)
		g.Acks = plan.InA | plan.InB
		return append(gens, g)
	}
	switch g.Phase {
	case plan.Outbound:
		g.Acks |= plan.OutA | plan.OutB
	case plan.Deleting:
		g.Acks |= plan.DeletedA | plan.DeletedB
	}
	gens[i] = g
	return gens
}

func (f *bigFleet) restart(n int) {
	f.stepAll(f.world.SetHost(f.host(n, 1)))
}

func (f *bigFleet) leave(n int) {
	f.stepAll(f.world.RemoveHost(f.host(n, 0).UID, 1))
}

// check: exactly the wanted pairs, each with just one generation, established, for the present lives.
func (f *bigFleet) check(b *testing.B, part string) {
	b.Helper()
	if len(f.pairs) != f.world.PairCount() {
		b.Fatalf("%s: %d pairs have generations, %d are wanted", part, len(f.pairs), f.world.PairCount())
	}
	for id, gens := range f.pairs {
		s := f.world.Situation(id, gens)
		if _, up := s.Up(f.now); !up || len(gens) != 1 || s.Policy == nil {
			b.Fatalf("%s: %s has %s", part, id, describe(gens))
		}
	}
}
