//go:build linux

package interop

import (
	"encoding/binary"
	"strings"
	"testing"

	"sallyport.dev/sallyport/deploy/interop/station"
)

// ipv4 and ipv6 are Ethernet frames with one packet from address …1 to …2.
func ipv4(proto byte, fragment uint16, payload []byte) []byte {
	b := make([]byte, 14+20)
	b[12] = 8
	b[14], b[14+9] = 0x45, proto
	binary.BigEndian.PutUint16(b[14+6:], fragment)
	copy(b[14+12:], []byte{10, 10, 0, 1, 10, 10, 0, 2})
	return append(b, payload...)
}

func ipv6(proto byte, payload []byte) []byte {
	b := make([]byte, 14+40)
	b[12], b[13] = 0x86, 0xdd
	b[14], b[14+6] = 0x60, proto
	b[14+8], b[14+23], b[14+24], b[14+39] = 0xfd, 1, 0xfd, 2
	return append(b, payload...)
}

// words are 32-bit words in network order.
func words(list ...uint32) []byte {
	var b []byte
	for _, w := range list {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

const spi = 0x51000007

func TestSeen(t *testing.T) {
	const ports = port4500<<16 | port4500
	const moreFragments = 0x2000
	secret := append(words(spi, 1), station.Secret...)
	for _, test := range []struct {
		name       string
		frame      []byte
		want       Carrier
		fragmented bool
	}{
		{"ESP", ipv4(protoESP, 0, words(spi, 1)), Carrier{ESP, Native, IPv4}, false},
		{"ESP, fragmented", ipv4(protoESP, moreFragments, words(spi, 1)), Carrier{ESP, Native, IPv4}, true},
		{"ESP in UDP", ipv4(protoUDP, 0, words(ports, 0, spi, 1)), Carrier{ESP, UDP, IPv4}, false},
		{"AH", ipv4(protoAH, 0, words(0, spi, 1)), Carrier{AH, Native, IPv4}, false},
		{"ESP over IPv6", ipv6(protoESP, words(spi, 1)), Carrier{ESP, Native, IPv6}, false},
		{"AH over IPv6, fragmented", ipv6(protoFragment, words(protoAH<<24|1, 7, 0, spi, 1)), Carrier{AH, Native, IPv6}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSeen()
			s.add(test.frame)
			if len(s.Clear) != 0 || s.Packets[spi][test.want] != 1 || (s.Fragments[spi] == 1) != test.fragmented {
				t.Errorf("saw %+v", s)
			}
			for n := range test.frame {
				s.add(test.frame[:n]) // whatever it says, it does not crash
			}
		})
	}
	for _, test := range []struct {
		name  string
		frame []byte
		clear bool
	}{
		{"a later fragment", ipv4(protoESP, 100, words(1, 2)), false},
		{"group membership", ipv4(protoIGMP, 0, words(1, 2)), false},
		{"neighbour solicitation", ipv6(protoICMPv6, words(135<<24)), false},
		{"echo request", ipv4(protoICMP, 0, words(8<<24, 0)), true},
		{"echo request over IPv6", ipv6(protoICMPv6, words(128<<24)), true},
		{"a later fragment of an echo", ipv4(protoICMP, 100, words(1)), true},
		{"UDP of another port", ipv4(protoUDP, 0, words(53<<16|53, 0, spi, 1)), true},
		{"IKE on port 4500", ipv4(protoUDP, 0, words(ports, 0, 0, 1)), true},
		{"ESP that carries the secret", ipv4(protoESP, 0, secret), true},
		{"a fragment that carries the secret", ipv4(protoESP, 100, secret), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSeen()
			s.add(test.frame)
			if len(s.Clear) != 0 != test.clear || len(s.Packets) != 0 {
				t.Errorf("saw %+v", s)
			}
		})
	}
}

// TestJudgeWire: what is missing, what has another carrier, and what is in clear is a failure of its case.
func TestJudgeWire(t *testing.T) {
	k := keyed(Case{Number: 7, Inner: IPv4, Outer: IPv4, Suite: suite(t, "aes128gcm16")})
	good := Carrier{ESP, Native, IPv4}
	for _, test := range []struct {
		name      string
		seen      Seen
		want      string // in the case's failures
		wantNotes int
	}{
		{"all well", Seen{Packets: map[uint32]map[Carrier]int{k.SPI[0]: {good: 9}, k.SPI[1]: {good: 9}}}, "", 0},
		{"one way only", Seen{Packets: map[uint32]map[Carrier]int{k.SPI[0]: {good: 9}}}, "carried 0 packets of the SA to theirs", 0},
		{"transport mode, not fragmented", Seen{Packets: map[uint32]map[Carrier]int{k.SPI[0]: {good: 9}, k.SPI[1]: {good: 9}}}, "carried no fragment of the SA to ours", 0},
		{"in UDP", Seen{Packets: map[uint32]map[Carrier]int{k.SPI[0]: {good: 9}, k.SPI[1]: {good: 9, {ESP, UDP, IPv4}: 1}}}, "as udp esp over IPv4", 0},
		{"in clear", Seen{
			Packets: map[uint32]map[Carrier]int{k.SPI[0]: {good: 9}, k.SPI[1]: {good: 9}},
			Clear:   []Clear{{Source: k.Address(Ours), What: "IP protocol 1"}},
		}, "in clear", 0},
		{"somebody's in clear", Seen{
			Packets: map[uint32]map[Carrier]int{k.SPI[0]: {good: 9}, k.SPI[1]: {good: 9}},
			Clear:   []Clear{{Source: control(Ours)}}, Lost: 1,
		}, "", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := k
			if strings.HasPrefix(test.name, "transport") {
				k.Mode = Transport
			}
			results := []Result{{Case: k.Case}}
			notes := judgeWire(test.seen, []Keyed{k}, results)
			got := strings.Join(results[0].Failures, "; ")
			if len(notes) != test.wantNotes || (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("failures %q, notes %q", got, notes)
			}
		})
	}
}
