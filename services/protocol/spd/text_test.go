package spd

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseSelector(t *testing.T) {
	v4 := func(first, last string, proto uint8, ports Ports) Selector {
		return Selector{netip.MustParseAddr(first), netip.MustParseAddr(last), proto, ports}
	}
	for _, tt := range []struct {
		text, canonical string // canonical: "" is text
		want            Selector
	}{
		{"10.1.0.0/16", "", v4("10.1.0.0", "10.1.255.255", 0, AnyPorts())},
		{"192.0.2.1", "", v4("192.0.2.1", "192.0.2.1", 0, AnyPorts())},
		{"192.0.2.1/32", "192.0.2.1", v4("192.0.2.1", "192.0.2.1", 0, AnyPorts())},
		{"192.0.2.1-192.0.2.9 udp/1000-2000", "", v4("192.0.2.1", "192.0.2.9", 17, Ports{1000, 2000})},
		{"192.0.2.0-192.0.2.255", "192.0.2.0/24", v4("192.0.2.0", "192.0.2.255", 0, AnyPorts())},
		{"any4", "0.0.0.0/0", v4("0.0.0.0", "255.255.255.255", 0, AnyPorts())},
		{"any6 tcp", "::/0 tcp", v4("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 6, AnyPorts())},
		{" 10.0.0.0/8   tcp/443 ", "10.0.0.0/8 tcp/443", v4("10.0.0.0", "10.255.255.255", 6, Ports{443, 443})},
		{"10.0.0.0/8 tcp/opaque", "", v4("10.0.0.0", "10.255.255.255", 6, OpaquePorts())},
		{"10.0.0.0/8 tcp/any", "10.0.0.0/8 tcp", v4("10.0.0.0", "10.255.255.255", 6, AnyPorts())},
		{"10.0.0.0/8 tcp/0-65535", "10.0.0.0/8 tcp", v4("10.0.0.0", "10.255.255.255", 6, AnyPorts())},
		{"10.0.0.0/8 tcp/0", "", v4("10.0.0.0", "10.255.255.255", 6, Ports{0, 0})},
		{"10.0.0.0/8 tcp/65535", "", v4("10.0.0.0", "10.255.255.255", 6, Ports{65535, 65535})},
		{"10.0.0.0/8 any", "10.0.0.0/8", v4("10.0.0.0", "10.255.255.255", 0, AnyPorts())},
		{"10.0.0.0/8 any/53", "", v4("10.0.0.0", "10.255.255.255", 0, Ports{53, 53})},
		{"10.0.0.0/8 any/opaque", "", v4("10.0.0.0", "10.255.255.255", 0, OpaquePorts())},
		{"10.0.0.0/8 47", "10.0.0.0/8 gre", v4("10.0.0.0", "10.255.255.255", 47, AnyPorts())},
		{"10.0.0.0/8 253", "", v4("10.0.0.0", "10.255.255.255", 253, AnyPorts())},
		{"10.0.0.0/8 icmp/8", "", v4("10.0.0.0", "10.255.255.255", 1, Ports{0x0800, 0x08ff})},
		{"10.0.0.0/8 icmp/8/0", "", v4("10.0.0.0", "10.255.255.255", 1, Ports{0x0800, 0x0800})},
		{"10.0.0.0/8 icmp/3/0-3/4", "", v4("10.0.0.0", "10.255.255.255", 1, Ports{0x0300, 0x0304})},
		{"10.0.0.0/8 icmp/3-5", "", v4("10.0.0.0", "10.255.255.255", 1, Ports{0x0300, 0x05ff})},
		{"10.0.0.0/8 icmp/0-255", "10.0.0.0/8 icmp", v4("10.0.0.0", "10.255.255.255", 1, AnyPorts())},
		{"10.0.0.0/8 icmp/3/7-5", "10.0.0.0/8 icmp/3/7-5/255", v4("10.0.0.0", "10.255.255.255", 1, Ports{0x0307, 0x05ff})},
		{"2001:db8::/32 icmpv6/128/0", "", v4("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 58, Ports{0x8000, 0x8000})},
		{"::ffff:10.0.0.1", "", v4("::ffff:10.0.0.1", "::ffff:10.0.0.1", 0, AnyPorts())},
		{"2001:db8::1-2001:db8::3", "", v4("2001:db8::1", "2001:db8::3", 0, AnyPorts())},
	} {
		got, err := ParseSelector(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q: %+v, %v, want %+v", tt.text, got, err, tt.want)
			continue
		}
		want := tt.canonical
		if want == "" {
			want = tt.text
		}
		if got.String() != want {
			t.Errorf("%q is printed as %q, want %q", tt.text, got, want)
		}
	}
}

func TestParseSelectors(t *testing.T) {
	all, err := ParseSelectors("any udp/53")
	if err != nil || len(all) != 2 || all[0].String() != "0.0.0.0/0 udp/53" || all[1].String() != "::/0 udp/53" {
		t.Errorf("any: %v, %v", all, err)
	}
	if all, err := ParseSelectors("10.0.0.0/8"); err != nil || len(all) != 1 || all[0] != prefix("10.0.0.0/8") {
		t.Errorf("one prefix: %v, %v", all, err)
	}
}

// An error says what is wrong, with which value, and what to write.
func TestParseSelectorErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "it is empty; write for instance",
		"   ":                     "it is empty",
		"any":                     `"any" is IPv4 and IPv6; write any4 or any6`,
		"any tcp/80":              `"any tcp/80" is IPv4 and IPv6`,
		"10.1.2.3/8":              `"10.1.2.3/8" has bits set behind its length; write 10.0.0.0/8 for the network or 10.1.2.3 for the one address`,
		"10.0.0.0/33":             `"10.0.0.0/33" is no prefix`,
		"10.0.0/8":                `"10.0.0/8" is no prefix`,
		"10.0.0":                  `"10.0.0" is no address`,
		"example.org":             `"example.org" is no address`,
		"10.0.0.9-10.0.0.1":       "10.0.0.9 is above 10.0.0.1",
		"10.0.0.1-::1":            "are of two families",
		"10.0.0.1-":               `"" is no address`,
		"-":                       `"" is no address`,
		"fe80::1%eth0":            "leave %eth0 out",
		"fe80::%a/64":             "is no prefix",
		"10.0.0.0/8 tpc":          `"tpc" is no protocol; write its number`,
		"10.0.0.0/8 256":          `"256" is no protocol`,
		"10.0.0.0/8 -1":           `"-1" is no protocol`,
		"10.0.0.0/8 006":          `"006" is no protocol`,
		"10.0.0.0/8 tcp/":         `"" is no port`,
		"10.0.0.0/8 tcp/65536":    `"65536" is no port`,
		"10.0.0.0/8 tcp/http":     `"http" is no port; write 0 to 65535`,
		"10.0.0.0/8 tcp/+80":      `"+80" is no port`,
		"10.0.0.0/8 tcp/2-1":      `"2-1" runs downwards`,
		"10.0.0.0/8 tcp/65535-0":  "runs downwards", // opaque is a word
		"10.0.0.0/8 tcp/80 udp":   `"80 udp" is no port`,
		"10.0.0.0/8 icmp/256":     `"256" is no ICMP type`,
		"10.0.0.0/8 icmp/8/256":   `"256" is no ICMP code`,
		"10.0.0.0/8 icmp/8/0/0":   `"0/0" is no ICMP code`,
		"10.0.0.0/8 icmp/3/1-3/0": "runs downwards",
		"10.0.0.0/8 icmp/echo":    `"echo" is no ICMP type`,
	} {
		s, err := ParseSelector(text)
		if !errors.Is(err, ErrText) || !strings.Contains(err.Error(), want) || s != (Selector{}) {
			t.Errorf("%q: %v, %v, want %q", text, s, err, want)
		}
	}
}

func TestStringOfMalformed(t *testing.T) {
	for want, s := range map[string]Selector{
		"invalid IP any/0":           {},
		"10.0.0.1-::1 any/0":         {First: netip.MustParseAddr("10.0.0.1"), Last: netip.IPv6Loopback()},
		"invalid IP-10.0.0.1":        {Last: netip.MustParseAddr("10.0.0.1"), Ports: AnyPorts()},
		"10.0.0.2-10.0.0.1 tcp/2-1":  {First: netip.MustParseAddr("10.0.0.2"), Last: netip.MustParseAddr("10.0.0.1"), Proto: 6, Ports: Ports{2, 1}},
		"fe80::1%a-fe80::2 tcp/8":    {First: netip.MustParseAddr("fe80::1%a"), Last: netip.MustParseAddr("fe80::2"), Proto: 6, Ports: Ports{8, 8}},
		"10.0.0.1-invalid IP icmp/8": {First: netip.MustParseAddr("10.0.0.1"), Proto: 1, Ports: Ports{0x800, 0x8ff}},
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What is read is well-formed and is read again as itself from what String writes.
func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{
		"10.1.0.0/16", "192.0.2.1-192.0.2.9 udp/1000-2000", "any", "any4 tcp/opaque", "any6 icmpv6/128/0", "10.0.0.0/8 47",
		"10.0.0.0/8 icmp/3/0-3/4", "::ffff:10.0.0.0/104 any/53", "0.0.0.0-255.255.255.254 1/8", "2001:db8::1 0/opaque", "fe80::1%a", "10.1.2.3/8",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseSelectors(text)
		if err != nil {
			if !errors.Is(err, ErrText) || all != nil {
				t.Fatalf("%q: %v, %v", text, all, err)
			}
			return
		}
		for _, s := range all {
			if err := s.Validate(); err != nil {
				t.Fatalf("%q is read as %+v: %v", text, s, err)
			}
			if again, err := ParseSelector(s.String()); err != nil || again != s {
				t.Fatalf("%q is printed as %q, which is read as %+v, %v", text, s, again, err)
			}
		}
	})
}
