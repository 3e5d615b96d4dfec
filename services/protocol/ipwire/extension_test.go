package ipwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
)

var (
	host4a, host4b = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	host6a, host6b = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// chain6 is an IPv6 datagram with extension headers of 8 bytes each, the last being the upper layer of n bytes.
func chain6(t testing.TB, n int, kinds ...uint8) []byte {
	t.Helper()
	b := make([]byte, 40)
	for _, next := range kinds[1:] {
		b = append(b, next, 0, 1, 4, 0, 0, 0, 0)
	}
	b = append(b, make([]byte, n)...)
	if _, err := PutIPv6(b, IPv6Header{TrafficClass: 0xb8, NextHeader: kinds[0], HopLimit: 64, Src: host6a, Dst: host6b}); err != nil {
		t.Fatal(err)
	}
	return b
}

func packet4(t testing.TB, proto uint8, payload []byte, options ...byte) []byte {
	t.Helper()
	b := append(make([]byte, 20), payload...)
	if _, err := PutIPv4(b, IPv4Header{TOS: 0xb8, ID: 9, TTL: 64, Protocol: proto, Src: host4a, Dst: host4b}); err != nil {
		t.Fatal(err)
	}
	b = bytes.Join([][]byte{b[:20], options, b[20:]}, nil)
	b[0] = 0x40 | byte((20+len(options))/4)
	SetLength(b)
	return b
}

func TestInsertionPoint(t *testing.T) {
	const hop, dst, route, frag, tcp = ProtoHopByHop, ProtoDestination, ProtoRouting, ProtoFragment, ProtoTCP
	for _, c := range []struct {
		kinds    []uint8
		at, next int
		err      error
	}{
		{[]uint8{tcp}, 40, 6, nil},
		{[]uint8{hop, tcp}, 48, 40, nil},
		{[]uint8{dst, tcp}, 40, 6, nil},
		{[]uint8{hop, dst, tcp}, 48, 40, nil},
		{[]uint8{dst, route, tcp}, 56, 48, nil},
		{[]uint8{hop, dst, route, dst, tcp}, 64, 56, nil},
		{[]uint8{hop, route, ProtoESP}, 56, 48, nil},
		{[]uint8{ProtoAH}, 40, 6, nil},
		{[]uint8{frag, tcp}, 0, 0, ErrExtensionHeaders},
		{[]uint8{dst, dst, dst, dst, dst, dst, dst, dst, dst, dst, tcp}, 0, 0, ErrExtensionHeaders},
	} {
		packet := chain6(t, 20, c.kinds...)
		at, next, err := InsertionPoint(packet)
		if !errors.Is(err, c.err) || err == nil && (at != c.at || next != c.next) {
			t.Errorf("%v: at %d, named at %d, %v", c.kinds, at, next, err)
		}
		for n := range packet {
			if _, _, err := InsertionPoint(packet[:n]); err == nil {
				t.Fatalf("%v: %d bytes were enough", c.kinds, n)
			}
		}
	}
	at, next, err := InsertionPoint(packet4(t, tcp, make([]byte, 20), 0x94, 4, 0, 0))
	if at != 24 || next != 9 || err != nil {
		t.Errorf("IPv4 with an option: %d, %d, %v", at, next, err)
	}
}

func TestFindHeader(t *testing.T) {
	const hop, dst, route = ProtoHopByHop, ProtoDestination, ProtoRouting
	for _, c := range []struct {
		kinds    []uint8
		at, next int
		err      error
	}{
		{[]uint8{ProtoESP}, 40, 6, nil},
		{[]uint8{hop, dst, route, dst, ProtoESP}, 72, 64, nil},
		{[]uint8{ProtoTCP}, 0, 0, ErrProtocol},
		{[]uint8{ProtoFragment, ProtoESP}, 0, 0, ErrProtocol}, // it has to be joined first
		{[]uint8{ProtoAH, ProtoESP}, 0, 0, ErrProtocol},       // that is AH's to open
	} {
		packet := chain6(t, 20, c.kinds...)
		at, next, err := FindHeader(packet, ProtoESP)
		if !errors.Is(err, c.err) || err == nil && (at != c.at || next != c.next) {
			t.Errorf("%v: at %d, named at %d, %v", c.kinds, at, next, err)
		}
	}
	esp := packet4(t, ProtoESP, make([]byte, 40), 0x94, 4, 0, 0)
	if at, next, err := FindHeader(esp, ProtoESP); at != 24 || next != 9 || err != nil {
		t.Errorf("IPv4: %d, %d, %v", at, next, err)
	}
	binary.BigEndian.PutUint16(esp[6:], 0x2000)
	if _, _, err := FindHeader(esp, ProtoESP); !errors.Is(err, ErrProtocol) {
		t.Errorf("a first fragment: %v", err)
	}
	if !HasFragmentHeader(chain6(t, 20, hop, ProtoFragment, ProtoTCP)) || HasFragmentHeader(chain6(t, 20, hop, ProtoTCP)) {
		t.Error("HasFragmentHeader")
	}
}

func TestDecapsulateECN(t *testing.T) {
	const drop = 9
	// RFC 6040 figure 4; outer Not-ECT, ECT(0), ECT(1), CE.
	for inner, row := range map[uint8][4]uint8{
		NotECT: {NotECT, NotECT, NotECT, drop},
		ECT0:   {ECT0, ECT0, ECT1, CE},
		ECT1:   {ECT1, ECT1, ECT1, CE},
		CE:     {CE, CE, CE, CE},
	} {
		for i, outer := range []uint8{NotECT, ECT0, ECT1, CE} {
			got, ok := DecapsulateECN(0xb8|outer, 0x48|inner)
			if ok != (row[i] != drop) || ok && got != row[i] {
				t.Errorf("outer %d, inner %d: %d, %v; want %d", outer, inner, got, ok, row[i])
			}
		}
		if EncapsulateECN(0xb8|inner, false) != inner || EncapsulateECN(0xb8|inner, true) != NotECT {
			t.Errorf("inner %d outside", inner)
		}
	}
}

func TestSetECN(t *testing.T) {
	for _, packet := range [][]byte{packet4(t, ProtoTCP, make([]byte, 20)), chain6(t, 20, ProtoTCP)} {
		for ecn := range uint8(4) {
			SetECN(packet, ecn)
			if TOS(packet) != 0xb8|ecn || packet[0]>>4 == 4 && !IPv4(packet).ChecksumOK() {
				t.Errorf("%d: TOS %#x", ecn, TOS(packet))
			}
		}
	}
	bad := packet4(t, ProtoTCP, make([]byte, 20))
	bad[10] ^= 1
	SetECN(bad, CE)
	if IPv4(bad).ChecksumOK() {
		t.Error("a wrong checksum became right")
	}
}

// udpPacket is a whole UDP packet with a right checksum.
func udpPacket(t testing.TB, src, dst netip.Addr, data []byte) []byte {
	t.Helper()
	udp := append(make([]byte, 8), data...)
	if _, err := PutUDP(udp, netip.AddrPortFrom(src, 1000), netip.AddrPortFrom(dst, 2000)); err != nil {
		t.Fatal(err)
	}
	if src.Is4() {
		b := append(make([]byte, 20), udp...)
		_, err := PutIPv4(b, IPv4Header{TTL: 64, Protocol: ProtoUDP, Src: src, Dst: dst})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := append(make([]byte, 40), udp...)
	if _, err := PutIPv6(b, IPv6Header{NextHeader: ProtoUDP, HopLimit: 64, Src: src, Dst: dst}); err != nil {
		t.Fatal(err)
	}
	return b
}

// translated changes the source address and leaves the checksum, as NAT outside of the protection does.
func translated(packet []byte, to netip.Addr) []byte {
	p := bytes.Clone(packet)
	if to.Is4() {
		a := to.As4()
		copy(p[12:], a[:])
		IPv4(p).UpdateChecksum()
	} else {
		a := to.As16()
		copy(p[8:], a[:])
	}
	return p
}

func TestChecksumsAfterNAT(t *testing.T) {
	for _, c := range []struct{ inside, outside, dst netip.Addr }{
		{netip.MustParseAddr("10.0.0.1"), host4a, host4b},
		{netip.MustParseAddr("fd00::1"), host6a, host6b},
	} {
		for n := range 40 {
			packet := udpPacket(t, c.inside, c.dst, bytes.Repeat([]byte{byte(n)}, n))
			want := udpPacket(t, c.outside, c.dst, bytes.Repeat([]byte{byte(n)}, n))
			repaired, adjusted := translated(packet, c.outside), translated(packet, c.outside)
			if err := RepairChecksum(repaired); err != nil || !bytes.Equal(repaired, want) {
				t.Fatalf("%d bytes repaired: %v\n% x\n% x", n, err, repaired, want)
			}
			if err := AdjustChecksum(adjusted, c.inside, c.dst); err != nil || !bytes.Equal(adjusted, want) {
				t.Fatalf("%d bytes adjusted: %v\n% x\n% x", n, err, adjusted, want)
			}
		}
	}
}

func TestChecksumsThatAreNotThere(t *testing.T) {
	none := udpPacket(t, host4a, host4b, []byte("data"))
	none[26], none[27] = 0, 0
	fragment := udpPacket(t, host4a, host4b, []byte("data"))
	binary.BigEndian.PutUint16(fragment[6:], 0x2000)
	for name, c := range map[string]struct {
		packet []byte
		err    error
	}{
		"UDP without":   {none, ErrProtocol},
		"ICMP":          {packet4(t, ProtoICMP, make([]byte, 20)), ErrProtocol},
		"fragment":      {fragment, ErrProtocol},
		"IPv6 fragment": {chain6(t, 20, ProtoFragment, ProtoUDP), ErrProtocol},
		"cut":           {packet4(t, ProtoTCP, make([]byte, 17)), ErrTruncated},
		"nothing":       {nil, ErrVersion},
	} {
		before := bytes.Clone(c.packet)
		if err := RepairChecksum(c.packet); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if err := AdjustChecksum(c.packet, host4b, host4a); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(before, c.packet) {
			t.Errorf("%s: it was changed", name)
		}
	}
	if err := AdjustChecksum(udpPacket(t, host4a, host4b, nil), host6a, host6b); !errors.Is(err, ErrVersion) {
		t.Errorf("addresses of another family: %v", err)
	}
}

func TestTooBig(t *testing.T) {
	for _, packet := range [][]byte{udpPacket(t, host4a, host4b, make([]byte, 1400)), udpPacket(t, host6a, host6b, make([]byte, 1400)), udpPacket(t, host4a, host4b, nil)} {
		prefix := []byte("before")
		message, ok := AppendTooBig(bytes.Clone(prefix), packet, 1234)
		if !ok || !bytes.HasPrefix(message, prefix) {
			t.Fatal("no message")
		}
		message = message[len(prefix):]
		about, _ := ParseFlow(packet)
		flow, err := ParseFlow(message)
		if err != nil || flow.Src != about.Dst || flow.Dst != about.Src {
			t.Errorf("%+v, %v", flow, err)
		}
		e, err := ParseICMPError(message)
		if err != nil || e.MTU != 1234 || !bytes.HasPrefix(packet, e.Quoted) {
			t.Errorf("%+v, %v", e, err)
		}
		if quoted, err := e.QuotedFlow(); err != nil || quoted != about {
			t.Errorf("quoted flow %+v, %v", quoted, err)
		}
		header, limit := 20, 576
		sum := Sum(message[20:])
		if about.Src.Is6() {
			header, limit = 40, 1280
			sum = AddSums(PseudoHeader(flow.Src, flow.Dst, ProtoICMPv6, len(message)-40), Sum(message[40:]))
		} else if !IPv4(message).ChecksumOK() {
			t.Error("header checksum")
		}
		if sum != 0xffff || len(message) != min(limit, header+8+len(packet)) {
			t.Errorf("checksum %#x, %d bytes", sum, len(message))
		}
		// None about a message like that.
		if _, again := AppendTooBig(nil, message, 1000); again {
			t.Error("an ICMP error about an ICMP error")
		}
		for n := range len(e.Quoted) { // quotes are cut
			cut := ICMPError{Quoted: e.Quoted[:n]}
			if flow, err := cut.QuotedFlow(); err == nil && flow != about {
				t.Fatalf("%d bytes quote the flow %+v", n, flow)
			}
		}
	}
}

func TestTooBigIsNotSaid(t *testing.T) {
	later := udpPacket(t, host4a, host4b, make([]byte, 100))
	binary.BigEndian.PutUint16(later[6:], 100)
	for name, packet := range map[string][]byte{
		"later fragment":   later,
		"multicast source": udpPacket(t, netip.MustParseAddr("ff02::1"), host6b, nil),
		"multicast":        udpPacket(t, host4a, netip.MustParseAddr("224.0.0.1"), nil),
		"broadcast":        udpPacket(t, host4a, netip.MustParseAddr("255.255.255.255"), nil),
		"unspecified":      udpPacket(t, netip.IPv4Unspecified(), host4b, nil),
		"redirect":         packet4(t, ProtoICMP, []byte{5, 0, 0, 0, 0, 0, 0, 0}),
		"ICMPv6 error":     chain6(t, 8, ProtoICMPv6),
		"malformed":        {0x45},
	} {
		if message, ok := AppendTooBig(nil, packet, 1280); ok || len(message) != 0 {
			t.Errorf("%s: % x", name, message)
		}
	}
	echo := packet4(t, ProtoICMP, []byte{8, 0, 0, 0, 0, 0, 0, 0})
	if _, ok := AppendTooBig(nil, echo, 1280); !ok {
		t.Error("an echo request gets none")
	}
}

// FuzzHeaders gives arbitrary packets to everything that looks behind headers: nothing panics, and what is found lies
// within the packet.
func FuzzHeaders(f *testing.F) {
	f.Add(udpPacket(f, host4a, host4b, []byte("data")))
	f.Add(chain6(f, 20, ProtoHopByHop, ProtoDestination, ProtoRouting, ProtoDestination, ProtoAH))
	f.Add(chain6(f, 20, ProtoHopByHop, ProtoFragment, ProtoESP))
	f.Add(packet4(f, ProtoESP, make([]byte, 40), 0x94, 4, 0, 0))
	message, _ := AppendTooBig(nil, udpPacket(f, host6a, host6b, make([]byte, 2000)), 1300)
	f.Add(message)
	f.Fuzz(func(t *testing.T, packet []byte) {
		n, lengthErr := DatagramLen(packet)
		for _, find := range []func() (int, int, error){
			func() (int, int, error) { return InsertionPoint(packet) },
			func() (int, int, error) { return FindHeader(packet, ProtoESP) },
			func() (int, int, error) { return FindHeader(packet, ProtoAH) },
			func() (int, int, error) { return FindHeader(packet, ProtoFragment) },
		} {
			at, next, err := find()
			if err == nil && (lengthErr != nil || at > n || next >= at || next < 0) {
				t.Fatalf("at %d, named at %d, of %d", at, next, n)
			}
		}
		if _, _, err := FindHeader(packet, ProtoFragment); Version(packet) == 6 && HasFragmentHeader(packet) != (err == nil) {
			t.Fatalf("fragment header: %v", err)
		}
		if e, err := ParseICMPError(packet); err == nil {
			_, _ = e.QuotedFlow()
		}
		if message, ok := AppendTooBig(nil, packet, 1300); ok {
			if m, err := DatagramLen(message); err != nil || m != len(message) || m > 1280 {
				t.Fatalf("a message of %d bytes says %d, %v", len(message), m, err)
			}
			if _, ok := AppendTooBig(nil, message, 1300); ok {
				t.Fatal("an ICMP error about an ICMP error")
			}
		}
		twice := bytes.Clone(packet)
		if RepairChecksum(twice) == nil {
			once := bytes.Clone(twice)
			if err := RepairChecksum(twice); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("repaired twice is another packet: %v", err)
			}
			src, dst := endsOf(twice)
			if err := AdjustChecksum(twice, src, dst); err != nil || !bytes.Equal(once, twice) {
				t.Fatalf("adjusted for nothing is another packet: %v", err)
			}
		}
		if lengthErr == nil {
			ecn := bytes.Clone(packet[:n])
			SetECN(ecn, CE)
			if TOS(ecn) != TOS(packet)|CE {
				t.Fatal("SetECN")
			}
		}
	})
}

func TestExtensionWalkDoesNotAllocate(t *testing.T) {
	packet := chain6(t, 20, ProtoHopByHop, ProtoDestination, ProtoRouting, ProtoESP)
	big := udpPacket(t, host6a, host6b, make([]byte, 1400))
	message := make([]byte, 0, 1500)
	if n := testing.AllocsPerRun(100, func() {
		_, _, err1 := InsertionPoint(packet)
		_, _, err2 := FindHeader(packet, ProtoESP)
		_, ok := AppendTooBig(message, big, 1300)
		if err1 != nil || err2 != nil || !ok || HasFragmentHeader(packet) || RepairChecksum(big) != nil {
			t.Fatal(err1, err2, ok)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
