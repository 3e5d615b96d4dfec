package ikewire

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

const (
	cpRequest = "01 000000 0001 0000 0008 0000 0003 0000"
	cpReply   = `02 000000
		0001 0004 0a420001
		0008 0011 fd420000000000000000000000000001 80
		000d 0008 0a000000 ff000000
		000e 0004 0001 0003
		7fff 0001 ff`
)

func cpCases() []payloadCase {
	return []payloadCase{
		{"request", CP{ConfigRequest, []ConfigAttribute{
			{InternalIP4Address, nil}, {InternalIP6Address, nil}, {InternalIP4DNS, nil},
		}}, cpRequest},
		{"reply", CP{ConfigReply, []ConfigAttribute{
			NewAddrAttribute(InternalIP4Address, netip.MustParseAddr("10.66.0.1")),
			NewPrefixAttribute(InternalIP6Address, netip.MustParsePrefix("fd42::1/128")),
			NewPrefixAttribute(InternalIP4Subnet, netip.MustParsePrefix("10.0.0.0/8")),
			{SupportedAttributes, []byte{0, 1, 0, 3}},
			{0x7fff, []byte{0xff}},
		}}, cpReply},
		{"empty", CP{Type: ConfigAck}, "04 000000"},
	}
}

func TestCP(t *testing.T) {
	checkPayloads(t, cpCases())
	checkRefused(t, PayloadCP, []refusedCase{
		{"half a header", "01 0000", ErrTruncated},
		{"half an attribute", "01 000000 0001 00", ErrTruncated},
		{"attribute past the end", "01 000000 0001 0001", ErrTruncated},
		{"257 attributes", "01 000000" + strings.Repeat("0001 0000", 257), ErrTooMany},
	})
	checkUnsendable(t, []unsendableCase{
		{"257 attributes", CP{1, make([]ConfigAttribute, 257)}, ErrTooMany},
		{"type of 16 bits", CP{1, []ConfigAttribute{{0x8000, nil}}}, ErrValue},
		{"long value", CP{1, []ConfigAttribute{{1, make([]byte, 0x10000)}}}, ErrLength},
	})
	p, err := parseBody(PayloadCP, 0, unhex(t, "01 000000 8001 0000"))
	if err != nil || p.(CP).Attributes[0].Type != InternalIP4Address {
		t.Errorf("with the reserved bit: %v, %v", p, err)
	}
	if found := cpCases()[1].payload.(CP).Find(InternalIP4Subnet); len(found) != 1 {
		t.Errorf("found %v", found)
	}
}

func TestConfigValues(t *testing.T) {
	attributes := cpCases()[1].payload.(CP).Attributes
	if a, err := attributes[0].Addr(); err != nil || a != netip.MustParseAddr("10.66.0.1") {
		t.Errorf("got %s, %v", a, err)
	}
	if a, err := attributes[1].Addr(); err != nil || a != netip.MustParseAddr("fd42::1") {
		t.Errorf("got %s, %v", a, err)
	}
	for i, want := range map[int]string{1: "fd42::1/128", 2: "10.0.0.0/8"} {
		if p, err := attributes[i].Prefix(); err != nil || p.String() != want {
			t.Errorf("got %s, %v; want %s", p, err, want)
		}
	}
	types, err := attributes[3].Supported()
	if err != nil || !slices.Equal(types, []ConfigAttributeType{InternalIP4Address, InternalIP4DNS}) {
		t.Errorf("got %v, %v", types, err)
	}
	for _, t4 := range []string{"0.0.0.0/0", "10.1.2.3/32"} {
		want := netip.MustParsePrefix(t4)
		if p, err := NewPrefixAttribute(InternalIP4Subnet, want).Prefix(); err != nil || p != want {
			t.Errorf("got %s, %v; want %s", p, err, want)
		}
	}
	if a, err := NewAddrAttribute(InternalIP4DNS, netip.Addr{}).Addr(); err != nil || a.IsValid() {
		t.Errorf("no wish: %s, %v", a, err)
	}
	if p, err := NewPrefixAttribute(InternalIP6Address, netip.Prefix{}).Prefix(); err != nil || p.IsValid() {
		t.Errorf("no wish: %s, %v", p, err)
	}
}

func TestConfigValuesRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  ConfigAttributeType
		value string
		want  error
	}{
		{"IPv4 of 3 bytes", InternalIP4Address, "010203", ErrLength},
		{"IPv6 of 4 bytes", InternalIP6DNS, "01020304", ErrLength},
		{"IPv6 address without prefix length", InternalIP6Address, "fd420000000000000000000000000001", ErrLength},
		{"prefix length 129", InternalIP6Subnet, "fd420000000000000000000000000001 81", ErrValue},
		{"mask with holes", InternalIP4Subnet, "0a000000 ff00ff00", ErrValue},
		{"subnet without mask", InternalIP4Subnet, "0a000000", ErrLength},
		{"odd list", SupportedAttributes, "000100", ErrLength},
		{"long list", SupportedAttributes, strings.Repeat("0001", 257), ErrTooMany},
		{"text", ApplicationVersion, "61", ErrValue},
	} {
		a := ConfigAttribute{c.kind, unhex(t, c.value)}
		_, err1 := a.Addr()
		_, err2 := a.Prefix()
		_, err3 := a.Supported()
		if err1 == nil || err2 == nil || err3 == nil || !errors.Is(errors.Join(err1, err2, err3), c.want) {
			t.Errorf("%s: %v; %v; %v; want %v", c.name, err1, err2, err3, c.want)
		}
	}
}

func FuzzCP(f *testing.F) { fuzzPayload(f, PayloadCP, cpRequest, cpReply) }
