package fragment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

var v6Source, v6Destination = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")

// random is a source of the given seed.
func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// v4 is a UDP datagram with options.
func v4(t testing.TB, n int, id uint16, options []byte) []byte {
	t.Helper()
	b := make([]byte, 20+n)
	for i := range b[20:] {
		b[20+i] = byte(i*7 + n)
	}
	if _, err := ipwire.PutIPv4(b, ipwire.IPv4Header{ID: id, TTL: 64, Protocol: 17, Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.51.100.2")}); err != nil {
		t.Fatal(err)
	}
	b = bytes.Join([][]byte{b[:20], options, b[20:]}, nil)
	b[0] = 0x40 | byte((20+len(options))/4)
	ipwire.SetLength(b)
	return b
}

// v6 is a UDP datagram behind a chain of extension headers, each of 8 bytes.
func v6(t testing.TB, n int, chain ...uint8) []byte {
	t.Helper()
	chain = append(chain, 17)
	var body []byte
	for _, next := range chain[1:] {
		body = append(body, next, 0, 1, 4, 0, 0, 0, 0) // PadN
	}
	for i := range n {
		body = append(body, byte(i*5+n))
	}
	b := append(make([]byte, 40), body...)
	if _, err := ipwire.PutIPv6(b, ipwire.IPv6Header{NextHeader: chain[0], HopLimit: 64, Src: v6Source, Dst: v6Destination}); err != nil {
		t.Fatal(err)
	}
	return b
}

// datagrams are of every kind that can be fragmented.
func datagrams(t testing.TB, n int) map[string][]byte {
	routerAlert, timestamp := []byte{0x94, 4, 0, 0}, []byte{0x44, 8, 5, 0, 0, 0, 0, 0}
	return map[string][]byte{
		"IPv4":                       v4(t, n, 7, nil),
		"IPv4, copied option":        v4(t, n, 7, routerAlert),
		"IPv4, options of two kinds": v4(t, n, 7, append(bytes.Clone(timestamp), routerAlert...)),
		"IPv6":                       v6(t, n),
		"IPv6, hop-by-hop":           v6(t, n, 0),
		"IPv6, destination":          v6(t, n, 60),
		"IPv6, all":                  v6(t, n, 0, 60, 43, 60),
	}
}

func splitAll(t testing.TB, packet []byte, mtu int, id uint32) [][]byte {
	t.Helper()
	pieces, err := Split(nil, make([]byte, SplitSpace(len(packet), mtu)), packet, mtu, id)
	if err != nil {
		t.Fatalf("%d bytes at %d: %v", len(packet), mtu, err)
	}
	return pieces
}

func TestRoundTrip(t *testing.T) {
	rnd := random(1)
	r := New(Config{})
	now := time.Hour
	for _, n := range []int{0, 1, 7, 8, 9, 500, 1300, 1400, 2800, 9000, 40000, 65000} {
		for _, mtu := range []int{128, 576, 1280, 1281, 1287, 1500} {
			if n/mtu > 200 {
				continue // more than a Reassembler takes
			}
			for name, packet := range datagrams(t, n) {
				pieces := splitAll(t, packet, mtu, 0x10007)
				for i, p := range pieces {
					size, err := ipwire.DatagramLen(p)
					if err != nil || size != len(p) || len(p) > mtu && len(pieces) > 1 {
						t.Fatalf("%s of %d at %d: fragment %d has %d bytes, %v", name, n, mtu, i, len(p), err)
					}
					if h := ipwire.IPv4(p); h[0]>>4 == 4 && (!h.ChecksumOK() || h.ID() == 0) {
						t.Fatalf("%s: fragment %d: checksum or ID", name, i)
					}
				}
				rnd.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
				if len(pieces) == 1 {
					if !bytes.Equal(pieces[0], packet) {
						t.Fatalf("%s of %d: the only fragment differs", name, n)
					}
					continue
				}
				for i, p := range pieces {
					whole, err := r.Add(now, p)
					if err != nil || (whole != nil) != (i == len(pieces)-1) {
						t.Fatalf("%s of %d at %d: fragment %d of %d: whole %v, %v", name, n, mtu, i, len(pieces), whole != nil, err)
					}
					if whole != nil && !bytes.Equal(whole, packet) {
						t.Fatalf("%s of %d at %d: differs\n% x\n% x", name, n, mtu, whole[:60], packet[:60])
					}
				}
			}
		}
	}
	if r.Len() != 0 {
		t.Errorf("%d datagrams still wait", r.Len())
	}
}

// TestFragmentsOfFragments: a second narrower link.
func TestFragmentsOfFragments(t *testing.T) {
	packet := v4(t, 5000, 9, []byte{0x94, 4, 0, 0})
	r := New(Config{})
	var got []byte
	for _, p := range splitAll(t, packet, 1500, 9) {
		for _, q := range splitAll(t, p, 300, 1234) {
			if ipwire.IPv4(q).ID() != 9 {
				t.Fatalf("a fragment's fragment has the ID %d", ipwire.IPv4(q).ID())
			}
			whole, err := r.Add(0, q)
			if err != nil {
				t.Fatal(err)
			}
			if whole != nil {
				got = bytes.Clone(whole)
			}
		}
	}
	if !bytes.Equal(got, packet) {
		t.Error("it is not what it was")
	}
}

func TestSplitRefuses(t *testing.T) {
	df := v4(t, 3000, 1, nil)
	ipwire.IPv4(df).SetDontFragment(true)
	ipwire.IPv4(df).UpdateChecksum()
	fragment := splitAll(t, v6(t, 3000), 1280, 5)[0]
	for name, c := range map[string]struct {
		packet []byte
		mtu    int
		space  int
		want   error
	}{
		"DF":              {df, 1500, 9000, ErrDontFragment},
		"IPv4 MTU":        {v4(t, 3000, 1, nil), 27, 9000, ErrMTU},
		"IPv4 MTU 0":      {v4(t, 3000, 1, nil), 0, 9000, ErrMTU},
		"IPv4 MTU below":  {v4(t, 3000, 1, nil), -5, 9000, ErrMTU},
		"IPv6 MTU":        {v6(t, 3000), 55, 9000, ErrMTU},
		"space":           {v4(t, 3000, 1, nil), 1500, 2000, ErrSpace},
		"IPv6 space":      {v6(t, 3000), 1500, 2000, ErrSpace},
		"space for whole": {v4(t, 100, 1, nil), 1500, 50, ErrSpace},
		"IPv6 fragment":   {fragment, 600, 9000, ErrHeaders},
		"cut":             {v4(t, 100, 1, nil)[:60], 50, 9000, ErrHeaders},
		"nothing":         {nil, 50, 9000, ErrHeaders},
	} {
		pieces, err := Split(nil, make([]byte, c.space), c.packet, c.mtu, 1)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %d pieces, %v", name, len(pieces), err)
		}
	}
	zero := splitAll(t, v4(t, 3000, 0, nil), 1500, 0x10000)
	if ipwire.IPv4(zero[0]).ID() == 0 {
		t.Error("ID 0 without DF")
	}
}

// model is the slow, obviously right reassembly: all bytes of all pieces, and nothing once they contradict.
type model struct {
	bytes map[int]byte
	exact map[[2]int]bool // whether more follows
	total int
	dead  bool
	ecn   map[uint8]bool
}

func (m *model) add(p piece) (done bool) {
	if m.dead {
		return false
	}
	if m.total >= 0 && (p.end > m.total || !p.more && p.end != m.total) {
		m.dead = true
	}
	if !p.more {
		for i := range m.bytes {
			m.dead = m.dead || i >= p.end
		}
	}
	if m.dead {
		return false
	}
	at := [2]int{p.start, p.end}
	if more, again := m.exact[at]; again {
		m.dead = more != p.more
		for i, b := range p.payload {
			m.dead = m.dead || m.bytes[p.start+i] != b
		}
		return false
	}
	for i := range p.payload {
		if _, there := m.bytes[p.start+i]; there {
			m.dead = true
		}
	}
	m.ecn[p.ecn] = true
	m.dead = m.dead || m.ecn[ipwire.CE] && m.ecn[ipwire.NotECT]
	if m.dead {
		return false
	}
	m.exact[at] = p.more
	for i, b := range p.payload {
		m.bytes[p.start+i] = b
	}
	if !p.more {
		m.total = p.end
	}
	return m.total >= 0 && len(m.bytes) == m.total
}

// TestAgainstModel: random fragments of one datagram, some right, some overlapping, doubled or contradicting.
func TestAgainstModel(t *testing.T) {
	finished, died := 0, 0
	for seed := range uint64(3000) {
		rnd := random(seed)
		r := New(Config{})
		m := &model{bytes: map[int]byte{}, exact: map[[2]int]bool{}, total: -1, ecn: map[uint8]bool{}}
		packet := v4(t, 1000+rnd.IntN(1000), 7, nil)
		if rnd.IntN(2) == 0 {
			packet = v6(t, 1000+rnd.IntN(1000), 0)
		}
		pieces := splitAll(t, packet, 200+8*rnd.IntN(30), 7)
		var sent [][]byte
		for _, p := range pieces {
			for range 1 + rnd.IntN(4)/3 {
				sent = append(sent, bytes.Clone(p))
			}
		}
		if rnd.IntN(3) == 0 { // somebody meddles
			p := sent[rnd.IntN(len(sent))]
			meddle(rnd, p)
		}
		rnd.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
		for _, p := range sent {
			q, err := parse(p)
			if err != nil || q.key != mustParse(t, pieces[0]).key || q.start == 0 && !q.more {
				continue // malformed, another's, or a datagram of its own
			}
			done := m.add(q)
			whole, err := r.Add(time.Second, p)
			if (whole != nil) != done {
				t.Fatalf("seed %d: whole %v, the model says %v; %v", seed, whole != nil, done, err)
			}
			if m.dead != (errors.Is(err, ErrOverlap) || errors.Is(err, ErrDiscarded) || errors.Is(err, ErrInconsistent) || errors.Is(err, ErrECN)) && !done {
				t.Fatalf("seed %d: dead %v, %v", seed, m.dead, err)
			}
			if done {
				finished++
				for i, b := range whole[len(whole)-m.total:] {
					if m.bytes[i] != b {
						t.Fatalf("seed %d: byte %d differs", seed, i)
					}
				}
				break
			}
		}
		if m.dead {
			died++
		}
	}
	if finished < 1500 || died < 100 {
		t.Errorf("too tame: %d finished, %d died", finished, died)
	}
}

func mustParse(t testing.TB, p []byte) piece {
	t.Helper()
	q, err := parse(p)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// meddle changes a fragment's offset, flag, payload or ECN.
func meddle(rnd *rand.Rand, p []byte) {
	at, shift := 6, 0
	if p[0]>>4 == 6 {
		at, shift = 50, 3
	}
	place := binary.BigEndian.Uint16(p[at:])
	switch rnd.IntN(4) {
	case 0:
		place += 1 << shift
	case 1:
		if shift == 0 {
			place ^= 0x2000
		} else {
			place ^= 1
		}
	case 2:
		p[len(p)-1] ^= 1
	default:
		ipwire.SetECN(p, ipwire.CE)
	}
	binary.BigEndian.PutUint16(p[at:], place)
	if p[0]>>4 == 4 {
		ipwire.IPv4(p).UpdateChecksum()
	}
}

// TestMemoryIsBounded: an attacker with one address, and one with many, cannot keep honest datagrams out for longer
// than it floods, nor take more than the bound.
func TestMemoryIsBounded(t *testing.T) {
	for _, sources := range []int{1, 5000} {
		r := New(Config{MaxBytes: 1 << 20})
		honest := splitAll(t, v6(t, 3000), 1280, 1)
		for i := range 20000 {
			p := bytes.Clone(splitAll(t, v4(t, 3000, uint16(i), nil), 576, uint32(i)+1)[0])
			binary.BigEndian.PutUint16(p[6:], 0x2000|uint16(8000-i%50)) // far behind: the most memory
			binary.BigEndian.PutUint32(p[12:], 0x0a000000+uint32(i%sources))
			ipwire.IPv4(p).UpdateChecksum()
			_, _ = r.Add(time.Duration(i), p)
			if r.Bytes() > 1<<20 || r.Len() > defaultDatagrams {
				t.Fatalf("%d bytes in %d datagrams", r.Bytes(), r.Len())
			}
			if sources == 1 && i%100 < len(honest) { // between a single attacker's fragments
				whole, err := r.Add(time.Duration(i), honest[i%100])
				if err != nil || (whole != nil) != (i%100 == len(honest)-1) {
					t.Fatalf("honest fragment %d: whole %v, %v", i%100, whole != nil, err)
				}
			}
		}
		if n := r.Expire(time.Hour); n == 0 || r.Len() != 0 {
			t.Errorf("%d given up, %d left", n, r.Len())
		}
	}
}

func TestTimeout(t *testing.T) {
	r := New(Config{Timeout: time.Second})
	pieces := splitAll(t, v4(t, 3000, 3, nil), 1500, 3)
	for i, p := range pieces {
		whole, err := r.Add(time.Duration(i)*time.Second, p) // each comes when the one before is too old
		if whole != nil || err != nil {
			t.Fatalf("fragment %d: %v, %v", i, whole != nil, err)
		}
	}
	if r.Len() != 1 {
		t.Errorf("%d wait", r.Len())
	}
}

func TestLengths(t *testing.T) {
	r := New(Config{})
	piece := func(offset, n int, more bool) []byte {
		p := v4(t, n, 77, nil)
		place := uint16(offset / 8)
		if more {
			place |= 0x2000
		}
		binary.BigEndian.PutUint16(p[6:], place)
		ipwire.IPv4(p).UpdateChecksum()
		return p
	}
	for name, c := range map[string]struct {
		packet []byte
		want   error
	}{
		"no multiple of 8": {piece(0, 100, true), ErrBadLength},
		"empty":            {piece(800, 0, false), ErrBadLength},
		"beyond the end":   {piece(65528, 100, false), ErrTooLong},
		"with the header":  {piece(65512, 8, false), ErrTooLong},
	} {
		if _, err := r.Add(0, c.packet); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// 65,535 bytes, the longest there is; the header comes last.
	longest := v4(t, 65515, 78, nil)
	pieces := splitAll(t, longest, 1500, 78)
	for i := len(pieces) - 1; i >= 0; i-- {
		whole, err := r.Add(0, pieces[i])
		if err != nil || i == 0 && !bytes.Equal(whole, longest) {
			t.Fatalf("fragment %d: %v", i, err)
		}
	}
	// An IPv4 header with options that makes it too long, found when it comes.
	late := v4(t, 65515, 79, nil)
	pieces = splitAll(t, late, 1500, 79)
	for i := len(pieces) - 1; i > 0; i-- {
		if _, err := r.Add(0, pieces[i]); err != nil {
			t.Fatal(err)
		}
	}
	first := bytes.Join([][]byte{pieces[0][:20], {1, 1, 1, 0}, pieces[0][20:]}, nil)
	first[0] = 0x46
	ipwire.SetLength(first)
	if whole, err := r.Add(0, first); whole != nil || !errors.Is(err, ErrTooLong) {
		t.Errorf("with options: %v, %v", whole != nil, err)
	}
}

// TestAtomic is RFC 6946: a fragment that is all of it is no part of another datagram.
func TestAtomic(t *testing.T) {
	r := New(Config{})
	pieces := splitAll(t, v6(t, 3000), 1280, 7)
	if _, err := r.Add(0, pieces[0]); err != nil {
		t.Fatal(err)
	}
	atomic := bytes.Clone(pieces[len(pieces)-1])
	binary.BigEndian.PutUint16(atomic[42:], 0)
	whole, err := r.Add(0, atomic)
	if err != nil || whole == nil || len(whole) != len(atomic)-8 || whole[6] != 17 || r.Len() != 1 {
		t.Errorf("%v, %v", whole != nil, err)
	}
}

func TestECN(t *testing.T) {
	for _, c := range []struct {
		first, second uint8
		want          uint8
		err           error
	}{{0, 0, 0, nil}, {2, 2, 2, nil}, {2, 3, 3, nil}, {3, 1, 3, nil}, {0, 3, 0, ErrECN}, {3, 0, 0, ErrECN}, {0, 2, 0, nil}} {
		for _, packet := range [][]byte{v4(t, 2000, 5, nil), v6(t, 2000)} {
			r := New(Config{})
			pieces := splitAll(t, packet, 1280, 5)
			ipwire.SetECN(pieces[0], c.first)
			ipwire.SetECN(pieces[1], c.second)
			_, err1 := r.Add(0, pieces[0])
			whole, err := r.Add(0, pieces[1])
			if err1 != nil || !errors.Is(err, c.err) || err == nil && ipwire.TOS(whole)&3 != c.want {
				t.Errorf("%+v: %v", c, err)
			}
			if err == nil && whole[0]>>4 == 4 && !ipwire.IPv4(whole).ChecksumOK() {
				t.Errorf("%+v: the checksum is wrong", c)
			}
		}
	}
}

func TestEveryPrefix(t *testing.T) {
	for name, packet := range datagrams(t, 2000) {
		for _, p := range splitAll(t, packet, 1280, 7) {
			for n := range len(p) {
				if whole, err := New(Config{}).Add(0, p[:n]); whole != nil || err == nil {
					t.Fatalf("%s: %d of %d bytes were taken", name, n, len(p))
				}
			}
		}
	}
}

func TestTracker(t *testing.T) {
	k := NewTracker(TrackerConfig{Timeout: time.Minute})
	for name, packet := range datagrams(t, 3000) {
		pieces := splitAll(t, packet, 1280, 0x77)
		if _, ok := k.Flow(0, pieces[1]); ok {
			continue // another kind of the same addresses and ID
		}
		first, err := ipwire.ParseFlow(pieces[0])
		if err != nil {
			t.Fatal(name, err)
		}
		k.Note(0, pieces[0], first)
		for _, p := range pieces[1:] {
			if flow, ok := k.Flow(time.Second, p); !ok || flow != first {
				t.Errorf("%s: %+v, %v", name, flow, ok)
			}
		}
		if _, ok := k.Flow(time.Minute, pieces[1]); ok {
			t.Errorf("%s: still known after the timeout", name)
		}
		other := first
		other.DstPort++
		k.Note(0, pieces[0], first) // again
		if _, ok := k.Flow(0, pieces[1]); !ok {
			t.Errorf("%s: the same first fragment spoilt it", name)
		}
		k.Note(0, pieces[0], other)
		if _, ok := k.Flow(0, pieces[1]); ok {
			t.Errorf("%s: two first fragments with other ports", name)
		}
		k = NewTracker(TrackerConfig{Timeout: time.Minute})
	}
	for i := range 100000 { // its memory is what it was
		p := splitAll(t, v4(t, 600, uint16(i), nil), 576, uint32(i%65535)+1)
		flow, _ := ipwire.ParseFlow(p[0])
		k.Note(0, p[0], flow)
		if i == 50000 {
			break
		}
	}
	if n := len(k.sets) * trackerWays; n != defaultDatagrams {
		t.Errorf("%d places", n)
	}
}

func TestNoAllocations(t *testing.T) {
	r, k := New(Config{}), NewTracker(TrackerConfig{})
	for name, packet := range datagrams(t, 4000) {
		space, dst := make([]byte, SplitSpace(len(packet), 1280)), make([][]byte, 0, 16)
		flow, _ := ipwire.ParseFlow(packet)
		if n := testing.AllocsPerRun(100, func() {
			pieces, err := Split(dst, space, packet, 1280, 9)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pieces {
				k.Note(0, p, flow)
				k.Flow(0, p)
				if _, err := r.Add(0, p); err != nil {
					t.Fatal(err)
				}
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzReassemble gives a sequence of arbitrary fragments: what comes out is a whole datagram, and memory is bounded.
func FuzzReassemble(f *testing.F) {
	for _, packet := range datagrams(f, 500) {
		var b []byte
		for _, p := range splitAll(f, packet, 200, 7) {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, k := New(Config{MaxBytes: leastBytes, MaxDatagrams: 16}), NewTracker(TrackerConfig{Datagrams: 8})
		for now := time.Duration(0); len(b) > 2; now += time.Second {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			p := b[2 : 2+n]
			b = b[2+n:]
			if h, err := ipwire.ParseIPv4(p); err == nil && n%4 > 0 {
				h.UpdateChecksum() // else nothing that is changed would get in
			}
			if flow, err := ipwire.ParseFlow(p); err == nil {
				k.Note(now, p, flow)
				k.Flow(now, p)
			}
			before := bytes.Clone(p)
			whole, err := r.Add(now, p)
			if !bytes.Equal(before, p) {
				t.Fatal("the fragment was changed")
			}
			check(t, r)
			if whole == nil {
				continue
			}
			size, e := ipwire.DatagramLen(whole)
			if err != nil || e != nil || size != len(whole) {
				t.Fatalf("made %d bytes that say %d: %v, %v", len(whole), size, err, e)
			}
		}
	})
}

// FuzzSplit splits arbitrary packets: each fragment is a datagram that fits, and together they are the packet.
func FuzzSplit(f *testing.F) {
	for _, packet := range datagrams(f, 500) {
		f.Add(packet, 200, uint32(7))
	}
	f.Fuzz(func(t *testing.T, packet []byte, mtu int, id uint32) {
		if len(packet) > 1<<17 {
			return
		}
		before := bytes.Clone(packet)
		pieces, err := Split(nil, make([]byte, SplitSpace(len(packet), mtu)), packet, mtu, id)
		if !bytes.Equal(before, packet) {
			t.Fatal("the packet was changed")
		}
		if errors.Is(err, ErrSpace) {
			t.Fatalf("SplitSpace(%d, %d) is too small", len(packet), mtu)
		}
		if err != nil {
			return
		}
		for i, p := range pieces {
			if n, e := ipwire.DatagramLen(p); e != nil || n != len(p) || len(pieces) > 1 && len(p) > mtu {
				t.Fatalf("fragment %d of %d bytes says %d, %v", i, len(p), n, e)
			}
		}
		if len(pieces) == 0 {
			t.Fatal("it is lost without an error")
		}
		if _, whole := unfragmented(packet); !whole || len(pieces) == 1 || len(pieces) > maxPieces {
			return
		}
		want, r := bytes.Clone(packet), New(Config{})
		if want[0]>>4 == 4 { // what a fragment cannot keep: its datagram's ID, and the reserved flag
			copy(want[4:6], pieces[0][4:])
			want[6] &= 0x40
			ipwire.IPv4(want).UpdateChecksum()
		}
		n, _ := ipwire.DatagramLen(want)
		ecn := ipwire.TOS(want)
		for i, p := range pieces {
			whole, err := r.Add(0, p)
			if err != nil || (whole != nil) != (i == len(pieces)-1) {
				t.Fatalf("fragment %d of %d: whole %v, %v", i, len(pieces), whole != nil, err)
			}
			if whole != nil && (!bytes.Equal(whole, want[:n]) || ipwire.TOS(whole) != ecn) {
				t.Fatalf("another packet came out\n% x\n% x", whole, want[:n])
			}
		}
	})
}

func BenchmarkReassemble(b *testing.B) {
	r := New(Config{})
	pieces := splitAll(b, v4(b, 4000, 7, nil), 1500, 7)
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range pieces {
			if _, err := r.Add(0, p); err != nil {
				b.Fatal(err)
			}
		}
	}
}
