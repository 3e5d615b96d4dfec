package datapath

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/aesgcm"
	"sallyport.dev/sallyport/services/protocol/esp"
)

// The pipeline in memory, one core, no system calls: what a packet costs between two devices that do nothing. Each
// direction has benchmarks of its own; an operation is a packet.
func BenchmarkPipelineOut64(b *testing.B)   { benchmarkOut(b, newMany(b, 1), 64) }
func BenchmarkPipelineIn64(b *testing.B)    { benchmarkIn(b, newMany(b, 1), 64) }
func BenchmarkPipelineOut1400(b *testing.B) { benchmarkOut(b, newMany(b, 1), 1400) }
func BenchmarkPipelineIn1400(b *testing.B)  { benchmarkIn(b, newMany(b, 1), 1400) }

// The same with more SAs than carry traffic: ten do.
func BenchmarkPipelineOut10SAs(b *testing.B)    { benchmarkOut(b, newMany(b, 10), 64) }
func BenchmarkPipelineOut10000SAs(b *testing.B) { benchmarkOut(b, newMany(b, 10000), 64) }
func BenchmarkPipelineIn10SAs(b *testing.B)     { benchmarkIn(b, newMany(b, 10), 64) }
func BenchmarkPipelineIn10000SAs(b *testing.B)  { benchmarkIn(b, newMany(b, 10000), 64) }

// BenchmarkRawSeal1400 and BenchmarkRawOpen1400 are AES-128-GCM alone, as the standard library has it; with Own, as the
// pipeline has it.
func BenchmarkRawSeal1400(b *testing.B) { benchmarkSeal(b, libraryGCM) }
func BenchmarkRawOpen1400(b *testing.B) { benchmarkOpen(b, libraryGCM) }
func BenchmarkOwnSeal1400(b *testing.B) { benchmarkSeal(b, aesgcm.New) }
func BenchmarkOwnOpen1400(b *testing.B) { benchmarkOpen(b, aesgcm.New) }

func benchmarkSeal(b *testing.B, cipher func(key []byte) (cipher.AEAD, error)) {
	aead, packet, nonce := rawGCM(b, cipher)
	for b.Loop() {
		aead.Seal(packet[:0], nonce, packet[:1400], nonce)
	}
}

func benchmarkOpen(b *testing.B, cipher func(key []byte) (cipher.AEAD, error)) {
	aead, packet, nonce := rawGCM(b, cipher)
	sealed, space := aead.Seal(nil, nonce, packet[:1400], nonce), make([]byte, 1400)
	for b.Loop() {
		if _, err := aead.Open(space[:0], nonce, sealed, nonce); err != nil {
			b.Fatal(err)
		}
	}
}

func libraryGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func rawGCM(b *testing.B, cipher func(key []byte) (cipher.AEAD, error)) (aead cipher.AEAD, packet, nonce []byte) {
	aead, err := cipher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	return aead, make([]byte, 1400, 1416), make([]byte, 12)
}

// BenchmarkSAMemory is the heap that each of 20,000 SAs takes, and that each of their 10,000 pairs takes with its path and
// its SPD entry.
func BenchmarkSAMemory(b *testing.B) {
	const pairs = 10000
	for b.Loop() {
		start := heap()
		m, sas := newPairs(b, pairs)
		paired := heap()
		m.install(b, sas)
		b.ReportMetric(float64(paired-start)/pairs, "B/pair")
		b.ReportMetric(float64(heap()-paired)/(2*pairs), "B/SA")
		runtime.KeepAlive(m)
	}
}

// heap is what is in use, bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// many is a datapath with pairs to many hosts, an SA each way in each.
type many struct {
	*Datapath
	tun  *nullTUN
	conn *nullConn
	sas  []SA // those that carry traffic
}

func (m *many) host(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)})
}

func newMany(b *testing.B, n int) *many {
	b.Helper()
	m, sas := newPairs(b, n)
	m.install(b, sas)
	return m
}

// newPairs makes the pairs, and their SAs for install.
func newPairs(b *testing.B, n int) (*many, []SA) {
	b.Helper()
	m := &many{tun: new(nullTUN), conn: new(nullConn)}
	var err error
	m.Datapath, err = New(Config{TUN: m.tun, UDP: Sockets{IPv4: m.conn}, Clock: func() time.Duration { return time.Hour }})
	if err != nil {
		b.Fatal(err)
	}
	local := []Selector{PrefixSelector(netip.MustParsePrefix("10.9.0.1/32"))}
	var pairs []Pair
	var sas []SA
	for i := range n {
		var id [16]byte
		binary.BigEndian.PutUint32(id[:], uint32(i+1))
		remote := []Selector{PrefixSelector(netip.PrefixFrom(m.host(i), 32))}
		pairs = append(pairs, Pair{ID: id, RemoteHost: m.host(i).String(), Local: local, Remote: remote, Path: PathSpec{Remote: bAddr}})
		sa := half(1, 1)
		sa.ID, sa.Pair, sa.SPI = id, id, 0x10000+uint32(i)
		sas = append(sas, sa)
	}
	if err := m.SetPairs(pairs...); err != nil {
		b.Fatal(err)
	}
	m.sas = slices.Clone(sas[:min(10, n)])
	return m, sas
}

// install installs each SA both ways.
func (m *many) install(b *testing.B, sas []SA) {
	b.Helper()
	for _, sa := range sas {
		if err := errors.Join(m.InstallInbound(sa), m.InstallOutbound(sa)); err != nil {
			b.Fatal(err)
		}
	}
}

const chunk = 512

// benchmarkOut takes packets from the TUN to the socket.
func benchmarkOut(b *testing.B, m *many, size int) {
	s := newSender(m.Datapath)
	var packets [][]byte
	for i := range chunk {
		packets = append(packets, inner("10.9.0.1", m.host(i%len(m.sas)).String(), size-28))
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	for done := 0; done < b.N; done += chunk {
		m.tun.queue = packets[:min(chunk, b.N-done)]
		for len(m.tun.queue) > 0 {
			n, _ := s.read(true)
			s.forward(n)
		}
	}
	b.StopTimer()
	if m.conn.datagrams < b.N {
		b.Fatalf("%d datagrams of %d packets", m.conn.datagrams, b.N)
	}
}

// benchmarkIn takes packets from the socket to the TUN. What is opened is gone, so that it is sealed anew, while no time
// is counted.
func benchmarkIn(b *testing.B, m *many, size int) {
	r := newReceiver(m.Datapath, linkUDP, m.conn)
	flows := len(m.sas)
	var sealers []*esp.Sealer
	var packets [][]byte
	for i := range flows {
		sealers = append(sealers, sealer(b, m.sas[i]))
		packets = append(packets, inner(m.host(i).String(), "10.9.0.1", size-28))
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	memory := make([]byte, chunk*sealers[0].SealedLen(size))
	b.ResetTimer()
	for done := 0; done < b.N; done += chunk {
		b.StopTimer()
		sealed := memory[:0]
		for i := range chunk {
			var err error
			if sealed, err = sealers[i%flows].Seal(sealed, packets[i%flows], esp.NextHeaderIPv4); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		for run := range slices.Chunk(sealed, len(sealed)/4) { // as four messages of 128 datagrams
			p := &r.packets[0]
			p.Data, p.Segment, p.Remote, p.Local = run, len(sealed)/chunk, bAddr, aAddr.Addr()
			r.deliver(1)
		}
	}
	b.StopTimer()
	if c := m.Counters(); m.tun.packets < b.N || c.InPackets != uint64(m.tun.packets) {
		b.Fatalf("%d of %d packets delivered: %+v", m.tun.packets, b.N, c)
	}
}
