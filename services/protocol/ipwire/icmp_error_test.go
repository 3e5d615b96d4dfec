package ipwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

// TestWhatGetsNoICMPError is RFC 1122 section 3.2.2 and RFC 4443 section 2.4(e), for every type of message.
func TestWhatGetsNoICMPError(t *testing.T) {
	errors4 := map[int]bool{3: true, 4: true, 5: true, 11: true, 12: true}
	for kind := range 256 {
		message := []byte{byte(kind), 0, 0, 0, 0, 0, 0, 0}
		if _, ok := AppendTooBig(nil, packet4(t, ProtoICMP, message), 1280); ok == errors4[kind] {
			t.Errorf("ICMP type %d: %v", kind, ok)
		}
		six := chain6(t, 8, ProtoDestination, ProtoICMPv6)
		six[48] = byte(kind)
		if _, ok := AppendTooBig(nil, six, 1280); ok != (kind > 127 && kind != 137) {
			t.Errorf("ICMPv6 type %d: %v", kind, ok)
		}
		_, err := ParseICMPError(packet4(t, ProtoICMP, message))
		if _, err6 := ParseICMPError(six); (err == nil) != errors4[kind] || (err6 == nil) != (kind <= 127) {
			t.Errorf("type %d as an error: %v, %v", kind, err, err6)
		}
	}
	for _, s := range []string{"127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "ff02::1", "ff0e::7"} {
		a, host := netip.MustParseAddr(s), host4a
		if a.Is6() {
			host = host6a
		}
		for _, packet := range [][]byte{udpPacket(t, a, host, nil), udpPacket(t, host, a, nil)} {
			if message, ok := AppendTooBig([]byte("x"), packet, 1280); ok || string(message) != "x" {
				t.Errorf("about %s: % x", s, message)
			}
		}
	}
	for _, s := range []string{"1.0.0.1", "126.1.2.3", "223.255.255.1", "10.0.0.255", "fe80::1", "2001:db8::"} {
		a, host := netip.MustParseAddr(s), host4a
		if a.Is6() {
			host = host6a
		}
		if _, ok := AppendTooBig(nil, udpPacket(t, a, host, nil), 1280); !ok {
			t.Errorf("%s gets none", s)
		}
	}
}

// TestTooBigOfEveryPrefix: a cut packet gets no message.
func TestTooBigOfEveryPrefix(t *testing.T) {
	for _, packet := range [][]byte{udpPacket(t, host4a, host4b, make([]byte, 20)), chain6(t, 20, ProtoHopByHop, ProtoRouting, ProtoTCP)} {
		for n := range packet {
			if _, ok := AppendTooBig(nil, packet[:n], 1280); ok {
				t.Fatalf("%d of %d bytes get one", n, len(packet))
			}
		}
	}
}

func TestTooBigMTU(t *testing.T) {
	for _, c := range []struct{ mtu, want4, want6 int }{
		{-1, 0, 0}, {0, 0, 0}, {68, 68, 68}, {65535, 65535, 65535}, {65536, 65535, 65536}, {1 << 20, 65535, 1 << 20},
	} {
		for _, packet := range [][]byte{udpPacket(t, host4a, host4b, nil), udpPacket(t, host6a, host6b, nil)} {
			want := c.want4
			if packet[0]>>4 == 6 {
				want = c.want6
			}
			message, _ := AppendTooBig(nil, packet, c.mtu)
			if e, err := ParseICMPError(message); err != nil || e.MTU != want {
				t.Errorf("%d: %d, %v", c.mtu, e.MTU, err)
			}
		}
	}
	// 2^32-1 on the wire is no negative number.
	message, _ := AppendTooBig(nil, udpPacket(t, host6a, host6b, nil), 1280)
	binary.BigEndian.PutUint32(message[44:], 0xffffffff)
	if e, err := ParseICMPError(message); err != nil || e.MTU != 1<<31-1 {
		t.Errorf("%d, %v", e.MTU, err)
	}
}

func TestParseICMPErrorRefuses(t *testing.T) {
	message4, _ := AppendTooBig(nil, udpPacket(t, host4a, host4b, nil), 1280)
	later := bytes.Clone(message4)
	binary.BigEndian.PutUint16(later[6:], 5)
	short := packet4(t, ProtoICMP, []byte{3, 4, 0, 0, 0, 0, 0})
	for name, c := range map[string]struct {
		packet []byte
		err    error
	}{
		"UDP":              {udpPacket(t, host4a, host4b, nil), ErrProtocol},
		"later fragment":   {later, ErrFragment},
		"7 bytes":          {short, ErrTruncated},
		"ICMPv6 in IPv4":   {packet4(t, ProtoICMPv6, []byte{2, 0, 0, 0, 0, 0, 0, 0}), ErrProtocol},
		"ICMP in IPv6":     {chain6(t, 8, ProtoICMP), ErrProtocol},
		"echo":             {packet4(t, ProtoICMP, []byte{8, 0, 0, 0, 0, 0, 0, 0}), ErrProtocol},
		"another version":  {[]byte{0x55}, ErrVersion},
		"nothing":          {nil, ErrTruncated},
		"7 bytes of six":   {chain6(t, 7, ProtoICMPv6), ErrTruncated},
		"six, no fragment": {chain6(t, 8, ProtoFragment, ProtoICMPv6)[:47], ErrTruncated},
	} {
		if e, err := ParseICMPError(c.packet); !errors.Is(err, c.err) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	// Other errors than "too big" have no MTU.
	unreachable := packet4(t, ProtoICMP, append([]byte{3, 1, 0, 0, 0, 0, 5, 0}, udpPacket(t, host4b, host4a, nil)...))
	if e, err := ParseICMPError(unreachable); err != nil || e.MTU != 0 || e.Type != 3 || e.Code != 1 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestQuotedFlow(t *testing.T) {
	later := udpPacket(t, host4a, host4b, nil)
	binary.BigEndian.PutUint16(later[6:], 9)
	for name, c := range map[string]struct {
		quoted   []byte
		err      error
		fragment bool
	}{
		"nothing":           {nil, ErrTruncated, false},
		"another version":   {[]byte{0x70, 0}, ErrVersion, false},
		"IHL 4":             {append([]byte{0x44}, make([]byte, 40)...), ErrHeaderLength, false},
		"options cut":       {append([]byte{0x4f}, make([]byte, 40)...), ErrHeaderLength, false},
		"later fragment":    {later[:20], nil, true},
		"options and ports": {packet4(t, ProtoTCP, make([]byte, 4), 1, 1, 1, 0), nil, false},
		"routing cut":       {chain6(t, 20, ProtoRouting, ProtoTCP)[:47], ErrTruncated, false},
		"no ports":          {chain6(t, 20, ProtoRouting, ProtoTCP)[:51], ErrTruncated, false},
		"ports":             {chain6(t, 20, ProtoRouting, ProtoTCP)[:52], nil, false},
		"ESP":               {chain6(t, 0, ProtoESP), nil, false},
	} {
		flow, err := ICMPError{Quoted: c.quoted}.QuotedFlow()
		if !errors.Is(err, c.err) || flow.Fragment != c.fragment {
			t.Errorf("%s: %+v, %v", name, flow, err)
		}
	}
}
