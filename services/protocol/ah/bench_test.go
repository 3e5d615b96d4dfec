package ah

import (
	"bytes"
	"fmt"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

func TestSealOpenDoNotAllocate(t *testing.T) {
	many := bytes.Repeat([]byte{9}, 127)
	forEachIntegrity(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		for name, make := range map[string]func() ([]byte, int){
			"v4":          func() ([]byte, int) { return makeIPv4("", s.HeaderLen(4), bytes.Repeat([]byte{7}, 1400)) },
			"v4, options": func() ([]byte, int) { return makeIPv4("\x94\x04\x00\x00\x07\x04\x04\x00", s.HeaderLen(4), nil) },
			"v6": func() ([]byte, int) {
				return makeIPv6([]header{hopByHop("\x3e\x04\x01\x02\x03\x04")}, s.HeaderLen(6), bytes.Repeat([]byte{7}, 1400))
			},
			"v6, long": func() ([]byte, int) { return makeIPv6([]header{routing(0, 0, many...)}, s.HeaderLen(6), nil) },
		} {
			p, at := make()
			run := func() {
				if err := s.Seal(p, at, ipwire.ProtoUDP); err != nil {
					t.Fatal(err)
				}
				if _, err := o.Open(p, at); err != nil {
					t.Fatal(err)
				}
			}
			run()
			if n := testing.AllocsPerRun(100, run); n != 0 {
				t.Errorf("%s: %v allocations per packet sealed and opened", name, n)
			}
			p[len(p)-1] ^= 1
			p[at+11]++
			if n := testing.AllocsPerRun(100, func() {
				if _, err := o.Open(p, at); err != ErrICV {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s: %v allocations per packet dropped", name, n)
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Sealer, _ *Opener, packet []byte, at int) {
		for b.Loop() {
			if err := s.Seal(packet, at, ipwire.ProtoUDP); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSealOpen opens each packet it seals, for an Opener takes a packet only once:
// subtract BenchmarkSeal.
func BenchmarkSealOpen(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Sealer, o *Opener, packet []byte, at int) {
		for b.Loop() {
			if err := s.Seal(packet, at, ipwire.ProtoUDP); err != nil {
				b.Fatal(err)
			}
			if _, err := o.Open(packet, at); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchmark(b *testing.B, run func(b *testing.B, s *Sealer, o *Opener, packet []byte, at int)) {
	for _, name := range []string{"sha256", "sha512", "sha1", "aesxcbc", "aescmac", "blake2s128", "aes128gmac", "aes256gmac"} {
		for _, n := range []int{64, 1400} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, o := newPair(b, testConfig(integrity(b, name), true))
				packet, at := makeIPv4("", s.HeaderLen(4), make([]byte, n))
				b.SetBytes(int64(n))
				b.ReportAllocs()
				run(b, s, o, packet, at)
			})
		}
	}
}
