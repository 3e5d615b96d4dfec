package spd

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// reader takes an SPD and flows out of a fuzzer's bytes; past their end all is zero.
type reader struct{ b []byte }

func (r *reader) byte() (v byte) {
	if len(r.b) > 0 {
		v, r.b = r.b[0], r.b[1:]
	}
	return v
}

func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16([]byte{r.byte(), r.byte()}) }

// addr is mostly one of few, so that ranges meet.
func (r *reader) addr(v6 bool) netip.Addr {
	a, b := r.byte(), r.byte()
	if v6 {
		return netip.AddrFrom16([16]byte{0: a & 0x80, 7: a & 3, 8: a >> 2 & 1, 15: b})
	}
	return netip.AddrFrom4([4]byte{a & 0x80, a & 1, 0, b})
}

func (r *reader) ports() Ports {
	switch k := r.byte(); k % 5 {
	case 0, 1:
		return AnyPorts()
	case 2:
		return OpaquePorts()
	case 3:
		return Ports{uint16(k), uint16(k)}
	}
	p := Ports{r.uint16(), r.uint16()}
	if p.First > p.Last {
		p.First, p.Last = p.Last, p.First
	}
	return p
}

func (r *reader) selectors(v6 bool) (s []Selector) {
	for range 1 + r.byte()%3 {
		a, b := r.addr(v6), r.addr(v6)
		if b.Less(a) {
			a, b = b, a
		}
		s = append(s, Selector{a, b, r.byte() & 3 * (r.byte() & 1), r.ports()})
	}
	return s
}

func (r *reader) entries() (entries []Entry) {
	for n := range int(r.byte() % 8) {
		k := r.byte()
		e := Entry{ID: id(n), Priority: uint32(k >> 4), Action: Action(k % 3), Local: r.selectors(k&8 != 0), Remote: r.selectors(k&8 != 0)}
		if e.Action == Protect {
			e.Pair = id(1000 + n)
		}
		entries = append(entries, e)
	}
	return entries
}

func (r *reader) flow() ipwire.Flow {
	k := r.byte()
	f := ipwire.Flow{Src: r.addr(k&1 != 0), Dst: r.addr(k&1 != 0), Proto: r.byte() & 3, Opaque: k&2 != 0, Fragment: k&6 == 6}
	if !f.Opaque {
		f.SrcPort, f.DstPort = r.uint16(), r.uint16()
	}
	return f
}

// FuzzTable: the index, the cache, the explanation and the decorrelated regions say what an ordered list says.
func FuzzTable(f *testing.F) {
	f.Add([]byte{})
	random := rand.New(rand.NewPCG(5, 5))
	for range 20 {
		seed := make([]byte, 100+random.IntN(200))
		for i := range seed {
			seed[i] = byte(random.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &reader{data}
		entries := r.entries()
		table := mustNew(t, entries...)
		regions, err := Decorrelate(entries, 20_000)
		c := NewCache(4)
		for n := 0; n < 40 && (n == 0 || len(r.b) > 0); n++ {
			f := r.flow()
			want, wantOK := linear(entries, func(e *Entry) bool { return e.MatchOutbound(f) })
			got, ok := c.Lookup(table, f)
			if found, foundOK := table.Find(f); found != got || foundOK != ok {
				t.Fatalf("flow %+v: Find gives %+v, the cache %+v", f, found, got)
			}
			if ok != wantOK || ok && got.ID != want.ID {
				t.Fatalf("flow %+v: entry %+v, want %+v", f, got, want)
			}
			if again, _ := c.LookupInbound(table, f.Reverse()); again != got {
				t.Fatalf("flow %+v: inbound %+v, want %+v", f, again, got)
			}
			explainAgrees(t, table, f)
			if err == nil {
				decorrelatedAgrees(t, entries, regions, f)
			}
		}
	})
}
