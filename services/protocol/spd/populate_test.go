package spd

import (
	"errors"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

func selector(t testing.TB, text string) Selector {
	t.Helper()
	s, err := ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The rows are those of the table in RFC 4301 section 4.4.1.2, for entries of several selectors.
func TestPopulated(t *testing.T) {
	tcp := flow("10.1.0.5", "10.2.0.6") // ports 1000 and 80
	fragment := ipwire.Flow{Src: tcp.Src, Dst: tcp.Dst, Proto: 6, Fragment: true, Opaque: true}
	gre := ipwire.Flow{Src: tcp.Src, Dst: tcp.Dst, Proto: 47, Opaque: true}
	ping := ipwire.Flow{Src: tcp.Src, Dst: tcp.Dst, Proto: 1, SrcPort: 0x0800, DstPort: 0x0800}
	zero := ipwire.Flow{Src: tcp.Src, Dst: tcp.Dst, Opaque: true}
	all := Populate{true, true, true, true, true}
	for _, tt := range []struct {
		name          string
		populate      Populate
		f             ipwire.Flow
		ports         string // of the entry's second selectors
		local, remote string // "" is a packet to be discarded
	}{
		{"no flag", Populate{}, tcp, "", "10.1.0.0/16", "10.2.0.0/16"},
		{"local address", Populate{LocalAddress: true}, tcp, "", "10.1.0.5", "10.2.0.0/16"},
		{"remote address", Populate{RemoteAddress: true}, tcp, "", "10.1.0.0/16", "10.2.0.6"},
		{"protocol", Populate{Protocol: true}, tcp, "", "10.1.0.0/16 tcp", "10.2.0.0/16 tcp"},
		{"local port", Populate{LocalPort: true}, tcp, "", "10.1.0.0/16 tcp/1000", "10.2.0.0/16 tcp"},
		{"remote port", Populate{RemotePort: true}, tcp, "", "10.1.0.0/16 tcp", "10.2.0.0/16 tcp/80"},
		{"all", all, tcp, "", "10.1.0.5 tcp/1000", "10.2.0.6 tcp/80"},
		{"all of a list", all, tcp, " tcp/1-2000", "10.1.0.5 tcp/1000", "10.2.0.6 tcp/80"},
		{"none of a list", Populate{}, tcp, " tcp/1-2000", "10.1.0.0/16 tcp/1-2000", "10.2.0.0/16 tcp/1-2000"},
		{"ICMP", all, ping, "", "10.1.0.5 icmp/8/0", "10.2.0.6 icmp/8/0"},
		{"GRE", all, gre, "", "10.1.0.5 gre", "10.2.0.6 gre"},
		{"fragment, addresses and protocol", Populate{true, true, true, false, false}, fragment, "", "10.1.0.5 tcp", "10.2.0.6 tcp"},
		{"fragment, a port", Populate{LocalPort: true}, fragment, "", "", ""},
		{"fragment, OPAQUE, no port", Populate{LocalAddress: true}, fragment, " tcp/opaque", "10.1.0.5 tcp/opaque", "10.2.0.0/16 tcp/opaque"},
		{"fragment, OPAQUE, a port", Populate{RemotePort: true}, fragment, " tcp/opaque", "", ""},
		{"fragment, a list", Populate{}, fragment, " tcp/1-2000", "", ""},
		{"protocol 0, the protocol", Populate{Protocol: true}, zero, "", "", ""},
		{"protocol 0, an address", Populate{LocalAddress: true}, zero, "", "10.1.0.5", "10.2.0.0/16"},
		{"another address", Populate{}, flow("10.9.0.1", "10.2.0.6"), "", "", ""},
	} {
		e := protect(1, 1, "192.0.2.0/24", "198.51.100.0/24")
		e.Local, e.Remote = append(e.Local, selector(t, "10.1.0.0/16"+tt.ports)), append(e.Remote, selector(t, "10.2.0.0/16"+tt.ports))
		e.Populate = tt.populate
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		local, remote, ok := e.Populated(tt.f)
		if !ok {
			if tt.local != "" || local != (Selector{}) || remote != (Selector{}) {
				t.Errorf("%s: not populated", tt.name)
			}
			continue
		}
		if local.String() != tt.local || remote.String() != tt.remote {
			t.Errorf("%s: %v and %v, want %s and %s", tt.name, local, remote, tt.local, tt.remote)
		}
		narrow := e
		narrow.Local, narrow.Remote = []Selector{local}, []Selector{remote}
		if !narrow.MatchOutbound(tt.f) || !narrow.MatchInbound(tt.f.Reverse()) {
			t.Errorf("%s: the SA does not carry its packet", tt.name)
		}
	}
}

func TestPopulateNeedsProtect(t *testing.T) {
	e := Entry{ID: id(1), Action: Bypass, Local: []Selector{prefix("10.0.0.0/8")}, Remote: []Selector{prefix("10.0.0.0/8")}, Populate: Populate{RemotePort: true}}
	if err := e.Validate(); !errors.Is(err, ErrEntry) {
		t.Errorf("BYPASS with a flag: %v", err)
	}
}

// Fragments other than the first, RFC 4301 section 7: only ANY and OPAQUE ports take them.
func TestFragments(t *testing.T) {
	first := flow("10.0.0.1", "10.0.0.2")
	first.SrcPort, first.DstPort = 80, 80
	later := ipwire.Flow{Src: first.Src, Dst: first.Dst, Proto: 6, Fragment: true, Opaque: true}
	for ports, want := range map[string][2]bool{ // the first fragment, a later one
		"":            {true, true},
		" tcp":        {true, true},
		" tcp/80":     {true, false},
		" tcp/1-9999": {true, false},
		" tcp/0":      {false, false}, // Opaque's port 0 is none
		" tcp/opaque": {false, true},
		" any/opaque": {false, true},
		" udp/opaque": {false, false},
	} {
		e := protect(1, 1, "10.0.0.1/32", "10.0.0.2/32")
		e.Local[0], e.Remote[0] = selector(t, "10.0.0.1"+ports), selector(t, "10.0.0.2"+ports)
		table := mustNew(t, e)
		for i, f := range []ipwire.Flow{first, later} {
			_, out := table.Find(f)
			_, in := table.FindInbound(f.Reverse())
			if out != want[i] || in != want[i] || table.Admits(e.Pair, f.Reverse()) != want[i] {
				t.Errorf("ports %q, fragment %d: outbound %v, inbound %v, want %v", ports, i, out, in, want[i])
			}
		}
	}
}

// Type and code are found from real packets, both as one number on both ends.
func TestICMP(t *testing.T) {
	v4 := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 3, 4, 0, 0, 0, 0, 0, 0}
	v6 := append([]byte{0x60, 0, 0, 0, 0, 8, 58, 64}, make([]byte, 40)...)
	v6[8], v6[23], v6[24], v6[39] = 0xfd, 1, 0xfd, 2
	v6[40], v6[41] = 1, 3
	for text, want := range map[string]bool{
		"icmp": true, "icmp/3": true, "icmp/3/4": true, "icmp/3/0-3/15": true, "icmp/0-3": true, "any": true,
		"icmp/3/3": false, "icmp/4": false, "icmp/4/3": false, "icmpv6": false, "icmp/opaque": false, "tcp": false,
	} {
		checkICMP(t, v4, "10.0.0.1 "+text, "10.0.0.2 "+text, want)
	}
	for text, want := range map[string]bool{"icmpv6/1": true, "icmpv6/1/3": true, "icmpv6/1/4": false, "icmpv6/3": false, "icmp/1/3": false} {
		checkICMP(t, v6, "fd00::1 "+text, "fd00::2 "+text, want)
	}
	checkICMP(t, v4, "10.0.0.1", "10.0.0.2 icmp/3/4", true) // one end is enough
	checkICMP(t, v4, "10.0.0.1 icmp/3/4", "10.0.0.2", true)
}

func checkICMP(t *testing.T, packet []byte, local, remote string, want bool) {
	t.Helper()
	f, err := ipwire.ParseFlow(packet)
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{ID: id(1), Action: Bypass, Local: []Selector{selector(t, local)}, Remote: []Selector{selector(t, remote)}}
	if e.MatchOutbound(f) != want || e.MatchInbound(f.Reverse()) != want {
		t.Errorf("%s to %s: outbound %v, inbound %v, want %v", local, remote, e.MatchOutbound(f), e.MatchInbound(f.Reverse()), want)
	}
}

func TestExplain(t *testing.T) {
	one := func(n int, local, remote string) Entry {
		return Entry{ID: id(n), Priority: uint32(n), Action: Bypass, Local: []Selector{selector(t, local)}, Remote: []Selector{selector(t, remote)}}
	}
	entries := []Entry{
		one(1, "10.0.9.0/24", "10.2.0.0/16"),
		one(2, "10.0.0.0/24", "10.9.0.0/16"),
		one(3, "10.0.0.0/24 udp", "10.2.0.0/16"),
		one(4, "10.0.0.0/24", "10.2.0.0/16 udp"),
		one(5, "10.0.0.0/24 tcp/22", "10.2.0.0/16"),
		one(6, "10.0.0.0/24", "10.2.0.0/16 tcp/443"),
		one(7, "fd00::/16", "fd00::/16"),
		one(8, "10.0.0.0/24", "10.2.0.0/16 tcp/80"),
		one(9, "any4", "any4"),
	}
	entries[2].Local = append(entries[2].Local, selector(t, "10.0.8.0/24")) // the nearest selector counts
	table := mustNew(t, entries...)
	f := flow("10.0.0.1", "10.2.0.1")
	want := []Verdict{OtherLocalAddress, OtherRemoteAddress, OtherProtocol, OtherProtocol, OtherLocalPort, OtherRemotePort, OtherLocalAddress, Matches}
	for _, inbound := range []bool{false, true} {
		f := f
		if inbound {
			f = f.Reverse()
		}
		x := table.Explain(f, inbound, 100)
		if x.Match == nil || x.Match.ID != id(8) || x.Omitted != 0 || len(x.Considered) != len(want) {
			t.Fatalf("inbound %v: %+v", inbound, x)
		}
		for i, c := range x.Considered {
			if c.Entry.ID != id(i+1) || c.Verdict != want[i] {
				t.Errorf("inbound %v: step %d: %x: %v, want %v", inbound, i, c.Entry.ID, c.Verdict, want[i])
			}
		}
		x = table.Explain(f, inbound, 5)
		got := ""
		for _, c := range x.Considered {
			got += c.Verdict.String() + "; "
		}
		if got != "another local address; another remote address; another protocol; another protocol; another local port; matches; " || x.Omitted != 2 {
			t.Errorf("inbound %v, 5 steps: %s omitted %d", inbound, got, x.Omitted)
		}
		if x := table.Explain(f, inbound, 0); len(x.Considered) != 1 || x.Omitted != 7 || x.Match.ID != id(8) {
			t.Errorf("inbound %v, no steps: %+v", inbound, x)
		}
	}
	later := ipwire.Flow{Src: f.Src, Dst: f.Dst, Proto: 6, Fragment: true, Opaque: true}
	x := table.Explain(later, false, 100)
	if x.Match.ID != id(9) || x.Considered[4].Verdict != NoPorts || x.Considered[7].Verdict != NoPorts || NoPorts.String() != "the packet's ports are not available" {
		t.Errorf("fragment: %+v", x)
	}
	if x := table.Without(id(9)).Explain(flow("10.7.0.1", "10.7.0.1"), false, 100); x.Match != nil || len(x.Considered) != 8 {
		t.Errorf("no match: %+v", x)
	}
	if Matches.String() != "matches" || OtherRemotePort.String() != "another remote port" {
		t.Error("verdicts have other words")
	}
}

// Explain and Find agree, whatever the table.
func explainAgrees(t *testing.T, table *Table, f ipwire.Flow) {
	t.Helper()
	for _, inbound := range []bool{false, true} {
		find, f := table.Find, f
		if inbound {
			find, f = table.FindInbound, f.Reverse()
		}
		want, _ := find(f)
		x := table.Explain(f, inbound, 10)
		if x.Match != want {
			t.Fatalf("Explain(%+v, %v) matches %+v, Find %+v", f, inbound, x.Match, want)
		}
		last := len(x.Considered) - 1
		for i, c := range x.Considered {
			if (c.Verdict == Matches) != (c.Entry == want) || c.Verdict == Matches && i != last {
				t.Fatalf("Explain(%+v, %v): step %d is %+v", f, inbound, i, c)
			}
		}
	}
}
