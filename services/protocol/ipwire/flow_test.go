package ipwire

import (
	"net/netip"
	"testing"
)

// ipv4 returns a datagram with the given protocol, flags-and-offset and payload.
func ipv4(t testing.TB, proto uint8, fragment uint16, payload ...byte) []byte {
	t.Helper()
	b := append(make([]byte, 20), payload...)
	h, err := PutIPv4(b, IPv4Header{Protocol: proto, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")})
	if err != nil {
		t.Fatal(err)
	}
	h[6], h[7] = byte(fragment>>8), byte(fragment)
	return b
}

// ipv6 returns a datagram with the given first next header and payload.
func ipv6(t testing.TB, next uint8, payload ...byte) []byte {
	t.Helper()
	b := append(make([]byte, 40), payload...)
	_, err := PutIPv6(b, IPv6Header{NextHeader: next, Src: netip.MustParseAddr("fd00::1"), Dst: netip.MustParseAddr("fd00::2")})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ext returns an extension header of 8 bytes that says what is next.
func ext(next uint8) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }

func chain(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func repeat(header []byte, times int) (all []byte) {
	for range times {
		all = append(all, header...)
	}
	return all
}

func TestParseFlow(t *testing.T) {
	ports := []byte{0x12, 0x34, 0x56, 0x78}
	long := append([]byte{ProtoTCP, 2}, make([]byte, 22)...)
	for _, tt := range []struct {
		name string
		b    []byte
		want Flow // addresses apart
		err  error
	}{
		{"TCP", ipv4(t, ProtoTCP, 0, ports...), Flow{Proto: 6, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"UDP with DF", ipv4(t, ProtoUDP, 0x4000, ports...), Flow{Proto: 17, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"UDP-Lite", ipv4(t, ProtoUDPLite, 0, ports...), Flow{Proto: 136, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"SCTP", ipv4(t, ProtoSCTP, 0, ports...), Flow{Proto: 132, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"DCCP", ipv4(t, ProtoDCCP, 0, ports...), Flow{Proto: 33, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"ICMP", ipv4(t, ProtoICMP, 0, 8, 1), Flow{Proto: 1, SrcPort: 0x801, DstPort: 0x801}, nil},
		{"GRE", ipv4(t, 47, 0), Flow{Proto: 47, Opaque: true}, nil},
		{"TCP without ports", ipv4(t, ProtoTCP, 0, ports[:3]...), Flow{}, ErrTruncated},
		{"ICMP without code", ipv4(t, ProtoICMP, 0, 8), Flow{}, ErrTruncated},
		{"first fragment", ipv4(t, ProtoTCP, 0x2000, ports...), Flow{Proto: 6, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"first fragment without ports", ipv4(t, ProtoTCP, 0x2000, ports[:2]...), Flow{}, ErrTruncated},
		{"second fragment", ipv4(t, ProtoTCP, 0x2001, ports...), Flow{Proto: 6, Fragment: true, Opaque: true}, nil},
		{"last fragment, empty", ipv4(t, ProtoTCP, 0x1fff), Flow{Proto: 6, Fragment: true, Opaque: true}, nil},

		{"TCP6", ipv6(t, ProtoTCP, ports...), Flow{Proto: 6, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"ICMPv6", ipv6(t, ProtoICMPv6, 128, 0), Flow{Proto: 58, SrcPort: 0x8000, DstPort: 0x8000}, nil},
		{"no next header", ipv6(t, ProtoNone), Flow{Proto: 59, Opaque: true}, nil},
		{"ESP is a protocol", ipv6(t, ProtoESP, ports...), Flow{Proto: 50, Opaque: true}, nil},
		{"AH is a protocol", ipv6(t, ProtoAH, chain(ext(ProtoTCP), ports)...), Flow{Proto: 51, Opaque: true}, nil},
		{"options", ipv6(t, ProtoHopByHop, chain(ext(ProtoDestination), ext(ProtoRouting), ext(ProtoTCP), ports)...),
			Flow{Proto: 6, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"long options", ipv6(t, ProtoDestination, chain(long, ports)...), Flow{Proto: 6, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"options beyond the end", ipv6(t, ProtoDestination, long[:16]...), Flow{}, ErrTruncated},
		{"half an option header", ipv6(t, ProtoDestination, 6, 0, 0, 0), Flow{}, ErrTruncated},
		{"hop-by-hop second", ipv6(t, ProtoDestination, chain(ext(ProtoHopByHop), ext(ProtoTCP), ports)...), Flow{}, ErrExtensionHeaders},
		{"8 extension headers", ipv6(t, ProtoDestination, chain(repeat(ext(ProtoDestination), 7), ext(ProtoTCP), ports)...),
			Flow{Proto: 6, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"9 extension headers", ipv6(t, ProtoDestination, chain(repeat(ext(ProtoDestination), 8), ext(ProtoTCP), ports)...),
			Flow{}, ErrExtensionHeaders},
		{"first fragment6", ipv6(t, ProtoFragment, chain([]byte{ProtoUDP, 0, 0, 1, 0, 0, 0, 9}, ports)...),
			Flow{Proto: 17, SrcPort: 0x1234, DstPort: 0x5678}, nil},
		{"second fragment6", ipv6(t, ProtoFragment, ProtoUDP, 0, 0, 8, 0, 0, 0, 9),
			Flow{Proto: 17, Fragment: true, Opaque: true}, nil},
		{"second fragment of an option header", ipv6(t, ProtoFragment, ProtoDestination, 0, 0, 8, 0, 0, 0, 9, 0xff, 0xff),
			Flow{Proto: 60, Fragment: true, Opaque: true}, nil},
		{"half a fragment header", ipv6(t, ProtoFragment, ProtoUDP, 0, 0, 8, 0, 0, 0), Flow{}, ErrTruncated},
	} {
		got, err := ParseFlow(tt.b)
		if err != tt.err {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		if err != nil {
			continue
		}
		tt.want.Src, tt.want.Dst = got.Src, got.Dst
		if got != tt.want || got.Src == got.Dst || got.Src.Is4() != (tt.b[0] == 0x45) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestReverse(t *testing.T) {
	f := Flow{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Proto: 6, SrcPort: 1, DstPort: 2}
	r := f.Reverse()
	if r.Src != f.Dst || r.Dst != f.Src || r.SrcPort != 2 || r.DstPort != 1 || r.Proto != 6 || r.Reverse() != f {
		t.Errorf("%+v reversed is %+v", f, r)
	}
}

func TestParseFlowDoesNotAllocate(t *testing.T) {
	v4, v6 := unhex(t, udp4), ipv6(t, ProtoHopByHop, chain(ext(ProtoUDP), []byte{0, 1, 0, 2})...)
	if n := testing.AllocsPerRun(1000, func() {
		for _, b := range [][]byte{v4, v6, v4[:30]} {
			_, _ = ParseFlow(b)
		}
	}); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

func BenchmarkParseFlow(b *testing.B) {
	p := unhex(b, udp4)
	for b.Loop() {
		if _, err := ParseFlow(p); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParseFlow: no panic, no view outside the datagram, and the answer does not depend on
// what follows it.
func FuzzParseFlow(f *testing.F) {
	f.Add(unhex(f, udp4))
	f.Add(unhex(f, tcp4))
	f.Add(ipv4(f, ProtoICMP, 0x2000, 8, 0))
	f.Add(ipv6(f, ProtoHopByHop, chain(ext(ProtoFragment), []byte{ProtoUDP, 0, 0, 1, 0, 0, 0, 9}, []byte{0, 1, 0, 2})...))
	f.Add(ipv6(f, ProtoDestination, repeat(ext(ProtoDestination), 12)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, lenErr := DatagramLen(b)
		flow, err := ParseFlow(b)
		if lenErr != nil {
			if err != lenErr {
				t.Fatalf("%x: DatagramLen says %v, ParseFlow %v", b, lenErr, err)
			}
			return
		}
		again, againErr := ParseFlow(append(b[:n:n], 0xff, 0xff, 0xff, 0xff))
		if n > len(b) || again != flow || againErr != err {
			t.Fatalf("%x: %+v, %v; with other bytes after it %+v, %v", b, flow, err, again, againErr)
		}
		if err == nil && (flow.Fragment && !flow.Opaque || flow.Opaque && flow.SrcPort|flow.DstPort != 0) {
			t.Fatalf("%x: contradiction in %+v", b, flow)
		}
	})
}
