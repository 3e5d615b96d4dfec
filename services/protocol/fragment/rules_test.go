package fragment

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// TestWhole: a packet that is no fragment comes back as it is, even if its header is damaged.
func TestWhole(t *testing.T) {
	r := New(Config{})
	for name, packet := range datagrams(t, 100) {
		if packet[0]>>4 == 4 {
			packet[6] = 0xc0 // DF and the reserved bit
			ipwire.IPv4(packet).UpdateChecksum()
			packet[8]--
		}
		whole, err := r.Add(0, append(bytes.Clone(packet), 1, 2, 3)) // padding is cut
		if err != nil || !bytes.Equal(whole, packet) {
			t.Errorf("%s: %v\n% x\n% x", name, err, whole, packet)
		}
	}
}

// TestDamagedHeader is RFC 1122 section 3.2.1.2: a new header checksum must not hide what was damaged.
func TestDamagedHeader(t *testing.T) {
	r := New(Config{})
	for _, p := range splitAll(t, v4(t, 2000, 7, nil), 1280, 7) {
		p[8] ^= 0x10
		if whole, err := r.Add(0, p); whole != nil || !errors.Is(err, ErrHeaders) || r.Len() != 0 {
			t.Errorf("whole %v, %v, %d wait", whole != nil, err, r.Len())
		}
	}
}

// TestContradictingFlag: a fragment that comes again as the last, or not as the last, is no duplicate.
func TestContradictingFlag(t *testing.T) {
	for _, packet := range [][]byte{v4(t, 2400, 7, nil), v6(t, 2400)} {
		pieces := splitAll(t, packet, 1280, 7)
		last := pieces[len(pieces)-1]
		flag := bytes.Clone(last)
		if flag[0]>>4 == 4 {
			flag[6] ^= 0x20
			ipwire.IPv4(flag).UpdateChecksum()
		} else {
			flag[43] ^= 1
		}
		for _, order := range [][][]byte{{last, flag}, {flag, last}} {
			r := New(Config{})
			if _, err := r.Add(0, order[0]); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Add(0, order[1]); !errors.Is(err, ErrInconsistent) {
				t.Errorf("%v", err)
			}
			if _, err := r.Add(0, pieces[0]); !errors.Is(err, ErrDiscarded) {
				t.Errorf("then %v", err)
			}
		}
	}
}

// TestDuplicates are ignored (RFC 8200 section 4.5), those of other content spoil the datagram.
func TestDuplicates(t *testing.T) {
	for _, packet := range [][]byte{v4(t, 6000, 7, nil), v6(t, 6000, 0, 60)} {
		for changed := range 5 {
			r := New(Config{})
			pieces := splitAll(t, packet, 1280, 7)
			for i, p := range pieces[:4] {
				if _, err := r.Add(0, p); err != nil {
					t.Fatal(err)
				}
				if whole, err := r.Add(0, p); whole != nil || err != nil {
					t.Errorf("fragment %d again: whole %v, %v", i, whole != nil, err)
				}
			}
			if changed == 4 {
				whole, err := r.Add(0, pieces[4])
				if err != nil || !bytes.Equal(whole, packet) {
					t.Errorf("%v", err)
				}
				continue
			}
			p := pieces[changed]
			p[len(p)-1] ^= 1
			if _, err := r.Add(0, p); !errors.Is(err, ErrOverlap) {
				t.Errorf("fragment %d changed: %v", changed, err)
			}
		}
	}
}

// TestTimeIsOfTheFirst is RFC 8200 section 4.5: later fragments give no more time; discarded ones end too.
func TestTimeIsOfTheFirst(t *testing.T) {
	packet := v4(t, 8000, 7, nil)
	pieces := splitAll(t, packet, 1280, 7)
	r := New(Config{Timeout: 10 * time.Second})
	for i, p := range pieces[:6] {
		if _, err := r.Add(time.Duration(i)*1900*time.Millisecond, p); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.Expire(10*time.Second - 1); n != 0 {
		t.Errorf("%d given up before their time", n)
	}
	if n := r.Expire(10 * time.Second); n != 1 || r.Len() != 0 {
		t.Errorf("%d given up, %d wait", n, r.Len())
	}
	changed := bytes.Clone(pieces[0])
	changed[40] ^= 1
	r.Add(20*time.Second, pieces[0])
	if _, err := r.Add(20*time.Second, changed); !errors.Is(err, ErrOverlap) {
		t.Fatal(err)
	}
	if _, err := r.Add(29*time.Second, pieces[1]); !errors.Is(err, ErrDiscarded) {
		t.Fatal(err)
	}
	for i, p := range pieces { // the next datagram of this ID
		whole, err := r.Add(30*time.Second, p)
		if err != nil || (whole != nil) != (i == len(pieces)-1) {
			t.Fatalf("fragment %d: %v", i, err)
		}
	}
}

// TestFirstFragmentHasAllHeaders is RFC 8200 section 4.5: without them it is discarded.
func TestFirstFragmentHasAllHeaders(t *testing.T) {
	first := make([]byte, 40+8+16)
	ipwire.PutIPv6(first, ipwire.IPv6Header{NextHeader: ipwire.ProtoFragment, Src: v6Source, Dst: v6Destination})
	copy(first[40:], []byte{ipwire.ProtoDestination, 0, 0, 1, 0, 0, 0, 7})
	copy(first[48:], []byte{17, 2}) // 24 bytes, of which 16 are here
	r := New(Config{})
	if _, err := r.Add(0, first); !errors.Is(err, ErrHeaders) || r.Len() != 0 {
		t.Errorf("%v, %d wait", err, r.Len())
	}
	first[49] = 0
	if _, err := r.Add(0, first); err != nil || r.Len() != 1 {
		t.Errorf("%v, %d wait", err, r.Len())
	}
}

// TestLongest: the longest datagrams there are, the first fragment first and last; with longer headers they are
// refused, RFC 791 section 3.1 and RFC 8200 section 4.5.
func TestLongest(t *testing.T) {
	for name, packet := range map[string][]byte{
		"IPv4":              v4(t, 65515, 7, nil),
		"IPv4, options":     v4(t, 65475, 7, bytes.Repeat([]byte{0x94, 4, 0, 0}, 10)),
		"IPv6":              v6(t, 65535),
		"IPv6, hop-by-hop":  v6(t, 65527, 0),
		"IPv6, destination": v6(t, 65527, 60),
	} {
		for _, backwards := range []bool{false, true} {
			for _, longer := range []bool{false, true} {
				pieces := splitAll(t, packet, 1480, 7)
				if longer {
					pieces[0] = lengthened(pieces[0])
				}
				if pieces[0] == nil {
					continue
				}
				if backwards {
					slices.Reverse(pieces)
				}
				r := New(Config{})
				for i, p := range pieces {
					whole, err := r.Add(0, p)
					switch last := i == len(pieces)-1; {
					case longer && last && (whole != nil || !errors.Is(err, ErrTooLong)):
						t.Errorf("%s, longer, backwards %v: whole %v, %v", name, backwards, whole != nil, err)
					case !longer && (err != nil || last && !bytes.Equal(whole, packet)), !last && (whole != nil || err != nil):
						t.Fatalf("%s, backwards %v: fragment %d: %v", name, backwards, i, err)
					}
				}
			}
		}
	}
}

// lengthened puts an option into a first fragment's header, nil if there is no space for one.
func lengthened(p []byte) []byte {
	if p[0]>>4 == 4 {
		if p[0]&15 == 15 {
			return nil
		}
		p = slices.Insert(slices.Clone(p), 20, 1, 1, 1, 0)
		p[0]++
	} else {
		p = slices.Insert(slices.Clone(p), 40, p[6], 0, 1, 4, 0, 0, 0, 0)
		p[6] = ipwire.ProtoHopByHop
		if p[40] == ipwire.ProtoHopByHop {
			p[40], p[6] = ipwire.ProtoRouting, ipwire.ProtoHopByHop
			p = slices.Concat(p[:40], p[48:56], p[40:48], p[56:])
			p[40], p[48] = ipwire.ProtoRouting, ipwire.ProtoFragment
		}
	}
	ipwire.SetLength(p)
	return p
}

// TestOneByteTooLong: 65,535 bytes are taken, one more is refused, of a fragment and of a datagram whose first
// fragment comes last.
func TestOneByteTooLong(t *testing.T) {
	for _, c := range []struct{ start, n, six int }{{65512, 3, 7}, {65512, 4, 8}} {
		last4 := from4(v4(t, c.n, 0, nil), 1, 1, uint16(c.start/8))
		last6 := v6(t, 8+c.six, ipwire.ProtoFragment)
		copy(last6[40:], []byte{17, 0, 0xff, 0xf8, 0, 0, 0, 1})
		last6 = last6[:48+c.six] // start 65,528
		ipwire.SetLength(last6)
		for _, p := range [][]byte{last4, last6} {
			if _, err := New(Config{}).Add(0, p); errors.Is(err, ErrTooLong) != (c.n == 4) || c.n < 4 && err != nil {
				t.Errorf("IPv%d, %d bytes at the end: %v", p[0]>>4, c.n, err)
			}
		}
	}
	for _, less := range []int{0, 1} {
		for _, packet := range [][]byte{v4(t, 65512-less, 7, nil), v6(t, 65528-less)} { // their headers become 4 and 8 bytes longer
			pieces := splitAll(t, packet, 1480, 7)
			pieces[0] = lengthened(pieces[0])
			slices.Reverse(pieces)
			r := New(Config{})
			for i, p := range pieces {
				whole, err := r.Add(0, p)
				if last := i == len(pieces)-1; last && (errors.Is(err, ErrTooLong) != (less == 0) || (whole == nil) != (less == 0)) || !last && err != nil {
					t.Errorf("IPv%d, %d less: whole %v, %v", packet[0]>>4, less, whole != nil, err)
				}
			}
		}
	}
}

// TestTooManyFragments: the most that are kept, and one more.
func TestTooManyFragments(t *testing.T) {
	for _, n := range []int{maxPieces, maxPieces + 1} {
		packet := v4(t, 8*n, 7, nil)
		pieces := splitAll(t, packet, 28, 7)
		r := New(Config{})
		for i, p := range pieces {
			whole, err := r.Add(0, p)
			if errors.Is(err, ErrTooMany) != (i == maxPieces) || i < maxPieces && err != nil || (whole != nil) != (i == n-1 && n == maxPieces) {
				t.Fatalf("fragment %d of %d: whole %v, %v", i, n, whole != nil, err)
			}
		}
	}
}
