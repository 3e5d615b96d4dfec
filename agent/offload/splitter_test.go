package offload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// split gives copies of all segments, and overwrites each one and its tail as a sealer may.
func split(t testing.TB, s *Splitter, b []byte) (out [][]byte) {
	t.Helper()
	if err := s.Reset(b); err != nil {
		t.Fatalf("Reset of %x: %v", b[:min(len(b), 80)], err)
	}
	for p, ok := s.Next(); ok; p, ok = s.Next() {
		out = append(out, bytes.Clone(p))
		if cap(p)-len(p) < Tail {
			t.Fatalf("%d bytes of tail", cap(p)-len(p))
		}
		p = p[:len(p)+Tail]
		for i := range p {
			p[i] = 0xee
		}
	}
	if len(out) != s.Count() {
		t.Fatalf("%d segments, Count %d", len(out), s.Count())
	}
	return out
}

func diff(t testing.TB, what string, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d packets, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("%s: packet %d of %d is\n%x, want\n%x", what, i+1, len(want), got[i], want[i])
		}
	}
}

// TestSplitterAgainstModel: random packets, sizes down to one byte, all flags and header options.
func TestSplitterAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s Splitter
	for i := range 3000 {
		n := 3000
		if i%100 == 0 {
			n = 64000
		}
		x := randomSpec(r, n)
		size := 1 + r.IntN(1500)
		if i%10 == 0 {
			size = max(1, len(x.payload)/50)
		}
		kind := x.gsoType()
		if i%2 == 0 {
			kind |= gsoECN
		}
		diff(t, fmt.Sprintf("%+v", x), split(t, &s, x.super(kind, size)), x.segments(size))
	}
}

// TestSplitterPlain: without a gso_type the packet comes out as it is, its checksum done if that was left.
func TestSplitterPlain(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var s Splitter
	for range 1000 {
		x := randomSpec(r, 1500)
		b := x.super(gsoNone, 0)
		if want := x.packet(); binary.BigEndian.Uint16(want[x.transportAt()+x.checksumAt():]) != 0 {
			diff(t, "NEEDS_CSUM", split(t, &s, b), [][]byte{want})
		}
		want := randomBytes(r, 1+r.IntN(100))
		diff(t, "plain", split(t, &s, withTail(append(make([]byte, HeaderLen), want...))), [][]byte{want})
	}
	x := spec{udp: true, payload: []byte("no checksum")}
	want := x.packet()
	want[26], want[27] = 0, 0
	diff(t, "UDP without checksum", split(t, &s, withTail(append(make([]byte, HeaderLen), want...))), [][]byte{want})
}

// TestSplitterUDPZeroChecksum: a checksum that comes out as 0 goes as 0xffff.
func TestSplitterUDPZeroChecksum(t *testing.T) {
	x := spec{udp: true, ttl: 64, sport: 1, dport: 2, payload: []byte{0, 0}}
	x.payload = bytes.Clone(x.packet()[26:28]) // now all words sum to 0xffff
	var s Splitter
	plain := split(t, &s, x.super(gsoNone, 0))[0]
	x.payload = append(x.payload, 0, 0)
	for _, p := range [][]byte{plain, split(t, &s, x.super(gsoUDP, 2))[0]} {
		if !bytes.Equal(p[26:28], []byte{0xff, 0xff}) {
			t.Errorf("checksum %x, want ffff", p[26:28])
		}
	}
}

// TestSplitterRefuses: headers that do not fit.
func TestSplitterRefuses(t *testing.T) {
	tcp4 := spec{ttl: 64, flags: tcpACK, payload: make([]byte, 3000)}
	tcp6, udp4, udp6 := tcp4, tcp4, tcp4
	tcp6.v6, udp4.udp, udp6.v6, udp6.udp = true, true, true, true
	long := tcp6
	long.extension, long.firstNext = make([]byte, 200), 60
	long.extension[0], long.extension[1] = 6, 24
	longUDP := long
	longUDP.udp = true
	longUDP.extension = append([]byte{17}, long.extension[1:]...)
	vnet := func(at int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte { binary.NativeEndian.PutUint16(b[at:], v); return b }
	}
	set := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	ip := func(at int, v byte) func([]byte) []byte { return set(HeaderLen+at, v) }
	for name, tt := range map[string]struct {
		x    spec
		kind uint8
		do   func([]byte) []byte
	}{
		"nothing":                  {tcp4, gsoTCPv4, func(b []byte) []byte { return b[:0:0] }},
		"a virtio header only":     {tcp4, gsoTCPv4, func(b []byte) []byte { return b[:HeaderLen] }},
		"no tail":                  {tcp4, gsoTCPv4, func(b []byte) []byte { return b[: len(b) : len(b)+Tail-1] }},
		"gso_size 0":               {tcp4, gsoTCPv4, vnet(4, 0)},
		"csum_start 0":             {tcp4, gsoTCPv4, vnet(6, 0)},
		"csum_start +1":            {tcp4, gsoTCPv4, vnet(6, 21)},
		"csum_start 65535":         {tcp6, gsoTCPv6, vnet(6, 65535)},
		"csum_offset":              {tcp4, gsoTCPv4, vnet(8, 6)},
		"csum_offset 65535":        {udp6, gsoUDP, vnet(8, 65535)},
		"no NEEDS_CSUM":            {tcp4, gsoTCPv4, set(0, 0)},
		"UFO":                      {udp4, 3, func(b []byte) []byte { return b }},
		"unknown type":             {tcp4, 0x7f, func(b []byte) []byte { return b }},
		"a tunnel's type":          {tcp4, gsoTCPv4 | 0x20, func(b []byte) []byte { return b }},
		"ECN alone":                {tcp4, gsoECN, func(b []byte) []byte { return b }},
		"TCPv4 for IPv6":           {tcp6, gsoTCPv4, func(b []byte) []byte { return b }},
		"TCPv6 for IPv4":           {tcp4, gsoTCPv6, func(b []byte) []byte { return b }},
		"UDP for TCP":              {tcp4, gsoUDP, func(b []byte) []byte { return b }},
		"TCP for UDP":              {udp4, gsoTCPv4, func(b []byte) []byte { return b }},
		"UDP of IP version 5":      {udp4, gsoUDP, ip(0, 0x55)},
		"IPv4 length":              {tcp4, gsoTCPv4, ip(3, 1)},
		"IPv6 length":              {tcp6, gsoTCPv6, ip(5, 1)},
		"a fragment":               {tcp4, gsoTCPv4, ip(6, 0x20)},
		"a later fragment":         {tcp4, gsoTCPv4, ip(7, 1)},
		"IPv6 fragment header":     {tcp6, gsoTCPv6, ip(6, 44)},
		"IPv6 endless extensions":  {tcp6, gsoTCPv6, ip(6, 60)},
		"IPv6 no next header":      {tcp6, gsoTCPv6, ip(6, 59)},
		"TCP header of 16":         {tcp4, gsoTCPv4, ip(32, 0x40)},
		"TCP header beyond":        {spec{payload: []byte{1}}, gsoTCPv4, ip(32, 0xf0)},
		"UDP header cut":           {spec{udp: true}, gsoUDP, func(b []byte) []byte { b[HeaderLen+3] = 27; return b[:len(b)-1] }},
		"IPv6 extension cut":       {long, gsoTCPv6, func(b []byte) []byte { b[HeaderLen+5] = 1; return b[:HeaderLen+41] }},
		"IPv6 extension beyond":    {long, gsoTCPv6, func(b []byte) []byte { b[HeaderLen+4], b[HeaderLen+5] = 0, 8; return b[:HeaderLen+48] }},
		"IPv6 UDP beyond":          {longUDP, gsoUDP, func(b []byte) []byte { b[HeaderLen+4], b[HeaderLen+5] = 0, 8; return b[:HeaderLen+48] }},
		"headers of 260 bytes":     {long, gsoTCPv6, func(b []byte) []byte { return b }},
		"NEEDS_CSUM in IP header":  {tcp4, gsoNone, vnet(6, 10)},
		"NEEDS_CSUM in IPv6":       {tcp6, gsoNone, vnet(6, 38)},
		"NEEDS_CSUM beyond":        {tcp4, gsoNone, vnet(6, 3039)},
		"NEEDS_CSUM field beyond":  {tcp4, gsoNone, vnet(8, 3019)},
		"NEEDS_CSUM at an odd":     {tcp4, gsoNone, vnet(8, 17)},
		"NEEDS_CSUM 65535+65535":   {tcp4, gsoNone, func(b []byte) []byte { return vnet(8, 65535)(vnet(6, 65535)(b)) }},
		"NEEDS_CSUM and IPv4 len":  {tcp4, gsoNone, ip(3, 1)},
		"NEEDS_CSUM and version 0": {tcp4, gsoNone, ip(0, 0)},
	} {
		var s Splitter
		if err := s.Reset(tt.do(tt.x.super(tt.kind, 1000))); err != ErrHeader {
			t.Errorf("%s: %v, want ErrHeader", name, err)
		}
		if p, ok := s.Next(); ok || s.Count() != 0 {
			t.Errorf("%s: %d segments, one is %x", name, s.Count(), p)
		}
	}
}

// TestSplitterPrefixes: no cut super-packet is taken for a whole one.
func TestSplitterPrefixes(t *testing.T) {
	for _, x := range []spec{{}, {v6: true}, {udp: true}, {udp: true, v6: true}, {tcpOptions: make([]byte, 12)}} {
		x.payload = make([]byte, 40)
		b := x.super(x.gsoType(), 11)
		for n := range len(b) {
			var s Splitter
			if err := s.Reset(withTail(b[:n])); err != ErrHeader {
				t.Fatalf("%d of %d bytes: %v", n, len(b), err)
			}
		}
	}
}

func TestSplitterAllocates(t *testing.T) {
	x := spec{ttl: 64, flags: tcpACK, payload: make([]byte, 60000)}
	b := x.super(gsoTCPv4, 1400)
	work := bytes.Clone(b[:cap(b)])
	var s Splitter
	if n := testing.AllocsPerRun(100, func() {
		copy(work, b)
		if s.Reset(work[:len(b)]) != nil {
			t.Fatal("refused")
		}
		for _, ok := s.Next(); ok; _, ok = s.Next() {
		}
	}); n != 0 {
		t.Errorf("%v allocations per super-packet", n)
	}
}

// FuzzSplitter: whatever the header says, segments are whole packets that together carry the payload once.
func FuzzSplitter(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		x := randomSpec(r, 200)
		b := x.super(x.gsoType(), 1+r.IntN(80))
		f.Add(b[:HeaderLen], b[HeaderLen:])
		b = x.super(gsoNone, 0)
		f.Add(b[:HeaderLen], b[HeaderLen:])
	}
	f.Fuzz(func(t *testing.T, header, packet []byte) {
		if len(header) != HeaderLen || len(packet) > 65575 {
			return
		}
		b := withTail(append(bytes.Clone(header), packet...))
		var s Splitter
		if err := s.Reset(b); err != nil {
			if s.Count() != 0 {
				t.Fatal("segments of a refused packet")
			}
			return
		}
		segments := split(t, &s, withTail(append(bytes.Clone(header), packet...)))
		if header[1] == gsoNone {
			if len(segments) != 1 || len(segments[0]) != len(packet) {
				t.Fatalf("%d segments of a plain packet", len(segments))
			}
			return
		}
		checkSegments(t, segments, packet, header[1]&^gsoECN == gsoUDP, int(binary.NativeEndian.Uint16(header[6:])))
	})
}

func checkSegments(t *testing.T, segments [][]byte, packet []byte, udp bool, transport int) {
	t.Helper()
	headers := transport + 8
	if !udp {
		headers = transport + int(packet[transport+12]>>4)*4
	}
	// The TUN is to leave the pseudo-header's sum in the field.
	at := transport + 16
	if udp {
		at = transport + 6
	}
	sound := uint32(binary.BigEndian.Uint16(packet[at:]))%0xffff == pseudoOf(packet, transport, udp)%0xffff
	var payload []byte
	for i, p := range segments {
		length := int(binary.BigEndian.Uint16(p[2:]))
		if p[0]>>4 == 6 {
			length = 40 + int(binary.BigEndian.Uint16(p[4:]))
		} else if sum := slowSum(0, p[:transport]); sum != 0xffff {
			t.Fatalf("segment %d: IPv4 header sums to %#x", i, sum)
		}
		if length != len(p) {
			t.Fatalf("segment %d of %d bytes: length field %d", i, len(p), length)
		}
		payload = append(payload, p[headers:]...)
		if sound && slowSum(pseudoOf(p, transport, udp), p[transport:]) != 0xffff {
			t.Fatalf("segment %d: wrong checksum", i)
		}
	}
	if !bytes.Equal(payload, packet[headers:]) {
		t.Fatal("the payload has changed")
	}
}

// pseudoOf is the pseudo-header's sum from the addresses in the IP header.
func pseudoOf(p []byte, transport int, udp bool) uint32 {
	proto := uint32(6)
	if udp {
		proto = 17
	}
	n := uint32(len(p) - transport)
	if p[0]>>4 == 6 {
		return slowSum(slowSum(proto, nil)+n, p[8:40])
	}
	return slowSum(slowSum(proto, nil)+n, p[12:20])
}

func BenchmarkSplit(b *testing.B) {
	for _, bb := range []struct {
		name string
		x    spec
		size int
	}{
		{"TCP4-1400", spec{payload: make([]byte, 45*1400), tcpOptions: make([]byte, 12)}, 1400},
		{"TCP6-1400", spec{v6: true, payload: make([]byte, 45*1400), tcpOptions: make([]byte, 12)}, 1400},
		{"UDP4-64", spec{udp: true, payload: make([]byte, 64*64)}, 64},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in := bb.x.super(bb.x.gsoType(), bb.size)
			header := bytes.Clone(in[:HeaderLen+120])
			var s Splitter
			n := 0
			for b.Loop() {
				copy(in, header)
				if s.Reset(in) != nil {
					b.Fatal("refused")
				}
				for _, ok := s.Next(); ok; _, ok = s.Next() {
					n++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/segment")
			b.ReportMetric(0, "ns/op")
		})
	}
}
