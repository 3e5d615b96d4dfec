package fragment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// longHeaders is an IPv6 datagram whose unfragmentable part, hop-by-hop options and a routing header, is head bytes.
func longHeaders(t testing.TB, head, n int) []byte {
	t.Helper()
	hop := head - 40 - 8
	b := make([]byte, head+n)
	copy(b[40:], []byte{ipwire.ProtoRouting, byte(hop/8 - 1)})
	copy(b[40+hop:], []byte{17, 0, 4, 0})
	for i := range n {
		b[head+i] = byte(i)
	}
	if _, err := ipwire.PutIPv6(b, ipwire.IPv6Header{NextHeader: 0, HopLimit: 3, Src: v6Source, Dst: v6Destination}); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSplitSpaceIsEnough: for every length of headers, at MTUs where they leave hardly any room.
func TestSplitSpaceIsEnough(t *testing.T) {
	try := func(packet []byte, mtu int) {
		t.Helper()
		space := make([]byte, SplitSpace(len(packet), mtu))
		pieces, err := Split(nil, space, packet, mtu, 5)
		if errors.Is(err, ErrSpace) {
			t.Fatalf("%d bytes at %d: %v", len(packet), mtu, err)
		}
		if err != nil && len(pieces) > 0 {
			t.Fatalf("%d bytes at %d: %v, and yet %d pieces", len(packet), mtu, err, len(pieces))
		}
		if err == nil && len(pieces) == 0 {
			t.Fatalf("%d bytes at %d: lost without an error", len(packet), mtu)
		}
	}
	for head := 56; head <= 520; head += 8 {
		packet := longHeaders(t, head, 3000)
		for mtu := head; mtu < head+100; mtu += 3 {
			try(packet, mtu)
		}
		try(packet, 1280)
	}
	for options := 0; options <= 40; options += 4 {
		for _, n := range []int{0, 1, 8, 100, 3000} {
			packet := v4(t, n, 7, bytes.Repeat([]byte{0x94, 4, 0, 0}, options/4))
			for mtu := -1; mtu < 110; mtu++ {
				try(packet, mtu)
			}
		}
	}
	for _, mtu := range []int{math.MinInt, -1, 0, math.MaxInt} {
		try(v4(t, 100, 7, nil), mtu)
		try(v6(t, 100), mtu)
	}
}

// TestSplitMalformedFragment: an IPv4 fragment that no datagram can have, or none that a receiver joins.
func TestSplitMalformedFragment(t *testing.T) {
	for name, c := range map[string]struct {
		place uint16
		n     int
	}{
		"beyond 65,535":          {0x1fff, 3000},
		"beyond 65,535, more":    {0x3fff, 2400},
		"just beyond":            {(65515 - 2992) / 8, 3000},
		"more, no multiple of 8": {0x2000 | 10, 3001},
	} {
		packet := v4(t, c.n, 7, nil)
		binary.BigEndian.PutUint16(packet[6:], c.place)
		ipwire.IPv4(packet).UpdateChecksum()
		if pieces, err := Split(nil, make([]byte, SplitSpace(len(packet), 576)), packet, 576, 1); !errors.Is(err, ErrHeaders) || len(pieces) > 0 {
			t.Errorf("%s: %d pieces, %v", name, len(pieces), err)
		}
	}
	fits := v4(t, 3000, 7, nil)
	binary.BigEndian.PutUint16(fits[6:], (65515-3000)/8)
	for _, p := range splitAll(t, fits, 576, 1) {
		if h := ipwire.IPv4(p); h.FragmentOffset()+len(h.Payload()) > 65515 || h.FragmentOffset() < (65515-3000)/8*8 {
			t.Errorf("a piece at %d", h.FragmentOffset())
		}
	}
}

// TestSplitErrorKeepsDst: pieces that were there stay, none are added.
func TestSplitErrorKeepsDst(t *testing.T) {
	before := [][]byte{[]byte("before")}
	for _, packet := range [][]byte{v4(t, 3000, 1, nil), v6(t, 3000)} {
		pieces, err := Split(before, make([]byte, 2500), packet, 1280, 1)
		if !errors.Is(err, ErrSpace) || len(pieces) != 1 || string(pieces[0]) != "before" {
			t.Errorf("%d pieces, %v", len(pieces), err)
		}
	}
}

// TestSplitHeaderChain is RFC 7112 section 5: the first fragment has all headers, or there is none.
func TestSplitHeaderChain(t *testing.T) {
	packet := v6(t, 2000, 60, 60, 60) // 24 bytes of options, then UDP
	for mtu := 40; mtu < 200; mtu++ {
		pieces, err := Split(nil, make([]byte, SplitSpace(len(packet), mtu)), packet, mtu, 5)
		if fits := (mtu-48)/8*8 >= 24+8; fits != (err == nil) || !fits && !errors.Is(err, ErrMTU) {
			t.Errorf("MTU %d: %d pieces, %v", mtu, len(pieces), err)
		}
	}
}

// TestOptionsOfLaterFragments is RFC 791 section 3.1: the copied flag.
func TestOptionsOfLaterFragments(t *testing.T) {
	for name, c := range map[string]struct{ options, later []byte }{
		"copied":             {[]byte{0x94, 4, 1, 2}, []byte{0x94, 4, 1, 2}},
		"not copied":         {[]byte{0x07, 3, 4, 0}, nil},
		"padding goes":       {[]byte{1, 0x83, 3, 4, 1, 0x07, 3, 4}, []byte{0x83, 3, 4, 0}},
		"behind the end":     {[]byte{0, 0x94, 4, 0}, nil},
		"length 0":           {[]byte{0x94, 0, 0, 0}, nil},
		"length 1":           {[]byte{0x94, 1, 0, 0}, nil},
		"length beyond":      {[]byte{0x94, 5, 0, 0}, nil},
		"kind at the end":    {[]byte{1, 1, 1, 0x94}, nil},
		"40 bytes copied":    {bytes.Repeat([]byte{0x94, 4, 9, 9}, 10), bytes.Repeat([]byte{0x94, 4, 9, 9}, 10)},
		"copied, then not":   {[]byte{0x94, 4, 1, 2, 0x44, 8, 5, 0, 0, 0, 0, 0}, []byte{0x94, 4, 1, 2}},
		"odd length, padded": {[]byte{0x89, 7, 4, 1, 2, 3, 4, 0}, []byte{0x89, 7, 4, 1, 2, 3, 4, 0}},
	} {
		pieces := splitAll(t, v4(t, 3000, 7, c.options), 576, 1)
		for i, p := range pieces {
			want := c.later
			if i == 0 {
				want = c.options
			}
			if got := ipwire.IPv4(p).Options(); !bytes.Equal(got, want) {
				t.Errorf("%s: fragment %d has % x", name, i, got)
			}
		}
	}
}
