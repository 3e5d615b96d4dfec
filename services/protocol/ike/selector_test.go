package ike

import (
	"net/netip"
	"slices"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// ts reads "10.0.0.0/8", "10.0.0.1/32 tcp 80-90", "10.0.0.0/8 udp opaque".
func ts(prefix string, protocol uint8, ports ...uint16) ikewire.TrafficSelector {
	t := Prefix(netip.MustParsePrefix(prefix))
	t.Protocol = protocol
	if len(ports) == 2 {
		t.StartPort, t.EndPort = ports[0], ports[1]
	}
	return t
}

func TestNarrow(t *testing.T) {
	type list = []ikewire.TrafficSelector
	for _, c := range []struct {
		name                  string
		wanted, allowed, want list
	}{
		{"equal", list{ts("10.0.0.0/8", 0)}, list{ts("10.0.0.0/8", 0)}, list{ts("10.0.0.0/8", 0)}},
		{"wanted is wider", list{ts("0.0.0.0/0", 0)}, list{ts("10.1.0.0/16", 6, 80, 90)}, list{ts("10.1.0.0/16", 6, 80, 90)}},
		{"allowed is wider", list{ts("10.1.0.0/16", 6, 80, 90)}, list{ts("0.0.0.0/0", 0)}, list{ts("10.1.0.0/16", 6, 80, 90)}},
		{"ports meet", list{ts("10.0.0.0/8", 6, 1, 100)}, list{ts("10.0.0.0/8", 6, 50, 200)}, list{ts("10.0.0.0/8", 6, 50, 100)}},
		{"nothing", list{ts("10.0.0.0/8", 0)}, list{ts("11.0.0.0/8", 0)}, nil},
		{"other protocol", list{ts("10.0.0.0/8", 6)}, list{ts("10.0.0.0/8", 17)}, nil},
		{"other family", list{ts("::/0", 0)}, list{ts("0.0.0.0/0", 0)}, nil},
		{"the packet's selector stays first", list{ts("10.1.2.3/32", 6, 80, 80), ts("10.0.0.0/8", 6)}, list{ts("10.1.0.0/16", 0)},
			list{ts("10.1.0.0/16", 6)}},
		{"first of several", list{ts("10.1.2.3/32", 6, 80, 80), ts("10.9.0.0/16", 0)}, list{ts("10.0.0.0/8", 0)},
			list{ts("10.1.2.3/32", 6, 80, 80), ts("10.9.0.0/16", 0)}},
		{"OPAQUE of any", list{ts("10.0.0.0/8", 6, 0xffff, 0)}, list{ts("10.0.0.0/8", 0)}, list{ts("10.0.0.0/8", 6, 0xffff, 0)}},
		{"OPAQUE of a port", list{ts("10.0.0.0/8", 6, 0xffff, 0)}, list{ts("10.0.0.0/8", 6, 80, 80)}, nil},
		{"unknown type", list{{Type: ikewire.TSSecLabel, Data: []byte("x")}}, list{ts("10.0.0.0/8", 0)}, nil},
		{"IPv6", list{ts("2001:db8::/32", 0)}, list{ts("2001:db8:1::/48", 58)}, list{ts("2001:db8:1::/48", 58)}},
	} {
		got := narrow(c.wanted, c.allowed)
		if !slices.Equal(selectorStrings(got), selectorStrings(c.want)) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if len(got) > 0 && (!within(got, c.wanted) || !within(got, c.allowed)) {
			t.Errorf("%s: %v is more than was wanted or allowed", c.name, got)
		}
	}
}

func TestNarrowIsBounded(t *testing.T) {
	var wanted, allowed []ikewire.TrafficSelector
	for i := range uint16(100) {
		wanted = append(wanted, ts("10.0.0.0/8", 6, 100*i, 100*i+99))
		allowed = append(allowed, ts("10.0.0.0/8", 6, 100*i+50, 100*i+149))
	}
	if got := narrow(append(wanted, wanted...), append(allowed, allowed...)); len(got) > ikewire.MaxSelectors {
		t.Errorf("%d selectors", len(got))
	}
}

func TestPrefix(t *testing.T) {
	for prefix, want := range map[string]string{
		"10.1.2.3/8": "10.0.0.0-10.255.255.255", "10.1.2.3/32": "10.1.2.3-10.1.2.3", "0.0.0.0/0": "0.0.0.0-255.255.255.255",
		"10.1.2.0/23": "10.1.2.0-10.1.3.255", "2001:db8::/33": "2001:db8::-2001:db8:7fff:ffff:ffff:ffff:ffff:ffff",
	} {
		if got := Prefix(netip.MustParsePrefix(prefix)).String(); got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
}
