package spd

import (
	"net/netip"
	"testing"
)

func TestPrefix(t *testing.T) {
	for p, want := range map[string][2]string{
		"10.0.0.0/8":     {"10.0.0.0", "10.255.255.255"},
		"10.1.2.3/8":     {"10.0.0.0", "10.255.255.255"},
		"10.1.2.3/32":    {"10.1.2.3", "10.1.2.3"},
		"0.0.0.0/0":      {"0.0.0.0", "255.255.255.255"},
		"192.0.2.128/25": {"192.0.2.128", "192.0.2.255"},
		"192.0.2.4/31":   {"192.0.2.4", "192.0.2.5"},
		"::/0":           {"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		"fd00::/127":     {"fd00::", "fd00::1"},
		"fd00::5/128":    {"fd00::5", "fd00::5"},
	} {
		s := Prefix(netip.MustParsePrefix(p))
		if s.First.String() != want[0] || s.Last.String() != want[1] || s.Proto != 0 || s.Ports != AnyPorts() {
			t.Errorf("Prefix(%s) is %+v", p, s)
		}
		if err := s.Validate(); err != nil {
			t.Errorf("Prefix(%s): %v", p, err)
		}
	}
}

func TestMatch(t *testing.T) {
	base := Selector{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.4"), 0, AnyPorts()}
	tcp, http, opaque, zero := base, base, base, base
	tcp.Proto, http.Ports, opaque.Ports, zero.Ports = 6, Ports{80, 81}, OpaquePorts(), Ports{}
	for _, tt := range []struct {
		name   string
		s      Selector
		addr   string
		proto  uint8
		port   uint16
		opaque bool
		want   bool
	}{
		{"first address", base, "10.0.0.2", 6, 1, false, true},
		{"last address", base, "10.0.0.4", 6, 1, false, true},
		{"below", base, "10.0.0.1", 6, 1, false, false},
		{"above", base, "10.0.0.5", 6, 1, false, false},
		{"IPv4-mapped", base, "::ffff:10.0.0.3", 6, 1, false, false},
		{"opaque under any", base, "10.0.0.3", 6, 0, true, true},
		{"protocol", tcp, "10.0.0.3", 6, 1, false, true},
		{"other protocol", tcp, "10.0.0.3", 17, 1, false, false},
		{"protocol 0 under a selector", tcp, "10.0.0.3", 0, 1, false, false},
		{"first port", http, "10.0.0.3", 6, 80, false, true},
		{"last port", http, "10.0.0.3", 6, 81, false, true},
		{"port below", http, "10.0.0.3", 6, 79, false, false},
		{"port above", http, "10.0.0.3", 6, 82, false, false},
		{"opaque under a range", http, "10.0.0.3", 6, 0, true, false},
		{"opaque under port 0", zero, "10.0.0.3", 6, 0, true, false},
		{"port 0", zero, "10.0.0.3", 6, 0, false, true},
		{"opaque under opaque", opaque, "10.0.0.3", 6, 0, true, true},
		{"port under opaque", opaque, "10.0.0.3", 6, 65535, false, false},
		{"port 0 under opaque", opaque, "10.0.0.3", 6, 0, false, false},
	} {
		if got := tt.s.Match(netip.MustParseAddr(tt.addr), tt.proto, tt.port, tt.opaque); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestActionString(t *testing.T) {
	for a, want := range map[Action]string{Protect: "PROTECT", Bypass: "BYPASS", Discard: "DISCARD", 9: "DISCARD"} {
		if a.String() != want {
			t.Errorf("action %d is %s, want %s", a, a, want)
		}
	}
}
