package ipwire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// udp4 is a DNS query from draft-mcgrew-gcm-test-01, case 2.
const udp4 = "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100" +
	"0001000000000000037369700963796265726369747902646b0000010001"

// tcp4 is a SYN from the same draft, case 3.
const tcp4 = "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000" +
	"7002400020bf0000020405b401010402"

func TestIPv4(t *testing.T) {
	b := unhex(t, udp4)
	h, err := ParseIPv4(append(b, "TFC padding"...))
	if err != nil {
		t.Fatal(err)
	}
	if len(h) != 62 || h.TotalLen() != 62 || h.HeaderLen() != 20 || len(h.Options()) != 0 || len(h.Payload()) != 42 {
		t.Errorf("lengths: %d, %d, %d", len(h), h.TotalLen(), h.HeaderLen())
	}
	if h.TOS() != 0 || h.ID() != 0x698f || h.TTL() != 128 || h.Protocol() != ProtoUDP || h.Checksum() != 0x4dcc {
		t.Errorf("fields: %d, %#x, %d, %d, %#x", h.TOS(), h.ID(), h.TTL(), h.Protocol(), h.Checksum())
	}
	if h.DontFragment() || h.MoreFragments() || h.FragmentOffset() != 0 || !h.ChecksumOK() {
		t.Error("it is no plain datagram with a right checksum")
	}
	if h.Src().String() != "192.168.1.2" || h.Dst().String() != "192.168.1.1" {
		t.Errorf("addresses: %v, %v", h.Src(), h.Dst())
	}
	u, err := ParseUDP(h.Payload())
	if err != nil || u.SrcPort() != 2712 || u.DstPort() != 53 || len(u.Payload()) != 34 || u.Checksum() != 0x2343 {
		t.Errorf("UDP: %v, %d, %d, %d bytes", err, u.SrcPort(), u.DstPort(), len(u.Payload()))
	}
	if got := AddSums(PseudoHeader(h.Src(), h.Dst(), ProtoUDP, len(u)), Sum(u)); got != 0xffff {
		t.Errorf("UDP checksum: sum %#x", got)
	}
	h.SetTTL(1)
	if h.ChecksumOK() {
		t.Error("the checksum is right after a change")
	}
	h.SetTTL(128)
	h.SetTOS(0xb8)
	h.SetDontFragment(true)
	h.UpdateChecksum()
	if !h.ChecksumOK() || !h.DontFragment() || h.TOS() != 0xb8 || h.TTL() != 128 {
		t.Error("the setters have set something else")
	}
	h.SetDontFragment(false)
	if h.DontFragment() {
		t.Error("DF is still set")
	}
	h[6], h[7] = 0x3f, 0xff
	if !h.MoreFragments() || h.FragmentOffset() != 65528 || h.DontFragment() {
		t.Errorf("fragment: %v, %d", h.MoreFragments(), h.FragmentOffset())
	}
}

func TestTCP(t *testing.T) {
	h, err := ParseIPv4(unhex(t, tcp4))
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseTCP(h.Payload())
	if err != nil {
		t.Fatal(err)
	}
	if s.SrcPort() != 2718 || s.DstPort() != 139 || s.Seq() != 0x2dc57ee0 || s.Ack() != 0 || s.HeaderLen() != 28 ||
		s.Flags() != 2 || s.Checksum() != 0x20bf || len(s.Payload()) != 0 {
		t.Errorf("%d, %d, %#x, %d, %d, %#x", s.SrcPort(), s.DstPort(), s.Seq(), s.Ack(), s.HeaderLen(), s.Flags())
	}
	for n := range s {
		want := ErrTruncated
		if n >= TCPMinHeaderLen {
			want = ErrHeaderLength
		}
		if _, err := ParseTCP(s[:n]); err != want {
			t.Errorf("%d bytes: %v, want %v", n, err, want)
		}
	}
	s[12] = 0x40
	if _, err := ParseTCP(s); err != ErrHeaderLength {
		t.Errorf("header of 16 bytes: %v", err)
	}
}

func TestPut(t *testing.T) {
	for _, tt := range []struct{ src, dst string }{{"10.0.0.1", "10.0.0.2"}, {"fd00::1", "fd00::2"}} {
		src, dst := netip.MustParseAddr(tt.src), netip.MustParseAddr(tt.dst)
		b := bytes.Repeat([]byte{0xaa}, 75)
		transport := b[20:]
		if src.Is6() {
			transport = b[40:]
		}
		u, err := PutUDP(transport, netip.AddrPortFrom(src, 4500), netip.AddrPortFrom(dst, 53))
		if err != nil {
			t.Fatal(err)
		}
		if u.SrcPort() != 4500 || u.DstPort() != 53 || len(u) != len(transport) {
			t.Errorf("%s: UDP %d, %d, %d bytes", tt.src, u.SrcPort(), u.DstPort(), len(u))
		}
		if got := AddSums(PseudoHeader(src, dst, ProtoUDP, len(u)), Sum(u)); got != 0xffff {
			t.Errorf("%s: UDP sums to %#x", tt.src, got)
		}
		if src.Is4() {
			putIPv4(t, b, src, dst)
		} else {
			putIPv6(t, b, src, dst)
		}
		f, err := ParseFlow(b)
		want := Flow{Src: src, Dst: dst, Proto: ProtoUDP, SrcPort: 4500, DstPort: 53}
		if err != nil || f != want {
			t.Errorf("flow %+v, %v, want %+v", f, err, want)
		}
	}
}

func putIPv4(t *testing.T, b []byte, src, dst netip.Addr) {
	t.Helper()
	f := IPv4Header{TOS: 3, ID: 0xbeef, DontFragment: true, TTL: 7, Protocol: ProtoUDP, Src: src, Dst: dst}
	if _, err := PutIPv4(b, f); err != nil {
		t.Fatal(err)
	}
	h, err := ParseIPv4(b)
	if err != nil {
		t.Fatal(err)
	}
	got := IPv4Header{h.TOS(), h.ID(), h.DontFragment(), h.TTL(), h.Protocol(), h.Src(), h.Dst()}
	if got != f || !h.ChecksumOK() || len(h) != len(b) {
		t.Errorf("put %+v, got %+v", f, got)
	}
}

func putIPv6(t *testing.T, b []byte, src, dst netip.Addr) {
	t.Helper()
	f := IPv6Header{TrafficClass: 0xb9, FlowLabel: 0xabcde, NextHeader: ProtoUDP, HopLimit: 7, Src: src, Dst: dst}
	if _, err := PutIPv6(b, f); err != nil {
		t.Fatal(err)
	}
	h, err := ParseIPv6(b)
	if err != nil {
		t.Fatal(err)
	}
	got := IPv6Header{h.TrafficClass(), h.FlowLabel(), h.NextHeader(), h.HopLimit(), h.Src(), h.Dst()}
	if got != f || len(h) != len(b) || h.PayloadLen() != len(b)-40 {
		t.Errorf("put %+v, got %+v", f, got)
	}
	h.SetTrafficClass(0x46)
	h.SetHopLimit(9)
	if h.TrafficClass() != 0x46 || h.FlowLabel() != 0xabcde || Version(h) != 6 || h.HopLimit() != 9 {
		t.Errorf("setters: %#x, %#x, %d", h.TrafficClass(), h.FlowLabel(), h.HopLimit())
	}
}

func TestPutErrors(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	mapped := netip.MustParseAddr("::ffff:10.0.0.1")
	for name, tt := range map[string]struct {
		put  func() error
		want error
	}{
		"short IPv4":        {func() error { _, err := PutIPv4(make([]byte, 19), IPv4Header{Src: v4, Dst: v4}); return err }, ErrLength},
		"long IPv4":         {func() error { _, err := PutIPv4(make([]byte, 65536), IPv4Header{Src: v4, Dst: v4}); return err }, ErrLength},
		"IPv6 in IPv4":      {func() error { _, err := PutIPv4(make([]byte, 20), IPv4Header{Src: v4, Dst: v6}); return err }, ErrVersion},
		"mapped in IPv4":    {func() error { _, err := PutIPv4(make([]byte, 20), IPv4Header{Src: mapped, Dst: v4}); return err }, ErrVersion},
		"no address":        {func() error { _, err := PutIPv4(make([]byte, 20), IPv4Header{}); return err }, ErrVersion},
		"short IPv6":        {func() error { _, err := PutIPv6(make([]byte, 39), IPv6Header{Src: v6, Dst: v6}); return err }, ErrLength},
		"long IPv6":         {func() error { _, err := PutIPv6(make([]byte, 65576), IPv6Header{Src: v6, Dst: v6}); return err }, ErrLength},
		"IPv4 in IPv6":      {func() error { _, err := PutIPv6(make([]byte, 40), IPv6Header{Src: v4, Dst: v6}); return err }, ErrVersion},
		"short UDP":         {func() error { _, err := PutUDP(make([]byte, 7), netip.AddrPort{}, netip.AddrPort{}); return err }, ErrLength},
		"long UDP":          {func() error { _, err := PutUDP(make([]byte, 65536), netip.AddrPort{}, netip.AddrPort{}); return err }, ErrLength},
		"no address in UDP": {func() error { _, err := PutUDP(make([]byte, 8), netip.AddrPort{}, netip.AddrPort{}); return err }, ErrVersion},
	} {
		if err := tt.put(); err != tt.want {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// A UDP checksum that comes out as 0 goes as 0xffff: 0 would say that there is none.
func TestPutUDPZeroChecksum(t *testing.T) {
	src, dst := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	b := make([]byte, 10)
	u, err := PutUDP(b, netip.AddrPortFrom(src, 1), netip.AddrPortFrom(dst, 2))
	if err != nil {
		t.Fatal(err)
	}
	b[8], b[9] = byte(u.Checksum()>>8), byte(u.Checksum())
	if u, err = PutUDP(b, netip.AddrPortFrom(src, 1), netip.AddrPortFrom(dst, 2)); err != nil || u.Checksum() != 0xffff {
		t.Errorf("checksum %#x, %v, want 0xffff", u.Checksum(), err)
	}
}

func TestParseErrors(t *testing.T) {
	with := func(s string, at int, v byte) []byte {
		b := unhex(t, s)
		b[at] = v
		return b
	}
	udp6 := make([]byte, 60)
	if _, err := PutIPv6(udp6, IPv6Header{NextHeader: ProtoUDP, Src: netip.IPv6Loopback(), Dst: netip.IPv6Loopback()}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":               {nil, ErrTruncated},
		"version 0":             {with(udp4, 0, 0x05), ErrVersion},
		"version 5":             {with(udp4, 0, 0x55), ErrVersion},
		"IPv4 header of 16":     {with(udp4, 0, 0x44), ErrHeaderLength},
		"IPv4 header beyond":    {with(tcp4, 0, 0x4d), ErrLength},
		"IPv4 total length 19":  {with(udp4, 3, 19), ErrLength},
		"IPv4 total length +1":  {with(udp4, 3, 63), ErrTruncated},
		"IPv6 payload length+1": {append(udp6[:5:5], append([]byte{21}, udp6[6:]...)...), ErrTruncated},
	} {
		if _, err := DatagramLen(tt.b); err != tt.want {
			t.Errorf("%s: DatagramLen: %v, want %v", name, err, tt.want)
		}
		if _, err := ParseFlow(tt.b); err != tt.want {
			t.Errorf("%s: ParseFlow: %v, want %v", name, err, tt.want)
		}
	}
	for _, whole := range [][]byte{unhex(t, udp4), unhex(t, tcp4), udp6} {
		for n := range whole {
			if _, err := DatagramLen(whole[:n]); err != ErrTruncated {
				t.Errorf("%d bytes of %x: %v", n, whole, err)
			}
			if _, err := ParseFlow(whole[:n]); err != ErrTruncated {
				t.Errorf("%d bytes of %x: %v", n, whole, err)
			}
		}
	}
	if _, err := ParseIPv4(udp6); err != ErrVersion {
		t.Errorf("IPv6 as IPv4: %v", err)
	}
	if _, err := ParseIPv6(unhex(t, udp4)); err != ErrVersion {
		t.Errorf("IPv4 as IPv6: %v", err)
	}
	if _, err := ParseIPv6(unhex(t, udp4)[:30]); err != ErrVersion {
		t.Errorf("short IPv4 as IPv6: %v", err)
	}
	if _, err := ParseUDP(make([]byte, 8)); err != ErrLength {
		t.Errorf("UDP length 0: %v", err)
	}
	if _, err := ParseUDP([]byte{0, 1, 0, 2, 0, 9, 0, 0}); err != ErrTruncated {
		t.Errorf("UDP length + 1: %v", err)
	}
	if _, err := ParseUDP(make([]byte, 7)); err != ErrTruncated {
		t.Errorf("short UDP: %v", err)
	}
	if _, err := ParseICMP(make([]byte, 7)); err != ErrTruncated {
		t.Errorf("short ICMP: %v", err)
	}
}

func TestICMP(t *testing.T) {
	m, err := ParseICMP([]byte{3, 4, 0x12, 0x34, 0, 0, 5, 0xdc, 0x45})
	if err != nil || m.Type() != 3 || m.Code() != 4 || m.Checksum() != 0x1234 || m.Rest() != 1500 || !bytes.Equal(m.Payload(), []byte{0x45}) {
		t.Errorf("%v: %d, %d, %#x, %d, %x", err, m.Type(), m.Code(), m.Checksum(), m.Rest(), m.Payload())
	}
}
