package spd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

func regionString(r Region) string {
	return fmt.Sprintf("%d: %v-%v %v-%v %d-%d %d-%d %d-%d %v", r.Entry.ID[15]-1, r.Local.First, r.Local.Last, r.Remote.First, r.Remote.Last,
		r.FirstProto, r.LastProto, r.LocalPorts.First, r.LocalPorts.Last, r.RemotePorts.First, r.RemotePorts.Last, r.Opaque)
}

// A region says exactly what is left of an entry.
func TestDecorrelate(t *testing.T) {
	entry := func(n int, local, remote string) Entry {
		return Entry{ID: id(n), Priority: uint32(n), Local: []Selector{selector(t, local)}, Remote: []Selector{selector(t, remote)}}
	}
	for name, tt := range map[string]struct {
		entries []Entry
		want    string
	}{
		"nothing": {nil, ""},
		"one":     {[]Entry{entry(1, "10.0.0.0/8", "10.0.0.0/8")}, "1: 10.0.0.0-10.255.255.255 10.0.0.0-10.255.255.255 0-255 0-65535 0-65535 true"},
		"hidden": {[]Entry{entry(2, "10.0.0.0/9", "10.0.0.0/9 tcp"), entry(1, "10.0.0.0/8", "10.0.0.0/8")},
			"1: 10.0.0.0-10.255.255.255 10.0.0.0-10.255.255.255 0-255 0-65535 0-65535 true"},
		"a protocol is cut out": {[]Entry{entry(1, "10.0.0.1", "10.0.0.2 icmp"), entry(2, "10.0.0.1", "10.0.0.2")},
			"1: 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 1-1 0-65535 0-65535 true\n" +
				"2: 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 0-0 0-65535 0-65535 true\n" +
				"2: 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 2-255 0-65535 0-65535 true"},
		"a port is cut out": {[]Entry{entry(1, "10.0.0.1", "10.0.0.2 tcp/80"), entry(2, "10.0.0.1", "10.0.0.2 tcp")},
			"1: 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 6-6 0-65535 80-80 false\n" +
				"2: 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 6-6 0-65535 0-79 false\n" +
				"2: 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 6-6 0-65535 81-65535 false\n" +
				"2: 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 6-6 65535-0 65535-0 true"},
		"fragments are cut out": {[]Entry{entry(1, "10.0.0.1", "10.0.0.2 tcp/opaque"), entry(2, "10.0.0.1", "10.0.0.2 tcp")},
			"1: 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 6-6 65535-0 65535-0 true\n" +
				"2: 10.0.0.1-10.0.0.1 10.0.0.2-10.0.0.2 6-6 0-65535 0-65535 false"},
		"an address is cut out": {[]Entry{entry(1, "fd00::1", "::/0"), entry(2, "fd00::/126", "::/0")},
			"1: fd00::1-fd00::1 ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 0-255 0-65535 0-65535 true\n" +
				"2: fd00::-fd00:: ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 0-255 0-65535 0-65535 true\n" +
				"2: fd00::2-fd00::3 ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 0-255 0-65535 0-65535 true"},
		"no packet is of both": {[]Entry{entry(1, "10.0.0.0/8", "fd00::/8"), entry(2, "10.0.0.1 tcp", "10.0.0.2 udp"), entry(3, "10.0.0.1 tcp/opaque", "10.0.0.2 tcp/80")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			regions, err := Decorrelate(tt.entries, 100)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range regions {
				got = append(got, regionString(r))
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

// Adjacent and overlapping selectors of one entry become one region again.
func TestDecorrelateMerges(t *testing.T) {
	e := Entry{ID: id(1), Local: []Selector{prefix("10.0.0.0/25"), prefix("10.0.0.128/25"), prefix("10.0.0.64/26"), prefix("10.0.1.0/24")},
		Remote: []Selector{selector(t, "10.9.0.0/16 tcp/0-99"), selector(t, "10.9.0.0/16 tcp/100-65535"), selector(t, "10.9.0.0/16 tcp/opaque"), selector(t, "10.9.0.0/24 tcp")}}
	regions, err := Decorrelate([]Entry{e}, 100)
	if err != nil || len(regions) != 1 || regionString(regions[0]) != "1: 10.0.0.0-10.0.1.255 10.9.0.0-10.9.255.255 6-6 0-65535 0-65535 true" {
		t.Errorf("%+v, %v", regions, err)
	}
}

func TestDecorrelateErrors(t *testing.T) {
	var entries []Entry
	for n := range 20 {
		e := Entry{ID: id(n), Priority: uint32(n), Local: []Selector{selector(t, fmt.Sprintf("10.0.0.%d-10.0.0.%d", n, 200-n))},
			Remote: []Selector{selector(t, fmt.Sprintf("10.0.0.%d-10.0.0.%d tcp/%d", 50-n, 60+n, n))}}
		entries = append(entries, e)
	}
	entries = append(entries, Entry{ID: id(20), Priority: 20, Local: []Selector{prefix("0.0.0.0/0")}, Remote: []Selector{prefix("0.0.0.0/0")}})
	regions, err := Decorrelate(entries, 10000)
	if err != nil || len(regions) < 40 {
		t.Fatalf("%d regions, %v", len(regions), err)
	}
	for _, limit := range []int{-1, 0, 1, 19, 20, 40} {
		got, err := Decorrelate(entries, limit)
		if !errors.Is(err, ErrRegions) || got != nil || !strings.Contains(err.Error(), fmt.Sprintf("more than the %d allowed: allow more, or let fewer", limit)) {
			t.Errorf("limit %d of %d: %d regions, %v", limit, len(regions), len(got), err)
		}
	}
	wide := Entry{ID: id(1), Local: slices.Repeat([]Selector{prefix("10.0.0.0/8")}, 255), Remote: slices.Repeat([]Selector{prefix("10.0.0.0/8")}, 255)}
	if _, err := Decorrelate([]Entry{wide}, 10000); !errors.Is(err, ErrRegions) {
		t.Errorf("an entry of 65025 pairs of selectors: %v", err)
	}
	entries[3].Local = nil
	if _, err := Decorrelate(entries, 10000); !errors.Is(err, ErrEntry) {
		t.Errorf("a malformed entry: %v", err)
	}
}

// decorrelatedAgrees checks that a flow is in one region of the entry that comes first, or in none.
func decorrelatedAgrees(t *testing.T, entries []Entry, regions []Region, f ipwire.Flow) {
	t.Helper()
	for _, inbound := range []bool{false, true} {
		want, ok := linear(entries, func(e *Entry) bool {
			if inbound {
				return e.MatchInbound(f)
			}
			return e.MatchOutbound(f)
		})
		var in []Region
		for _, r := range regions {
			if !inbound && r.MatchOutbound(f) || inbound && r.MatchInbound(f) {
				in = append(in, r)
			}
		}
		switch {
		case len(in) > 1:
			t.Fatalf("flow %+v, inbound %v, is in two regions:\n%s\n%s", f, inbound, regionString(in[0]), regionString(in[1]))
		case ok != (len(in) == 1) || ok && in[0].Entry.ID != want.ID:
			t.Fatalf("flow %+v, inbound %v, is in %d regions, %+v; the first entry is %x, %v", f, inbound, len(in), in, want.ID, ok)
		}
	}
}

// Random SPDs and random flows: the ordered list and the decorrelated set say the same.
func TestDecorrelatedAgainstList(t *testing.T) {
	largest := 0
	for seed := range uint64(150) {
		random := rand.New(rand.NewPCG(seed, 11))
		entries := randomEntries(random, 0, 1+random.IntN(8))
		for i := range entries {
			if random.IntN(3) == 0 { // many ANYs
				entries[i].Local = []Selector{prefix("0.0.0.0/0"), prefix("::/0")}
			}
		}
		regions, err := Decorrelate(entries, 100_000)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(regions))
		for range 300 {
			decorrelatedAgrees(t, entries, regions, randomFlow(random))
		}
		for _, r := range regions { // and at the corners
			decorrelatedAgrees(t, entries, regions, cornerFlow(random, r))
		}
	}
	if largest < 50 {
		t.Errorf("the largest SPD has but %d regions", largest)
	}
}

// cornerFlow is at the ends of a region's ranges.
func cornerFlow(random *rand.Rand, r Region) ipwire.Flow {
	pick := func(a Addresses) ipwire.Flow {
		if random.IntN(2) == 0 {
			return ipwire.Flow{Src: a.First}
		}
		return ipwire.Flow{Src: a.Last}
	}
	f := ipwire.Flow{Src: pick(r.Local).Src, Dst: pick(r.Remote).Src, Proto: r.LastProto, SrcPort: r.LocalPorts.Last, DstPort: r.RemotePorts.First}
	if random.IntN(2) == 0 {
		f.Proto, f.SrcPort, f.DstPort = r.FirstProto, r.LocalPorts.First, r.RemotePorts.Last
	}
	if r.LocalPorts == OpaquePorts() || r.Opaque && random.IntN(2) == 0 {
		f.SrcPort, f.DstPort, f.Opaque = 0, 0, true
	}
	return f
}

func BenchmarkDecorrelate(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			entries := pairs(b, n).Entries()
			for b.Loop() {
				if _, err := Decorrelate(entries, 1_000_000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
