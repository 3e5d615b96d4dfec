package fragment

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// check counts anew what a Reassembler keeps count of, and compares its bounds.
func check(t testing.TB, r *Reassembler) {
	t.Helper()
	held, datagrams, waiting, last := map[netip.Addr]int{}, map[netip.Addr]int{}, 0, none
	for i := r.oldest; i != none; i = r.slots[i].links[ofAll].behind {
		s := &r.slots[i]
		if s.links[ofAll].before != last || r.byKey[s.key] != i || last != none && r.slots[last].since > s.since {
			t.Fatalf("slot %d is out of place", i)
		}
		pages := 0
		for _, p := range s.pages {
			if p != nil {
				pages++
			}
		}
		if s.dead && pages > 0 {
			t.Fatalf("slot %d is discarded and holds %d pages", i, pages)
		}
		held[s.src] += pages
		datagrams[s.src]++
		waiting++
		last = i
	}
	if r.newest != last || waiting != len(r.byKey) || waiting+len(r.free) != len(r.slots) {
		t.Fatalf("%d wait, %d by key, %d free of %d", waiting, len(r.byKey), len(r.free), len(r.slots))
	}
	if waiting > r.config.MaxDatagrams {
		t.Fatalf("%d datagrams wait, of %d", waiting, r.config.MaxDatagrams)
	}
	total := len(r.spare)
	for src, n := range held {
		total += n
		if n*pageLen > r.config.MaxBytes/perSource || datagrams[src] > max(1, r.config.MaxDatagrams/perSource) {
			t.Fatalf("%v holds %d pages and %d datagrams", src, n, datagrams[src])
		}
		got, queued, before := r.sources[src], 0, none
		for i := got.oldest; i != none; i = r.slots[i].links[ofSource].behind {
			if r.slots[i].src != src || r.slots[i].links[ofSource].before != before || before != none && r.slots[before].since > r.slots[i].since {
				t.Fatalf("slot %d is out of place in its source's queue", i)
			}
			queued++
			before = i
		}
		if got.pages != n || got.datagrams != datagrams[src] || queued != datagrams[src] || got.newest != before {
			t.Fatalf("%v: counted %+v, is %d pages and %d datagrams, %d in its queue", src, got, n, datagrams[src], queued)
		}
	}
	if len(r.sources) != len(datagrams) {
		t.Fatalf("%d sources are counted, there are %d", len(r.sources), len(datagrams))
	}
	if total*pageLen != r.Bytes() || r.Bytes() > r.config.MaxBytes {
		t.Fatalf("%d pages are %d bytes, of %d", total, r.Bytes(), r.config.MaxBytes)
	}
}

// from4 sets the source and the place of an IPv4 fragment.
func from4(p []byte, src uint32, id, place uint16) []byte {
	binary.BigEndian.PutUint32(p[12:], src)
	binary.BigEndian.PutUint16(p[4:], id)
	binary.BigEndian.PutUint16(p[6:], place)
	ipwire.IPv4(p).UpdateChecksum()
	return p
}

// TestCounts: whatever comes, the counts are right and the bounds hold.
func TestCounts(t *testing.T) {
	for seed := range uint64(60) {
		rnd := random(seed)
		r := New(Config{MaxBytes: leastBytes, MaxDatagrams: 1 + rnd.IntN(40), Timeout: time.Second})
		completed := 0
		for now := time.Duration(0); now < 5*time.Second; now += time.Duration(rnd.IntN(20)) * time.Millisecond {
			n := 8 * (1 + rnd.IntN(400))
			place := uint16(rnd.IntN(4) * rnd.IntN(8192-n/8) / 3)
			if rnd.IntN(3) > 0 {
				place = uint16(rnd.IntN(4) * n / 8)
			}
			if rnd.IntN(4) > 0 {
				place |= 0x2000
			}
			p := from4(v4(t, n, 0, nil), uint32(rnd.IntN(6)), uint16(rnd.IntN(12)), place)
			if whole, _ := r.Add(now, p); whole != nil {
				completed++
			}
			check(t, r)
		}
		if completed == 0 {
			t.Errorf("seed %d: none was completed", seed)
		}
		r.Expire(time.Hour)
		check(t, r)
		if r.Len() != 0 || len(r.sources) != 0 {
			t.Errorf("seed %d: %d are left", seed, r.Len())
		}
	}
}

// TestShareOfOneSource: what a single source does in bulk takes no honest datagram's place: fragments far behind,
// many datagrams, and datagrams that are discarded for overlaps.
func TestShareOfOneSource(t *testing.T) {
	far, overlap := v4(t, 64, 0, nil), v4(t, 72, 0, nil)
	for name, attack := range map[string]func(r *Reassembler, i int){
		"far behind": func(r *Reassembler, i int) { r.Add(0, from4(far, 9, uint16(i), 0x2000|8000)) },
		"first":      func(r *Reassembler, i int) { r.Add(0, from4(far, 9, uint16(i), 0x2000)) },
		"overlaps": func(r *Reassembler, i int) {
			r.Add(0, from4(far, 9, uint16(i), 0x2000))
			r.Add(0, from4(overlap, 9, uint16(i), 0x2000))
		},
		"all of it": func(r *Reassembler, i int) { r.Add(0, from4(far, 9, uint16(i/30), 0x2000|uint16(i%30*256))) },
	} {
		r := New(Config{})
		for range 64 { // many sources had a lot of it before
			for i := range 5000 {
				r.Add(0, from4(far, uint32(1000+i%300), uint16(i/300), 0x2000|uint16(i%8*1000)))
			}
		}
		check(t, r)
		r.Expire(defaultTimeout)
		honest := splitAll(t, v6(t, 60000), 1280, 1)
		for i, p := range honest {
			for j := range 3000 {
				attack(r, i*3000+j)
			}
			whole, err := r.Add(0, p)
			if err != nil || (whole != nil) != (i == len(honest)-1) {
				t.Fatalf("%s: honest fragment %d: whole %v, %v", name, i, whole != nil, err)
			}
			check(t, r)
		}
	}
}

// TestManySources: honest datagrams whose fragments come together are completed while many sources flood.
func TestManySources(t *testing.T) {
	r, far := New(Config{}), v4(t, 64, 0, nil)
	packet := v4(t, 3000, 77, nil)
	honest := splitAll(t, packet, 1500, 77)
	for i := range 30000 {
		r.Add(time.Duration(i), from4(far, uint32(i)*2654435761|1<<31, uint16(i), 0x2000|uint16(i%8000)))
		if i%500 == 0 {
			check(t, r)
		}
		if i%300 >= 3 {
			continue
		}
		whole, err := r.Add(time.Duration(i), honest[i%300])
		if err != nil || (whole != nil) != (i%300 == 2) || whole != nil && !bytes.Equal(whole, packet) {
			t.Fatalf("%d: whole %v, %v", i, whole != nil, err)
		}
	}
}

// TestFloodDoesNotAllocate: once its memory is there, no fragment costs an allocation, whatever is given up for it.
func TestFloodDoesNotAllocate(t *testing.T) {
	r, k, far := New(Config{MaxBytes: leastBytes}), NewTracker(TrackerConfig{}), v4(t, 64, 0, nil)
	i := 0
	step := func() {
		i++
		p := from4(far, uint32(i%500), uint16(i), 0x2000|uint16(i*i%8000))
		r.Add(time.Duration(i), p)
		r.Add(time.Duration(i), p)
		flow, _ := ipwire.ParseFlow(from4(far, uint32(i%500), uint16(i), 0x2000))
		r.Add(time.Duration(i), far)
		k.Note(0, far, flow)
		k.Flow(0, p)
	}
	for range 5000 {
		step()
	}
	if n := testing.AllocsPerRun(20000, step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkFlood is one source that holds its share, behind datagrams of many others.
func BenchmarkFlood(b *testing.B) {
	r, far := New(Config{}), v4(b, 64, 0, nil)
	for i := range 800 {
		r.Add(0, from4(far, uint32(100+i), uint16(i), 0x2000))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		r.Add(time.Duration(i), from4(far, 9, uint16(i), 0x2000|8000))
	}
}
