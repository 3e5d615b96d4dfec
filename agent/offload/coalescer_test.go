package offload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// emitted is one call of emit: what a TUN would be given.
type emitted struct {
	b       []byte
	packets int
}

// coalesce adds packets and flushes.
func coalesce(t testing.TB, f Features, packets [][]byte) (out []emitted) {
	t.Helper()
	c := NewCoalescer(f, func(pieces [][]byte, n int) {
		if len(pieces[0]) != HeaderLen || len(pieces) != n+1 {
			t.Fatalf("%d packets in %d pieces, the header of %d bytes", n, len(pieces), len(pieces[0]))
		}
		e := emitted{bytes.Join(pieces, nil), n}
		out = append(out, e)
		if n > 1 {
			wellFormed(t, e.b)
		}
	})
	for _, p := range packets {
		c.Add(bytes.Clone(p))
	}
	c.Flush()
	return out
}

// wellFormed checks what the Splitter does not look at, but a kernel may.
func wellFormed(t testing.TB, b []byte) {
	t.Helper()
	p, transport := b[HeaderLen:], int(binary.NativeEndian.Uint16(b[6:]))
	if p[0]>>4 == 4 && slowSum(0, p[:20]) != 0xffff {
		t.Errorf("IPv4 header of a super-packet: %x", p[:20])
	}
	if b[1] == gsoUDP && int(binary.BigEndian.Uint16(p[transport+4:])) != len(p)-transport {
		t.Errorf("UDP header of a super-packet: %x", p[transport:transport+8])
	}
	if n := int(binary.NativeEndian.Uint16(b[2:])); n < transport+8 || n > transport+60 {
		t.Errorf("hdr_len %d", n)
	}
}

// resplit gives what the Splitter makes of what was emitted.
func resplit(t testing.TB, list []emitted) (out [][]byte) {
	t.Helper()
	var s Splitter
	for _, e := range list {
		got := split(t, &s, withTail(e.b))
		if len(got) != e.packets {
			t.Fatalf("%d packets were said to be %d", len(got), e.packets)
		}
		out = append(out, got...)
	}
	return out
}

func counts(list []emitted) (out []int) {
	for _, e := range list {
		out = append(out, e.packets)
	}
	return out
}

var both = Features{TCP: true, UDP: true}

// stream is n full segments of a flow.
func stream(x spec, n, size int) (out []spec) {
	for range n {
		x.payload = bytes.Repeat([]byte{byte(n)}, size)
		out = append(out, x)
		x.seq += uint32(size)
		x.id++
	}
	return out
}

func packets(list []spec) (out [][]byte) {
	for _, x := range list {
		out = append(out, x.packet())
	}
	return out
}

func tcpSpec(v6 bool) spec {
	return spec{v6: v6, flags: tcpACK, ttl: 64, window: 500, tcpOptions: []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, df: true,
		seq: 0xfffffff0, id: 0xfffe, sport: 5201, dport: 40000, host: 2}
}

// TestCoalescerJoins says of three equal packets, one of which is changed, how they come out.
func TestCoalescerJoins(t *testing.T) {
	tcp, udp := tcpSpec, func(v6 bool) spec { x := tcpSpec(v6); x.udp = true; return x }
	for name, tt := range map[string]struct {
		of       func(bool) spec
		at       int
		do       func(*spec)
		want     []int
		want6    []int // where it differs with IPv6
		features Features
	}{
		"TCP":                    {of: tcp, do: func(*spec) {}, want: []int{3}},
		"UDP":                    {of: udp, do: func(*spec) {}, want: []int{3}},
		"TCP not wanted":         {of: tcp, do: func(*spec) {}, want: []int{1, 1, 1}, features: Features{UDP: true}},
		"UDP not wanted":         {of: udp, do: func(*spec) {}, want: []int{1, 1, 1}, features: Features{TCP: true}},
		"PSH on the first":       {of: tcp, at: 0, do: func(x *spec) { x.flags |= tcpPSH }, want: []int{1, 2}},
		"PSH on the second":      {of: tcp, at: 1, do: func(x *spec) { x.flags |= tcpPSH }, want: []int{2, 1}},
		"PSH on the last":        {of: tcp, at: 2, do: func(x *spec) { x.flags |= tcpPSH }, want: []int{3}},
		"FIN":                    {of: tcp, at: 2, do: func(x *spec) { x.flags |= tcpFIN }, want: []int{2, 1}},
		"SYN":                    {of: tcp, at: 0, do: func(x *spec) { x.flags = 2 }, want: []int{1, 2}},
		"RST":                    {of: tcp, at: 1, do: func(x *spec) { x.flags |= 4 }, want: []int{1, 1, 1}},
		"URG":                    {of: tcp, at: 1, do: func(x *spec) { x.flags |= 32 }, want: []int{1, 1, 1}},
		"ECE":                    {of: tcp, at: 1, do: func(x *spec) { x.flags |= 64 }, want: []int{1, 1, 1}},
		"CWR on the first":       {of: tcp, at: 0, do: func(x *spec) { x.flags |= tcpCWR }, want: []int{1, 2}},
		"CWR":                    {of: tcp, at: 1, do: func(x *spec) { x.flags |= tcpCWR }, want: []int{1, 1, 1}},
		"no ACK":                 {of: tcp, at: 2, do: func(x *spec) { x.flags = 0 }, want: []int{2, 1}},
		"reserved bits":          {of: tcp, at: 2, do: func(x *spec) { x.reserved = 1 }, want: []int{2, 1}},
		"urgent pointer":         {of: tcp, at: 2, do: func(x *spec) { x.urgent = 1 }, want: []int{2, 1}},
		"acknowledgment":         {of: tcp, at: 2, do: func(x *spec) { x.ack++ }, want: []int{2, 1}},
		"window":                 {of: tcp, at: 2, do: func(x *spec) { x.window++ }, want: []int{2, 1}},
		"timestamp":              {of: tcp, at: 2, do: func(x *spec) { x.tcpOptions = bytes.Repeat([]byte{1}, 12) }, want: []int{2, 1}},
		"fewer options":          {of: tcp, at: 2, do: func(x *spec) { x.tcpOptions = nil }, want: []int{2, 1}},
		"a hole":                 {of: tcp, at: 2, do: func(x *spec) { x.seq++ }, want: []int{2, 1}},
		"no data":                {of: tcp, at: 1, do: func(x *spec) { x.payload = nil }, want: []int{1, 1, 1}},
		"UDP without data":       {of: udp, at: 1, do: func(x *spec) { x.payload = nil }, want: []int{1, 1, 1}, want6: []int{1, 1, 1}},
		"shorter in between":     {of: tcp, at: 1, do: func(x *spec) { x.payload = x.payload[:9] }, want: []int{2, 1}},
		"shorter at the end":     {of: tcp, at: 2, do: func(x *spec) { x.payload = x.payload[:9] }, want: []int{3}},
		"longer at the end":      {of: tcp, at: 2, do: func(x *spec) { x.payload = append(x.payload, 1) }, want: []int{2, 1}},
		"UDP shorter":            {of: udp, at: 1, do: func(x *spec) { x.payload = x.payload[:9] }, want: []int{2, 1}},
		"UDP longer":             {of: udp, at: 1, do: func(x *spec) { x.payload = append(x.payload, 1) }, want: []int{1, 2}},
		"TOS":                    {of: tcp, at: 2, do: func(x *spec) { x.tos = 3 }, want: []int{2, 1}},
		"TTL":                    {of: udp, at: 2, do: func(x *spec) { x.ttl-- }, want: []int{2, 1}},
		"flow label":             {of: tcp, at: 2, do: func(x *spec) { x.label = 5 }, want: []int{3}, want6: []int{2, 1}},
		"DF":                     {of: tcp, at: 2, do: func(x *spec) { x.df = false }, want: []int{2, 1}, want6: []int{3}},
		"ID":                     {of: tcp, at: 2, do: func(x *spec) { x.id++ }, want: []int{2, 1}, want6: []int{3}},
		"the same ID":            {of: tcp, at: 2, do: func(x *spec) { x.id-- }, want: []int{2, 1}, want6: []int{3}},
		"the first's ID":         {of: udp, at: 1, do: func(x *spec) { x.id-- }, want: []int{1, 1, 1}, want6: []int{3}},
		"IP options, extensions": {of: tcp, at: 1, do: func(x *spec) { x.ipOptions, x.extension = []byte{1, 1, 1, 0}, []byte{6, 7: 0} }, want: []int{1, 1, 1}},
	} {
		for _, v6 := range []bool{false, true} {
			list := stream(tt.of(v6), 3, 1401)
			tt.do(&list[tt.at])
			features, want := tt.features, tt.want
			if features == (Features{}) {
				features = both
			}
			if v6 && tt.want6 != nil {
				want = tt.want6
			}
			out := coalesce(t, features, packets(list))
			if got := counts(out); !slices.Equal(got, want) {
				t.Errorf("%s, IPv6 %v: %v, want %v", name, v6, got, want)
			}
			diff(t, name, resplit(t, out), packets(list))
		}
	}
}

// TestCoalescerBadChecksum: a packet with a wrong checksum passes alone, unchanged, and says nothing of its checksum.
func TestCoalescerBadChecksum(t *testing.T) {
	for _, x := range []spec{tcpSpec(false), tcpSpec(true), {udp: true}, {udp: true, v6: true}} {
		for bad, want := range [][]int{{1, 2}, {1, 1, 1}, {2, 1}} {
			list := packets(stream(x, 3, 900))
			for at := range list[bad] {
				if at < 40 && x.v6 || at < 10 {
					continue // addresses say which flow it is; lengths what it is
				}
				damaged := slices.Clone(list)
				damaged[bad] = bytes.Clone(list[bad])
				damaged[bad][at] ^= 0x10
				out := coalesce(t, both, damaged)
				if at > x.transportAt()+20 && !slices.Equal(counts(out), want) {
					t.Fatalf("packet %d damaged at %d: %v, want %v", bad, at, counts(out), want)
				}
				if !slices.ContainsFunc(out, func(e emitted) bool {
					return e.packets == 1 && bytes.Equal(e.b, append(make([]byte, HeaderLen), damaged[bad]...))
				}) {
					t.Fatalf("packet %d damaged at %d has changed", bad, at)
				}
			}
		}
	}
}

// TestCoalescerNoncanonical: 0xffff in place of a checksum of 0 is right, but segmentation would write 0.
func TestCoalescerNoncanonical(t *testing.T) {
	base := tcpSpec(false)
	list := stream(base, 3, 100)
	list[1].id = 0
	base.id = binary.BigEndian.Uint16(list[1].packet()[10:]) - 1 // the second's header now sums to 0xffff
	list = stream(base, 3, 100)
	clear(list[1].payload)
	copy(list[1].payload, list[1].packet()[36:38]) // and its TCP segment too
	exact := packets(list)
	for _, at := range []int{10, 36} {
		if !bytes.Equal(exact[1][at:at+2], []byte{0, 0}) {
			t.Fatalf("checksum %x, want 0", exact[1][at:at+2])
		}
		other := slices.Clone(exact)
		other[1] = bytes.Clone(exact[1])
		other[1][at], other[1][at+1] = 0xff, 0xff
		out := coalesce(t, both, other)
		if !slices.Equal(counts(out), []int{1, 1, 1}) {
			t.Errorf("0xffff at %d: %v", at, counts(out))
		}
		diff(t, "0xffff", resplit(t, out), other)
	}
	out := coalesce(t, both, exact)
	if !slices.Equal(counts(out), []int{3}) {
		t.Errorf("0: %v", counts(out))
	}
	diff(t, "0", resplit(t, out), exact)
}

// TestCoalescerOddUDP: UDP packets that segmentation would mend are not joined: without a checksum, even where all adds
// up, and with a length of their own.
func TestCoalescerOddUDP(t *testing.T) {
	exact := stream(spec{udp: true}, 3, 100)
	clear(exact[1].payload)
	copy(exact[1].payload, exact[1].packet()[26:28]) // the checksum is now 0, written 0xffff
	for name, change := range map[string]func(p []byte){
		"no checksum": func(p []byte) { p[26], p[27] = 0, 0 },
		"length": func(p []byte) {
			p[25] -= 2
			binary.BigEndian.PutUint16(p[28:], binary.BigEndian.Uint16(p[28:])+2)
		},
	} {
		list := packets(exact)
		change(list[1])
		if slowSum(pseudoOf(list[1], 20, true), list[1][20:]) != 0xffff {
			t.Fatalf("%s: does not add up", name)
		}
		out := coalesce(t, both, list)
		if !slices.Equal(counts(out), []int{1, 1, 1}) {
			t.Errorf("%s: %v", name, counts(out))
		}
		diff(t, name, resplit(t, out), list)
	}
	if got := counts(coalesce(t, both, packets(exact))); !slices.Equal(got, []int{3}) {
		t.Errorf("unchanged: %v", got)
	}
}

// TestCoalescerAtomicID: packets with DF and one ID are joined where that is wanted, and not without DF.
func TestCoalescerAtomicID(t *testing.T) {
	atomic := Features{TCP: true, UDP: true, AtomicID: true}
	list := stream(spec{udp: true, df: true}, 5, 64)
	for i := range list {
		list[i].id = 7
	}
	list[4].id = 8
	if got := counts(coalesce(t, both, packets(list))); !slices.Equal(got, []int{1, 1, 1, 2}) {
		t.Errorf("exact: %v", got)
	}
	if got := counts(coalesce(t, atomic, packets(list))); !slices.Equal(got, []int{4, 1}) {
		t.Errorf("atomic: %v", got)
	}
	for i := range list {
		list[i].df = false
	}
	if got := counts(coalesce(t, atomic, packets(list))); !slices.Equal(got, []int{1, 1, 1, 2}) {
		t.Errorf("without DF: %v", got)
	}
}

// TestCoalescerLimits: no aggregate is longer than an IP datagram can be, or of more packets than promised.
func TestCoalescerLimits(t *testing.T) {
	for _, x := range []spec{tcpSpec(false), tcpSpec(true), {udp: true}, {udp: true, v6: true}} {
		for _, size := range []int{1, 511, 512, 1400, 1448, 8000, 21000, 32700} {
			list := packets(stream(x, 300, size))
			out := coalesce(t, both, list)
			header, most := len(list[0])-size, 128
			limit := 65535
			if x.v6 {
				limit += 40
			}
			if x.udp {
				most = 64
			}
			want := min(most, (limit-header)/size)
			if out[0].packets != want || len(out[0].b) > HeaderLen+limit {
				t.Errorf("IPv6 %v, UDP %v, %d bytes: %d packets, want %d", x.v6, x.udp, size, out[0].packets, want)
			}
			diff(t, "limits", resplit(t, out), list)
		}
	}
}

// TestCoalescerMixesFlows: as many flows as there is room for, interleaved, are joined; with more, nothing is lost.
func TestCoalescerMixesFlows(t *testing.T) {
	for _, n := range []int{2, flowCount, flowCount + 1, 50} {
		var list [][]byte
		var flows [][]spec
		for i := range n {
			x := tcpSpec(i%2 == 0)
			x.udp, x.sport = i%3 == 0, uint16(i/4)
			x.host = uint8(i)
			flows = append(flows, stream(x, 10, 300))
		}
		for i := range 10 {
			for _, f := range flows {
				list = append(list, f[i].packet())
			}
		}
		out := coalesce(t, both, list)
		if n <= flowCount && len(out) != n {
			t.Errorf("%d flows came out in %d pieces", n, len(out))
		}
		sameByFlow(t, resplit(t, out), list)
	}
}

// TestCoalescerPortsUnseen: what may belong to a flow does not overtake it; what cannot does not disturb it.
func TestCoalescerPortsUnseen(t *testing.T) {
	list := packets(stream(tcpSpec(false), 4, 300))
	fragment := bytes.Clone(list[0][:60])
	fragment[6], fragment[7] = 0, 9
	other := bytes.Clone(fragment)
	other[19]++
	options := spec{ipOptions: []byte{1, 1, 1, 0}, host: 2, payload: []byte{1}}.packet()
	for name, tt := range map[string]struct {
		p    []byte
		want []int
	}{
		"a fragment":            {fragment, []int{2, 1, 2}},
		"another's fragment":    {other, []int{1, 4}},
		"options":               {options, []int{2, 1, 2}},
		"ICMP":                  {func() []byte { b := bytes.Clone(list[0][:28]); b[9], b[3] = 1, 28; return b }(), []int{2, 1, 2}},
		"an ACK":                {func() []byte { x := tcpSpec(false); x.payload = nil; return x.packet() }(), []int{2, 1, 2}},
		"cut before the length": {list[2][:100], []int{2, 1, 2}},
		"one byte":              {[]byte{0x45}, []int{1, 4}},
		"nothing":               {nil, []int{1, 4}},
	} {
		out := coalesce(t, both, [][]byte{list[0], list[1], tt.p, list[2], list[3]})
		if got := counts(out); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

// sameByFlow compares the packets of each flow, in order.
func sameByFlow(t testing.TB, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	g, w := byFlow(got), byFlow(want)
	for k := range w {
		diff(t, fmt.Sprintf("flow %x", k), g[k], w[k])
	}
}

// byFlow sorts packets by flow. A packet whose ports cannot be seen is in all flows between its addresses.
func byFlow(list [][]byte) map[[2]string][][]byte {
	m := map[[2]string][][]byte{}
	names := make([][2]string, len(list))
	for i, p := range list {
		names[i] = flowOf(p)
		m[names[i]] = nil
	}
	for i, p := range list {
		for k := range m {
			if k == names[i] || k[0] == names[i][0] && names[i][1] == "" {
				m[k] = append(m[k], p)
			}
		}
	}
	return m
}

// flowOf is a packet's addresses, and its protocol and ports if it is to be seen that they are TCP's or UDP's.
func flowOf(p []byte) [2]string {
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		f := [2]string{string(p[12:20])}
		whole := p[0] == 0x45 && p[6]&^0x40 == 0 && p[7] == 0 && int(binary.BigEndian.Uint16(p[2:])) == len(p)
		if whole && (p[9] == 6 && len(p) >= 40 || p[9] == 17 && len(p) >= 28) {
			f[1] = string(p[20:24]) + string(p[9:10])
		}
		return f
	case len(p) >= 40 && p[0]>>4 == 6:
		f := [2]string{string(p[8:40])}
		whole := int(binary.BigEndian.Uint16(p[4:])) == len(p)-40
		if whole && (p[6] == 6 && len(p) >= 60 || p[6] == 17 && len(p) >= 48) {
			f[1] = string(p[40:44]) + string(p[6:7])
		}
		return f
	}
	return [2]string{"no IP", "packet"}
}

// TestCoalescerAgainstSplitter: random mixtures of flows with random faults.
func TestCoalescerAgainstSplitter(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		list := mixture(r, 1+r.IntN(60))
		sameByFlow(t, resplit(t, coalesce(t, both, list)), list)
	}
}

// mixture is n packets of few flows, most of them as they follow each other in a stream.
func mixture(r *rand.Rand, n int) (list [][]byte) {
	var flows []spec
	for range 1 + r.IntN(4) {
		x := randomSpec(r, 300)
		x.ipOptions, x.extension, x.flags, x.host = nil, nil, tcpACK, uint8(r.IntN(2))
		x.payload = append(x.payload, 1)
		flows = append(flows, x)
	}
	for range n {
		x := &flows[r.IntN(len(flows))]
		y := *x
		switch r.IntN(12) {
		case 0:
			y.flags |= 1 << r.IntN(8)
		case 1:
			y.payload = y.payload[:r.IntN(len(y.payload))]
		case 2:
			x.ack++
		case 3:
			y.tos ^= 1
		}
		p := y.packet()
		if r.IntN(15) == 0 {
			p[r.IntN(len(p))] ^= 1 << r.IntN(8)
		}
		list = append(list, p)
		x.seq += uint32(len(y.payload))
		x.id++
	}
	return list
}

func TestCoalescerAllocates(t *testing.T) {
	var list [][]byte
	for i := range 40 {
		x := tcpSpec(i%2 == 0)
		x.sport = uint16(i % 4)
		list = append(list, packets(stream(x, 20, 700))...)
	}
	work := make([][]byte, len(list))
	for i, p := range list {
		work[i] = bytes.Clone(p)
	}
	emits := 0
	c := NewCoalescer(both, func([][]byte, int) { emits++ })
	if n := testing.AllocsPerRun(50, func() {
		for i := range list {
			copy(work[i], list[i])
			c.Add(work[i])
		}
		c.Flush()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if emits == 0 {
		t.Error("nothing was emitted")
	}
}

// FuzzCoalescer: packets, each behind its length, come out as they went in, flow by flow.
func FuzzCoalescer(f *testing.F) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 20 {
		var b []byte
		for _, p := range mixture(r, 6) {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<14 {
			return // byFlow is slow
		}
		var list [][]byte
		for len(b) >= 2 {
			n := min(int(binary.BigEndian.Uint16(b)), len(b)-2)
			if n > 0 { // the Splitter takes no empty packet back
				list = append(list, b[2:2+n])
			}
			b = b[2+n:]
		}
		sameByFlow(t, resplit(t, coalesce(t, both, list)), list)
	})
}

func BenchmarkCoalesce(b *testing.B) {
	for _, bb := range []struct {
		name  string
		x     spec
		flows int
		size  int
	}{
		{"TCP4-1400", tcpSpec(false), 1, 1400},
		{"TCP6-1400", tcpSpec(true), 1, 1400},
		{"TCP4-1400-8flows", tcpSpec(false), 8, 1400},
		{"UDP4-64", spec{udp: true}, 1, 64},
	} {
		b.Run(bb.name, func(b *testing.B) {
			var list [][]byte
			var streams [][]spec
			for i := range bb.flows {
				x := bb.x
				x.sport += uint16(i)
				streams = append(streams, stream(x, 44, bb.size))
			}
			for i := range 44 {
				for _, s := range streams {
					list = append(list, s[i].packet())
				}
			}
			var firsts [][]byte // what the Coalescer writes to
			for _, p := range list[:bb.flows] {
				firsts = append(firsts, bytes.Clone(p[:60]))
			}
			n := 0
			c := NewCoalescer(both, func(_ [][]byte, packets int) { n += packets })
			calls := 0
			for b.Loop() {
				for i, p := range firsts {
					copy(list[i], p)
				}
				for _, p := range list {
					c.Add(p)
				}
				c.Flush()
				calls += len(list)
			}
			if n != calls {
				b.Fatalf("%d of %d packets", n, calls)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/segment")
			b.ReportMetric(0, "ns/op")
		})
	}
}
