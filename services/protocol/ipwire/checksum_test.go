package ipwire

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// slowSum is RFC 1071 section 4.1 word for word.
func slowSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

func TestSum(t *testing.T) {
	if got := Sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != 0xddf2 { // RFC 1071 section 3
		t.Errorf("the sum of RFC 1071's example is %#x, want 0xddf2", got)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		for _, fill := range []func() byte{
			func() byte { return byte(random.Uint32()) },
			func() byte { return 0xff },
			func() byte { return 0 },
		} {
			b := make([]byte, n)
			for i := range b {
				b[i] = fill()
			}
			want := slowSum(b)
			if got := Sum(b); got != want {
				t.Fatalf("Sum(%x) = %#x, want %#x", b, got, want)
			}
			cut := 0
			if n > 0 {
				cut = random.IntN(n)
			}
			if got := JoinSums(Sum(b[:cut]), cut, Sum(b[cut:])); got != want {
				t.Fatalf("JoinSums of %x at %d = %#x, want %#x", b, cut, got, want)
			}
		}
	}
}

func TestUpdateChecksum(t *testing.T) {
	if got := UpdateChecksum(0xdd2f, 0x5555, 0x3285); got != 0x0000 { // RFC 1624 section 4
		t.Errorf("RFC 1624's example gives %#x, want 0", got)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		b := make([]byte, 40)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		before, at, old := ^Sum(b), 2*random.IntN(20), uint16(0)
		old = binary.BigEndian.Uint16(b[at:])
		binary.BigEndian.PutUint16(b[at:], uint16(random.Uint32()))
		if got, want := UpdateChecksum(before, old, binary.BigEndian.Uint16(b[at:])), ^Sum(b); got != want {
			t.Fatalf("updated checksum %#x, want %#x", got, want)
		}
	}
}

func TestPseudoHeader(t *testing.T) {
	src, dst := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.255.254.253")
	want := slowSum([]byte{10, 1, 2, 3, 10, 255, 254, 253, 0, 17, 0x12, 0x34})
	if got := PseudoHeader(src, dst, ProtoUDP, 0x1234); got != want {
		t.Errorf("IPv4: %#x, want %#x", got, want)
	}
	src, dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::ffff:2")
	b := append(src.AsSlice(), dst.AsSlice()...)
	want = slowSum(append(b, 0, 1, 0x12, 0x34, 0, 0, 0, 58))
	if got := PseudoHeader(src, dst, ProtoICMPv6, 0x11234); got != want {
		t.Errorf("IPv6: %#x, want %#x", got, want)
	}
}

func BenchmarkSum1400(b *testing.B) {
	p := make([]byte, 1400)
	b.SetBytes(1400)
	var sum uint16
	for b.Loop() {
		sum += Sum(p)
	}
	_ = sum
}
