package esp

import (
	"fmt"
	"testing"
)

func TestSealOpenDoNotAllocate(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		inner, nextHeader := innerPacket(t, 4, 1400)
		buf := make([]byte, 2048)
		run := func() error {
			payload := buf[64+s.HeaderLen():][:len(inner)]
			copy(payload, inner)
			packet, err := s.SealTFC(buf[:64], payload, nextHeader, 10)
			if err != nil {
				return err
			}
			_, err = o.Open(packet[64:])
			return err
		}
		if n := testing.AllocsPerRun(1000, func() {
			if err := run(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations per packet sealed and opened", n)
		}
		junk := make([]byte, 100)
		copy(junk, buf[64:])
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := o.Open(junk); err == nil {
				t.Fatal("junk was opened")
			}
		}); n != 0 {
			t.Errorf("%v allocations per packet dropped", n)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Sealer, _ *Opener, inner []byte) {
		buf := make([]byte, 64+s.SealedLen(len(inner)))
		payload := buf[64+s.HeaderLen():][:len(inner)]
		for b.Loop() {
			if _, err := s.Seal(buf[:64], payload, NextHeaderIPv4); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSealOpen opens each packet it seals, for an Opener takes a packet only once:
// subtract BenchmarkSeal.
func BenchmarkSealOpen(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Sealer, o *Opener, inner []byte) {
		buf := make([]byte, 64+s.SealedLen(len(inner)))
		copy(buf[64+s.HeaderLen():], inner)
		for b.Loop() {
			payload := buf[64+s.HeaderLen():][:len(inner)]
			packet, err := s.Seal(buf[:64], payload, NextHeaderIPv4)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := o.Open(packet[64:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchmark(b *testing.B, run func(b *testing.B, s *Sealer, o *Opener, inner []byte)) {
	for _, name := range []string{
		"aes128gcm16", "aes256gcm16", "chacha20poly1305", "aes128gcm8", "aes128ccm16", "aes128gmac",
		"aes128-sha256", "aes256-sha512", "aes128ctr-sha256", "null-sha256", "aes128-blake2s128",
	} {
		for _, n := range []int{64, 1400} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s, o := newPair(b, testConfig(parseSuite(b, name), true))
				inner, _ := innerPacket(b, 4, n)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				run(b, s, o, inner)
			})
		}
	}
}
