package ipwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// TestEveryChain compares with a slow model for every chain of up to five headers, of two lengths, cut at each byte.
func TestEveryChain(t *testing.T) {
	kinds := []uint8{ProtoHopByHop, ProtoRouting, ProtoDestination, ProtoFragment, ProtoESP, ProtoAH, ProtoTCP, ProtoNone}
	chains := 0
	var grow func(chain []uint8)
	grow = func(chain []uint8) {
		if len(chain) > 0 && !isExtension(chain[len(chain)-1]) {
			for _, long := range []int{0, 1, 2} {
				chains++
				compareChain(t, chain, long)
			}
			return
		}
		if len(chain) == 5 {
			return
		}
		for _, k := range kinds {
			grow(append(chain[:len(chain):len(chain)], k))
		}
	}
	grow(nil)
	if chains < 4000 {
		t.Errorf("only %d chains", chains)
	}
}

func isExtension(k uint8) bool {
	return k == ProtoHopByHop || k == ProtoRouting || k == ProtoDestination || k == ProtoFragment
}

// compareChain lays a chain out, with long more units of 8 bytes in each header but a fragment header.
func compareChain(t *testing.T, chain []uint8, long int) {
	t.Helper()
	const upper = 12
	packet, starts := make([]byte, 40), []int{}
	for i, k := range chain {
		starts = append(starts, len(packet))
		if !isExtension(k) {
			break
		}
		header := make([]byte, 8+8*long)
		if k == ProtoFragment {
			header = make([]byte, 8)
			header[3] = 1
		} else {
			header[1] = byte(long)
		}
		header[0] = chain[i+1]
		packet = append(packet, header...)
	}
	packet = append(packet, make([]byte, upper)...)
	if _, err := PutIPv6(packet, IPv6Header{NextHeader: chain[0], Src: host6a, Dst: host6b}); err != nil {
		t.Fatal(err)
	}
	named := func(i int) int { // which byte names header i
		if i == 0 {
			return 6
		}
		return starts[i-1]
	}
	fragment, insert := -1, 0
	for i, k := range chain {
		if k == ProtoFragment {
			fragment = i
			break
		}
		if k == ProtoHopByHop || k == ProtoRouting {
			insert = i + 1
		}
	}
	at, next, err := InsertionPoint(packet)
	if fragment >= 0 != errors.Is(err, ErrExtensionHeaders) || fragment < 0 && (err != nil || at != starts[insert] || next != named(insert)) {
		t.Fatalf("%v, %d longer: at %d, named at %d, %v", chain, long, at, next, err)
	}
	if HasFragmentHeader(packet) != (fragment >= 0) {
		t.Fatalf("%v: HasFragmentHeader", chain)
	}
	last := len(chain) - 1
	for _, proto := range []uint8{ProtoESP, ProtoAH, ProtoFragment} {
		want := last
		if fragment >= 0 {
			want = fragment
		}
		at, next, err := FindHeader(packet, proto)
		found := chain[want] == proto
		if found != (err == nil) || !found && !errors.Is(err, ErrProtocol) || found && (at != starts[want] || next != named(want)) {
			t.Fatalf("%v, %d longer: %d at %d, named at %d, %v", chain, long, proto, at, next, err)
		}
	}
	for n := range packet { // cut on the way
		_, _, err1 := InsertionPoint(packet[:n])
		_, _, err2 := FindHeader(packet[:n], ProtoESP)
		if err1 == nil || err2 == nil || HasFragmentHeader(packet[:n]) {
			t.Fatalf("%v: %d of %d bytes were enough", chain, n, len(packet))
		}
		if n < 40 {
			continue
		}
		// Cut at its making: a datagram that says that it is shorter. What is found must be the same.
		short := bytes.Clone(packet[:n])
		binary.BigEndian.PutUint16(short[4:], uint16(n-40))
		at, _, err := FindHeader(short, ProtoESP)
		if want := fragment < 0 && chain[last] == ProtoESP && n >= starts[last]; want != (err == nil) || want && at != starts[last] {
			t.Fatalf("%v of %d bytes: ESP at %d, %v", chain, n, at, err)
		}
		if end := starts[last]; fragment < 0 {
			if _, _, err := InsertionPoint(short); (err == nil) != (n >= end) || err != nil && !errors.Is(err, ErrTruncated) {
				t.Fatalf("%v of %d bytes: %v", chain, n, err)
			}
		}
	}
}

// TestLaterFragmentIsNotParsed: what follows a later fragment's header is no header.
func TestLaterFragmentIsNotParsed(t *testing.T) {
	packet := chain6(t, 20, ProtoFragment, ProtoDestination, ProtoESP)
	binary.BigEndian.PutUint16(packet[42:], 800)
	packet[49] = 0xff // were it options, they would go beyond the end
	if _, _, err := FindHeader(packet, ProtoESP); !errors.Is(err, ErrProtocol) {
		t.Errorf("ESP in a later fragment: %v", err)
	}
	if at, next, err := FindHeader(packet, ProtoFragment); at != 40 || next != 6 || err != nil {
		t.Errorf("%d, %d, %v", at, next, err)
	}
	if !HasFragmentHeader(packet) {
		t.Error("it has a fragment header")
	}
}

func TestFindHeader4(t *testing.T) {
	packet := packet4(t, ProtoAH, make([]byte, 24), bytes.Repeat([]byte{1}, 40)...)
	if at, next, err := FindHeader(packet, ProtoAH); at != 60 || next != 9 || err != nil {
		t.Errorf("%d, %d, %v", at, next, err)
	}
	for n := range packet {
		if _, _, err := FindHeader(packet[:n], ProtoAH); err == nil {
			t.Fatalf("%d bytes were enough", n)
		}
	}
	for _, place := range []uint16{0x2000, 1, 0x2001, 0x1fff} {
		binary.BigEndian.PutUint16(packet[6:], place)
		if _, _, err := FindHeader(packet, ProtoAH); !errors.Is(err, ErrProtocol) {
			t.Errorf("a fragment, %#x: %v", place, err)
		}
	}
}
