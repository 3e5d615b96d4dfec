package esp

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

const testSPI = 0x10203040

// testConfig returns a config with a fixed key.
func testConfig(t transform.Suite, esn bool) Config {
	keymat := make(transform.Keymat, t.KeymatLen())
	for i := range keymat {
		keymat[i] = byte(i*7 + 1)
	}
	return Config{SPI: testSPI, Encryption: t.Encryption, Integrity: t.Integrity, Keymat: keymat, ESN: esn}
}

// parseSuite finds every suite that exists.
func parseSuite(t testing.TB, name string) transform.Suite {
	t.Helper()
	s, err := transform.ParseInsecureSuite(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// allSuites are those that exist.
func allSuites() []transform.Suite {
	return append(transform.Suites(), transform.InsecureSuites()...)
}

// innerPacket returns an IPv4 or IPv6 UDP datagram of n bytes and its next header.
func innerPacket(t testing.TB, version, n int) (packet []byte, nextHeader uint8) {
	t.Helper()
	b := make([]byte, n)
	src, dst := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	header, nextHeader := ipwire.IPv4MinHeaderLen, NextHeaderIPv4
	if version == 6 {
		src, dst = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
		header, nextHeader = ipwire.IPv6HeaderLen, NextHeaderIPv6
	}
	for i := header; i < n; i++ {
		b[i] = byte(i)
	}
	if n >= header+ipwire.UDPHeaderLen {
		if _, err := ipwire.PutUDP(b[header:], netip.AddrPortFrom(src, 1000), netip.AddrPortFrom(dst, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if version == 6 {
		_, err = ipwire.PutIPv6(b, ipwire.IPv6Header{NextHeader: ipwire.ProtoUDP, HopLimit: 64, Src: src, Dst: dst})
	} else {
		_, err = ipwire.PutIPv4(b, ipwire.IPv4Header{Protocol: ipwire.ProtoUDP, TTL: 64, Src: src, Dst: dst})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b, nextHeader
}

// forEachSuite runs a test for every suite, with and without ESN.
func forEachSuite(t *testing.T, test func(t *testing.T, c Config)) {
	for _, suite := range allSuites() {
		for _, esn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/esn=%v", suite, esn), func(t *testing.T) { test(t, testConfig(suite, esn)) })
		}
	}
}

func newPair(t testing.TB, c Config) (*Sealer, *Opener) {
	t.Helper()
	s, err := NewSealer(c)
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOpener(c)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

// newSealerAt returns a Sealer that has used sequence number seq.
func newSealerAt(t testing.TB, c Config, seq uint64) *Sealer {
	t.Helper()
	c.Sequence = seq
	s, err := NewSealer(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSeal(t testing.TB, s *Sealer, payload []byte, nextHeader uint8) []byte {
	t.Helper()
	p, err := s.Seal(make([]byte, 0, s.SealedLen(len(payload))), payload, nextHeader)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRoundTrip(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		seq := uint64(0)
		for _, version := range []int{4, 6} {
			for n := 40; n < 120; n++ {
				inner, nextHeader := innerPacket(t, version, n)
				packet := mustSeal(t, s, inner, nextHeader)
				if len(packet) != s.SealedLen(n) || (len(packet)-s.header-s.icv)%max(4, c.Encryption.Block) != 0 {
					t.Fatalf("%d bytes sealed to %d, SealedLen says %d", n, len(packet), s.SealedLen(n))
				}
				seq++
				got, err := o.Open(packet)
				if err != nil {
					t.Fatalf("IPv%d, %d bytes: %v", version, n, err)
				}
				if !bytes.Equal(got.Payload, inner) || got.NextHeader != nextHeader || got.Seq != seq {
					t.Fatalf("IPv%d, %d bytes: got next header %d, seq %d, % x", version, n, got.NextHeader, got.Seq, got.Payload)
				}
			}
		}
	})
}
