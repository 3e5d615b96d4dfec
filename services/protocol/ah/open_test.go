package ah

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"sallyport.dev/sallyport/services/protocol/replay"
)

func TestOpenEveryPrefix(t *testing.T) {
	forEachIntegrity(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		for _, options := range []string{"", "\x94\x04\x00\x00"} {
			p, at := sealIPv4(t, s, options, []byte("payload"))
			checkPrefixes(t, o, p, at)
		}
		for _, headers := range [][]header{nil, {hopByHop("\x3e\x04\x01\x02\x03\x04"), routing(0, 0, 5)}} {
			p, at := sealIPv6(t, s, headers, []byte("payload"))
			checkPrefixes(t, o, p, at)
		}
	})
}

// checkPrefixes opens what a packet begins with, as it is and with length fields that fit.
func checkPrefixes(t *testing.T, o *Opener, p []byte, at int) {
	t.Helper()
	top := o.Top()
	for n := range p {
		if _, err := o.Open(p[:n], at); err != ErrShort {
			t.Errorf("%d of %d bytes: %v", n, len(p), err)
		}
		cut := bytes.Clone(p[:n])
		switch {
		case p[0]>>4 == 4 && n >= 20:
			binary.BigEndian.PutUint16(cut[2:], uint16(n))
		case p[0]>>4 == 6 && n >= 40:
			binary.BigEndian.PutUint16(cut[4:], uint16(n-40))
		}
		want := ErrICV
		if n < at+headerLen(p, at) {
			want = ErrShort
		}
		if _, err := o.Open(cut, at); err != want {
			t.Errorf("%d of %d bytes, and it says so: %v, want %v", n, len(p), err, want)
		}
	}
	if o.Top() != top {
		t.Fatalf("the window has moved from %d to %d", top, o.Top())
	}
	got, err := o.Open(append(bytes.Clone(p), "padding of a link"...), at)
	if err != nil || string(got.Payload) != "payload" || o.Top() != top+1 {
		t.Errorf("the whole packet: %+v, %v", got, err)
	}
}

// every is the offsets from first to last.
func every(first, last int) map[int]bool {
	m := map[int]bool{}
	for i := first; i <= last; i++ {
		m[i] = true
	}
	return m
}

// Each bit of a packet is changed. In a byte that may change on the way it makes no difference, in every other one
// the packet is dropped, and no state moves. The type and length of an IPv4 option that may change are zeroed as
// its data are, but say where the next one begins: they are left out.
func TestOpenEveryBit(t *testing.T) {
	v4 := func(extra map[int]bool) map[int]bool {
		for _, i := range []int{1, 8, 10, 11} { // TOS, TTL, checksum
			extra[i] = true
		}
		return extra
	}
	v6 := func(extra map[int]bool) map[int]bool {
		for _, i := range []int{1, 2, 3, 7} { // class, flow label, hop limit
			extra[i] = true
		}
		return extra
	}
	for name, tt := range map[string]struct {
		options string
		headers []header
		mutable map[int]bool
		either  map[int]bool
	}{
		"v4":                {mutable: v4(every(1, 0))},
		"v4, immutable":     {options: "\x94\x04\x00\x00\x82\x04\x01\x02\x85\x03\x09\x86\x03\x01\x95\x03\x05\x01\x00\x00", mutable: v4(every(1, 0))},
		"v4, record route":  {options: "\x07\x0b\x04\x01\x02\x03\x04\x05\x06\x07\x08\x01", mutable: v4(every(22, 30)), either: every(20, 21)},
		"v4, time stamp":    {options: "\x44\x0c\x09\x00\x01\x02\x03\x04\x05\x06\x07\x08", mutable: v4(every(22, 31)), either: every(20, 21)},
		"v4, traceroute":    {options: "\x52\x0c\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08", mutable: v4(every(22, 31)), either: every(20, 21)},
		"v4, unknown":       {options: "\x94\x04\x00\x00\x1e\x04\x01\x02", mutable: v4(every(26, 27)), either: every(24, 25)},
		"v4, after the end": {options: "\x94\x04\x00\x00\x00\x01\x02\x03", mutable: v4(every(1, 0))},
		"v4, route used up": {options: "\x83\x07\x08\x01\x02\x03\x04\x00", mutable: v4(every(22, 26)), either: every(20, 21)},
		"v6":                {headers: []header{}, mutable: v6(every(1, 0))},
		"v6, options":       {headers: []header{hopByHop("\x05\x02\x00\x00\x01\x00"), destination("\x00\x1e\x03\x01\x02\x03")}, mutable: v6(every(1, 0))},
		"v6, changing options": {
			headers: []header{hopByHop("\x3e\x04\x01\x02\x03\x04"), destination("\x00\xbe\x02\x01\x02\x00")},
			mutable: v6(map[int]bool{44: true, 45: true, 46: true, 47: true, 53: true, 54: true}),
		},
		"v6, routing":      {headers: []header{routing(0, 0, 1, 2)}, mutable: v6(every(1, 0))},
		"v6, home address": {headers: []header{destination("\x01\x02\x00\x00\xc9\x10address of home!")}, mutable: v6(every(1, 0))},
	} {
		for _, algorithm := range []string{"sha256", "aes128gmac"} {
			for _, esn := range []bool{false, true} {
				c := testConfig(integrity(t, algorithm), esn)
				s, o := newPair(t, c)
				var p []byte
				var at int
				if tt.headers == nil {
					p, at = sealIPv4(t, s, tt.options, []byte("payload"))
				} else {
					p, at = sealIPv6(t, s, tt.headers, []byte("payload"))
				}
				for bit := range len(p) * 8 {
					if tt.either[bit/8] {
						continue
					}
					forged := bytes.Clone(p)
					forged[bit/8] ^= 1 << (bit % 8)
					if !tt.mutable[bit/8] && !mutableBit(p, bit) {
						if _, err := o.Open(forged, at); err == nil || o.Top() != 0 {
							t.Fatalf("%s, %s: bit %d of byte %d: %v, the window's top is %d", name, algorithm, bit%8, bit/8, err, o.Top())
						}
						continue
					}
					_, fresh := newPair(t, c)
					if _, err := fresh.Open(forged, at); err != nil {
						t.Errorf("%s, %s: bit %d of byte %d: %v", name, algorithm, bit%8, bit/8, err)
					}
				}
				if _, err := o.Open(p, at); err != nil {
					t.Errorf("%s, %s: the genuine packet: %v", name, algorithm, err)
				}
			}
		}
	}
}

// mutableBit says whether a bit may change in a byte of which not all may: DF and the reserved flag, while what
// else is in those bytes makes a fragment; the class, next to IPv6's version.
func mutableBit(p []byte, bit int) bool {
	if p[0]>>4 == 4 {
		return bit/8 == 6 && bit%8 >= 6
	}
	return bit < 4
}

// What is right but not in the way that AH is: sealed by who has the key.
func TestOpenLengths(t *testing.T) {
	for name, icv := range map[string]int{"sha1": 12, "sha256": 16, "sha512": 32, "aes128gmac": 24} {
		for version := 4; version <= 6; version += 2 {
			for n := 0; n < 1024; n += 4 {
				c := testConfig(integrity(t, name), false)
				s, o := newPair(t, c)
				p, at := makeIPv4("", n, bytes.Repeat([]byte{7}, 2048))
				if version == 6 {
					p, at = makeIPv6(nil, n, bytes.Repeat([]byte{7}, 2048))
				}
				s.putHeader(p, at, 17, 1)
				p[at+1] = byte(n/4 - 2)
				if err := s.compute(p, at, 1, true); err != nil {
					t.Fatal(err)
				}
				s.mac.AppendICV(s.icvOf(p, at)[:0])
				want := ErrLength
				if said := (int(p[at+1]) + 2) * 4; said >= 12+icv && said < 12+icv+8 {
					want = nil
				}
				got, err := o.Open(p, at)
				if err != want || want == nil && got.HeaderLen != (int(p[at+1])+2)*4 || want != nil && o.Top() != 0 {
					t.Errorf("%s, IPv%d, an AH of %d bytes: %+v, %v, want %v", name, version, n, got, err, want)
				}
			}
		}
	}
}

func TestOpenErrors(t *testing.T) {
	s, o := newPair(t, testConfig(integrity(t, "sha256"), false))
	for name, tt := range map[string]struct {
		change func(p []byte, at int)
		want   error
	}{
		"SPI 0":         {func(p []byte, at int) { copy(p[at+4:], "\x00\x00\x00\x00") }, ErrReservedSPI},
		"SPI 255":       {func(p []byte, at int) { copy(p[at+4:], "\x00\x00\x00\xff") }, ErrReservedSPI},
		"another SPI":   {func(p []byte, at int) { p[at+7]++ }, ErrSPI},
		"number 0":      {func(p []byte, at int) { clear(p[at+8 : at+12]) }, ErrReplayed},
		"reserved":      {func(p []byte, at int) { p[at+2] = 1 }, ErrICV},
		"next header":   {func(p []byte, at int) { p[at] = 4 }, ErrICV},
		"source":        {func(p []byte, _ int) { p[12] = 11 }, ErrICV},
		"fragment":      {func(p []byte, _ int) { p[6] = 0x20 }, ErrFragment},
		"option":        {func(p []byte, _ int) { p[21] = 1 }, ErrHeaders},
		"longer option": {func(p []byte, _ int) { p[21] = 5 }, ErrHeaders},
		"shorter AH":    {func(p []byte, at int) { p[at+1]-- }, ErrLength},
		"longer AH":     {func(p []byte, at int) { p[at+1] += 2 }, ErrLength},
		"padded AH":     {func(p []byte, at int) { p[at+1]++ }, ErrICV},
	} {
		p, at := sealIPv4(t, s, "\x94\x04\x00\x00", []byte("payload"))
		forged := bytes.Clone(p)
		tt.change(forged, at)
		top := o.Top()
		if _, err := o.Open(forged, at); err != tt.want || o.Top() != top {
			t.Errorf("%s: %v, want %v; the window's top is %d", name, err, tt.want, o.Top())
		}
		for _, bad := range []int{-1, 0, at - 4, at + 4, len(p), len(p) + 1} {
			if _, err := o.Open(p, bad); err != ErrNoAH {
				t.Errorf("AH at %d: %v", bad, err)
			}
		}
		if _, err := o.Open(p, at); err != nil {
			t.Errorf("%s: the genuine packet: %v", name, err)
		}
		if _, err := o.Open(p, at); err != ErrReplayed {
			t.Errorf("%s: once more: %v", name, err)
		}
	}
}

func TestOpenOtherSAs(t *testing.T) {
	forEachIntegrity(t, func(t *testing.T, c Config) {
		s, _ := newPair(t, c)
		p, at := sealIPv6(t, s, nil, []byte("payload"))
		for name, change := range map[string]func(c *Config){
			"another key":   func(c *Config) { c.Keymat[0] ^= 1 },
			"the key's end": func(c *Config) { c.Keymat[len(c.Keymat)-1] ^= 1 },
			"ESN or not":    func(c *Config) { c.ESN = !c.ESN },
		} {
			other := c
			other.Keymat = bytes.Clone(c.Keymat)
			change(&other)
			_, o := newPair(t, other)
			if _, err := o.Open(p, at); err != ErrICV || o.Top() != 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestOpenWindow(t *testing.T) {
	c := testConfig(integrity(t, "sha1"), false)
	c.Window = 64
	s, o := newPair(t, c)
	var packets [][]byte
	at := 0
	for range 200 {
		var p []byte
		p, at = sealIPv4(t, s, "", nil)
		packets = append(packets, p)
	}
	for _, tt := range []struct {
		seq  uint64
		want error
		top  uint64
	}{{3, nil, 3}, {1, nil, 3}, {3, ErrReplayed, 3}, {100, nil, 100}, {37, nil, 100}, {36, ErrLate, 100}, {2, ErrLate, 100}, {99, nil, 100}, {37, ErrReplayed, 100}, {200, nil, 200}} {
		got, err := o.Open(packets[tt.seq-1], at)
		if err != tt.want || err == nil && got.Seq != tt.seq || o.Top() != tt.top {
			t.Errorf("number %d: %+v, %v, want %v; the window's top is %d", tt.seq, got, err, tt.want, o.Top())
		}
	}
}

// Without a window every number is taken, as often as it comes.
func TestOpenWindowOff(t *testing.T) {
	c := testConfig(integrity(t, "aes128gmac"), false)
	c.Window = replay.Off
	c.Sequence = math.MaxUint32 - 1
	s, o := newPair(t, c)
	last, at := sealIPv4(t, s, "", []byte("payload"))
	c.Sequence = 6
	s, _ = newPair(t, c)
	seventh, _ := sealIPv4(t, s, "", []byte("payload"))
	zero := bytes.Clone(seventh)
	s.putHeader(zero, at, 17, 0)
	if err := s.compute(zero, at, 0, true); err != nil {
		t.Fatal(err)
	}
	s.mac.AppendICV(s.icvOf(zero, at)[:0])
	forged := bytes.Clone(last)
	forged[len(forged)-1] ^= 1
	for _, tt := range []struct {
		packet []byte
		want   error
		seq    uint64
		top    uint64
	}{
		{forged, ErrICV, 0, 0}, {zero, nil, 0, 0}, {seventh, nil, 7, 7}, {seventh, nil, 7, 7}, {forged, ErrICV, 0, 7},
		{last, nil, math.MaxUint32, math.MaxUint32}, {zero, nil, 0, math.MaxUint32}, {seventh, nil, 7, math.MaxUint32},
	} {
		got, err := o.Open(tt.packet, at)
		if err != tt.want || err == nil && got.Seq != tt.seq || o.Top() != tt.top {
			t.Errorf("%+v, %v, want %v; Top() is %d, want %d", got, err, tt.want, o.Top(), tt.top)
		}
	}
	if s := fmt.Sprint(o); s != "ah.Opener{spi=0xc0ffee02 top=4294967295}" {
		t.Error(s)
	}
}

// Numbers go on over 2^32; the high half is in no packet, and covered.
func TestOpenESN(t *testing.T) {
	for _, name := range []string{"sha256", "aesxcbc", "aes256gmac"} {
		c := testConfig(integrity(t, name), true)
		c.Sequence = 1<<32 - 3
		s, o := newPair(t, c)
		if err := o.window.Accept(c.Sequence); err != nil {
			t.Fatal(err)
		}
		var first []byte
		for seq := c.Sequence + 1; seq < 1<<32+4; seq++ {
			p, at := sealIPv6(t, s, nil, []byte("payload"))
			if first == nil {
				first = p
			}
			if got, err := o.Open(p, at); err != nil || got.Seq != seq {
				t.Errorf("%s: number %#x: %+v, %v", name, seq, got, err)
			}
			if _, err := o.Open(first, at); err != ErrReplayed {
				t.Errorf("%s: the first packet at number %#x: %v", name, seq, err)
			}
		}
		c.Sequence += 1 << 32 // the same low halves, another high one
		s, _ = newPair(t, c)
		p, at := sealIPv6(t, s, nil, []byte("payload"))
		if _, err := o.Open(p, at); err != ErrReplayed {
			t.Errorf("%s: another high half: %v", name, err)
		}
		_, o = newPair(t, c)
		if err := o.window.Accept(1<<32 + 10); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Open(p, at); err != ErrICV {
			t.Errorf("%s: a number of another subspace: %v", name, err)
		}
	}
}
