package ipwire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

// TestBadUDPLength: nothing is made of a UDP datagram that is longer than what is there, or shorter than its header.
func TestBadUDPLength(t *testing.T) {
	for _, ends := range [][2]netip.Addr{{host4a, host4b}, {host6a, host6b}} {
		whole := udpPacket(t, ends[0], ends[1], []byte("data"))
		for n := range 20 {
			packet := bytes.Clone(whole)
			packet[len(packet)-12+5] = byte(n)
			var want error
			switch {
			case n < 8:
				want = ErrLength
			case n > 12:
				want = ErrTruncated
			}
			before := bytes.Clone(packet)
			if err := RepairChecksum(packet); !errors.Is(err, want) || want != nil && !bytes.Equal(before, packet) {
				t.Errorf("length %d: %v", n, err)
			}
			before = bytes.Clone(packet)
			if err := AdjustChecksum(packet, ends[1], ends[0]); !errors.Is(err, want) || want != nil && !bytes.Equal(before, packet) {
				t.Errorf("length %d: %v", n, err)
			}
		}
	}
}

// TestSegmentsLeft is RFC 8200 section 8.1: on the way the pseudo header's destination is not the packet's.
func TestSegmentsLeft(t *testing.T) {
	packet := chain6(t, 20, ProtoDestination, ProtoRouting, ProtoTCP)
	packet[48+3] = 0
	if err := RepairChecksum(packet); err != nil {
		t.Errorf("none left: %v", err)
	}
	packet[48+3] = 1
	before := bytes.Clone(packet)
	if err := RepairChecksum(packet); !errors.Is(err, ErrProtocol) || !bytes.Equal(before, packet) {
		t.Errorf("one left: %v", err)
	}
	if err := AdjustChecksum(packet, host6b, host6a); !errors.Is(err, ErrProtocol) || !bytes.Equal(before, packet) {
		t.Errorf("one left: %v", err)
	}
}

// TestAdjustPartialCoverage: the checksums of UDP-Lite and DCCP cover the pseudo header and the part that they say.
func TestAdjustPartialCoverage(t *testing.T) {
	const field = 6
	for _, proto := range []uint8{ProtoUDPLite, ProtoDCCP} {
		for _, ends := range [][3]netip.Addr{{netip.MustParseAddr("10.0.0.1"), host4a, host4b}, {netip.MustParseAddr("fd00::1"), host6a, host6b}} {
			lay := func(src netip.Addr) []byte {
				transport := make([]byte, 40)
				copy(transport, "\x01\x02\x03\x04\x00\x08") // UDP-Lite: 8 bytes are covered
				sum := ^AddSums(PseudoHeader(src, ends[2], proto, 40), Sum(transport[:8]))
				transport[field], transport[field+1] = byte(sum>>8), byte(sum)
				var packet []byte
				var err error
				if src.Is4() {
					packet = append(make([]byte, 20), transport...)
					_, err = PutIPv4(packet, IPv4Header{Protocol: proto, Src: src, Dst: ends[2]})
				} else {
					packet = append(make([]byte, 40), transport...)
					_, err = PutIPv6(packet, IPv6Header{NextHeader: proto, Src: src, Dst: ends[2]})
				}
				if err != nil {
					t.Fatal(err)
				}
				return packet
			}
			moved, want := translated(lay(ends[0]), ends[1]), lay(ends[1])
			if err := RepairChecksum(moved); !errors.Is(err, ErrProtocol) {
				t.Errorf("%d repaired: %v", proto, err)
			}
			if err := AdjustChecksum(moved, ends[0], ends[2]); err != nil || !bytes.Equal(moved, want) {
				t.Errorf("%d: %v\n% x\n% x", proto, err, moved, want)
			}
		}
	}
}

// TestRepairEveryPrefix: a cut packet is an error, and is not changed.
func TestRepairEveryPrefix(t *testing.T) {
	for _, whole := range [][]byte{udpPacket(t, host4a, host4b, []byte("data")), udpPacket(t, host6a, host6b, []byte("data")), chain6(t, 20, ProtoHopByHop, ProtoTCP)} {
		for n := range whole {
			packet := bytes.Clone(whole[:n])
			if RepairChecksum(packet) == nil || AdjustChecksum(packet, host4a, host4b) == nil || !bytes.Equal(packet, whole[:n]) {
				t.Fatalf("%d of %d bytes", n, len(whole))
			}
		}
	}
}

func TestPacketChangesDoNotAllocate(t *testing.T) {
	for _, packet := range [][]byte{udpPacket(t, host4a, host4b, make([]byte, 1400)), udpPacket(t, host6a, host6b, make([]byte, 1400))} {
		src, dst := endsOf(packet)
		message, _ := AppendTooBig(nil, packet, 1280)
		space := make([]byte, 0, 1280)
		if n := testing.AllocsPerRun(100, func() {
			SetECN(packet, CE)
			e, err := ParseICMPError(message)
			_, err2 := e.QuotedFlow()
			_, ok := AppendTooBig(space, packet, 1280)
			if err != nil || err2 != nil || !ok || AdjustChecksum(packet, src, dst) != nil || RepairChecksum(packet) != nil {
				t.Fatal(err, err2, ok)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}
