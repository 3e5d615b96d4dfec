package ikewire

import (
	"net/netip"
	"testing"
)

const (
	tsMixed = `03 000000
		07 06 0010 0050 01bb 0a620100 0a6201ff
		08 00 0028 0000 ffff 20010db8000000000000000000000000 20010db800000000ffffffffffffffff
		0a 00 0008 deadbeef`
	tsOpaque = "01 000000 07 11 0010 ffff 0000 00000000 ffffffff"
)

func tsCases() []payloadCase {
	addr := netip.MustParseAddr
	return []payloadCase{
		{"mixed", TSi{[]TrafficSelector{
			{TSIPv4AddrRange, 6, 80, 443, addr("10.98.1.0"), addr("10.98.1.255"), nil},
			{TSIPv6AddrRange, 0, 0, 65535, addr("2001:db8::"), addr("2001:db8::ffff:ffff:ffff:ffff"), nil},
			{Type: TSSecLabel, Data: []byte{0xde, 0xad, 0xbe, 0xef}},
		}}, tsMixed},
		{"opaque ports", TSr{[]TrafficSelector{
			{TSIPv4AddrRange, 17, 65535, 0, addr("0.0.0.0"), addr("255.255.255.255"), nil},
		}}, tsOpaque},
		{"IPv4-mapped", TSi{[]TrafficSelector{
			{TSIPv6AddrRange, 0, 0, 0, addr("::ffff:1.2.3.4"), addr("::ffff:1.2.3.4"), nil},
		}}, "01 000000 08 00 0028 0000 0000 00000000000000000000ffff01020304 00000000000000000000ffff01020304"},
	}
}

func TestTrafficSelectors(t *testing.T) {
	checkPayloads(t, tsCases())
	checkRefused(t, PayloadTSr, []refusedCase{
		{"half a header", "01 0000", ErrTruncated},
		{"none", "00 000000", ErrLength},
		{"more than there can be", "ff 000000 07 00 0010", ErrTruncated},
		{"fewer than counted", "02 000000 07 11 0010 ffff 0000 00000000 ffffffff", ErrTruncated},
		{"more than counted", "01 000000 07 11 0010 ffff 0000 00000000 ffffffff 0a 00 0004", ErrTrailing},
		{"selector length 3", "01 000000 0a 00 0003", ErrLength},
		{"selector past the end", "01 000000 0a 00 0005", ErrTruncated},
		{"IPv4 of 17 bytes", "01 000000 07 11 0011 ffff 0000 00000000 ffffffff 00", ErrLength},
		{"IPv4 of 15 bytes", "01 000000 07 11 000f ffff 0000 00000000 ffffff", ErrLength},
		{"IPv6 of IPv4's length", "01 000000 08 11 0010 ffff 0000 00000000 ffffffff", ErrLength},
		{"end below start", "01 000000 07 00 0010 0000 ffff 0a000001 0a000000", ErrValue},
		{"end port below start port", "01 000000 07 06 0010 0051 0050 0a000000 0a000001", ErrValue},
	})
	a4, a6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1%eth0")
	one := func(s TrafficSelector) Payload { return TSi{[]TrafficSelector{s}} }
	checkUnsendable(t, []unsendableCase{
		{"none", TSi{}, ErrLength},
		{"256", TSi{make([]TrafficSelector, 256)}, ErrTooMany},
		{"no address", one(TrafficSelector{Type: TSIPv4AddrRange}), ErrValue},
		{"IPv4 as IPv6", one(TrafficSelector{Type: TSIPv6AddrRange, Start: a4, End: a4}), ErrValue},
		{"zone", one(TrafficSelector{Type: TSIPv6AddrRange, Start: a6, End: a6}), ErrValue},
		{"long", one(TrafficSelector{Type: TSSecLabel, Data: make([]byte, 0x10000)}), ErrLength},
	})
}

func TestTrafficSelectorString(t *testing.T) {
	want := []string{
		"10.98.1.0-10.98.1.255 protocol 6 ports 80-443",
		"2001:db8::-2001:db8::ffff:ffff:ffff:ffff",
		"TS_SECLABEL deadbeef",
		"0.0.0.0-255.255.255.255 protocol 17 ports OPAQUE",
	}
	cases := tsCases()
	selectors := append(cases[0].payload.(TSi).Selectors, cases[1].payload.(TSr).Selectors...)
	for i, s := range selectors {
		if s.String() != want[i] {
			t.Errorf("got %s, want %s", s, want[i])
		}
	}
}

func FuzzTS(f *testing.F) { fuzzPayload(f, PayloadTSi, tsMixed, tsOpaque) }
