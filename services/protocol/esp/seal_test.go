package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"sallyport.dev/sallyport/services/protocol/transform"
)

func TestSealHeader(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, _ := newPair(t, c)
		inner, nextHeader := innerPacket(t, 4, 60)
		for seq := uint64(1); seq < 4; seq++ {
			p := mustSeal(t, s, inner, nextHeader)
			spi, low := binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])
			if spi != c.SPI || uint64(low) != seq || s.Seq() != seq || s.HeaderLen() != 8+c.Encryption.IVLen {
				t.Errorf("packet %d: SPI %#x, sequence number %d, Seq() %d", seq, spi, low, s.Seq())
			}
			if iv := p[8:s.HeaderLen()]; len(iv) == 8 && !c.Encryption.UnpredictableIV() && binary.BigEndian.Uint64(iv) != seq {
				t.Errorf("packet %d: IV %x", seq, iv)
			}
		}
	})
}

// A payload in its place, elsewhere, or overlapping its place gives the same packet.
func TestSealOverlap(t *testing.T) {
	c := testConfig(parseSuite(t, "aes128gcm16"), true)
	inner, nextHeader := innerPacket(t, 4, 100)
	const off = 64
	s, _ := newPair(t, c)
	want := mustSeal(t, s, inner, nextHeader)
	for at := 0; at < 256; at++ {
		s, _ := newPair(t, c)
		buf := make([]byte, 512)
		copy(buf[at:], inner)
		got, err := s.Seal(buf[:off], buf[at:at+len(inner)], nextHeader)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[off:], want) || &got[0] != &buf[0] {
			t.Fatalf("payload at %d: sealed %x, want %x", at, got[off:], want)
		}
	}
}

// A payload with room behind it gives the same packet, and what lies behind the room stays. Without room it is copied.
func TestSealTail(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		for n := 0; n < 70; n++ {
			payload := bytes.Repeat([]byte{byte(n)}, n)
			plain, _ := newPair(t, c)
			want := mustSeal(t, plain, payload, NextHeaderDummy)
			for room := range MaxTrailer + 2 {
				memory := bytes.Repeat([]byte{0xee}, n+room+8)
				copy(memory, payload)
				s, _ := newPair(t, c)
				got, err := s.SealTail(make([]byte, 3, 200), memory[:n:n+room], NextHeaderDummy)
				if err != nil || !bytes.Equal(got[3:], want) || s.Seq() != 1 {
					t.Fatalf("%d bytes, %d behind: %v\n%x, want\n%x", n, room, err, got, want)
				}
				if !bytes.Equal(memory[:n], payload) || bytes.Count(memory[n:], []byte{0xee}) < 8+room-MaxTrailer {
					t.Errorf("%d bytes, %d behind: the memory is %x", n, room, memory)
				}
			}
			if got, err := plain.SealTail(make([]byte, 3, 3+len(want)-1), make([]byte, n, n+MaxTrailer), 59); err != ErrNoSpace || len(got) != 3 || plain.Seq() != 1 {
				t.Errorf("without space: %d, %v", len(got), err)
			}
		}
	})
}

func TestSealAppends(t *testing.T) {
	s, o := newPair(t, testConfig(parseSuite(t, "chacha20poly1305"), false))
	inner, nextHeader := innerPacket(t, 6, 77)
	dst := make([]byte, 0, 4096)
	dst = append(dst, "prefix"...)
	var err error
	for range 3 {
		if dst, err = s.Seal(dst, inner, nextHeader); err != nil {
			t.Fatal(err)
		}
	}
	if string(dst[:6]) != "prefix" {
		t.Errorf("the prefix has become %q", dst[:6])
	}
	for p := dst[6:]; len(p) > 0; p = p[s.SealedLen(77):] {
		if got, err := o.Open(p[:s.SealedLen(77)]); err != nil || !bytes.Equal(got.Payload, inner) {
			t.Errorf("packet %d: %v", o.Top(), err)
		}
	}
	if o.Top() != 3 {
		t.Errorf("%d packets opened, want 3", o.Top())
	}
}

func TestSealNoSpace(t *testing.T) {
	s, _ := newPair(t, testConfig(parseSuite(t, "aes128gcm16"), false))
	inner, nextHeader := innerPacket(t, 4, 50)
	for space := 0; space < s.SealedLen(50); space++ {
		buf := bytes.Repeat([]byte{0xaa}, space+8)
		got, err := s.Seal(buf[:8:8+space], inner, nextHeader)
		if err != ErrNoSpace || len(got) != 8 {
			t.Fatalf("%d bytes of space: %v, length %d", space, err, len(got))
		}
		if bytes.Count(buf, []byte{0xaa}) != len(buf) {
			t.Fatalf("%d bytes of space: the buffer was written to", space)
		}
	}
	if s.Seq() != 0 {
		t.Errorf("refused packets have used %d sequence numbers", s.Seq())
	}
}

// The last number is used, the next one refused for ever; nothing wraps.
func TestSealSequenceExhausted(t *testing.T) {
	for _, tt := range []struct {
		esn  bool
		last uint64
	}{{false, math.MaxUint32}, {true, math.MaxInt64}} {
		c := testConfig(parseSuite(t, "aes128gcm16"), tt.esn)
		s := newSealerAt(t, c, tt.last-1)
		o, err := NewOpener(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.window.Accept(tt.last - 2); err != nil {
			t.Fatal(err)
		}
		inner, nextHeader := innerPacket(t, 4, 40)
		if s.Remaining() != 1 {
			t.Errorf("ESN %v: %d packets remain, want 1", tt.esn, s.Remaining())
		}
		if got, err := o.Open(mustSeal(t, s, inner, nextHeader)); err != nil || got.Seq != tt.last {
			t.Errorf("ESN %v: last packet: seq %#x, %v", tt.esn, got.Seq, err)
		}
		buf := bytes.Repeat([]byte{0xaa}, 256)
		for range 3 {
			if got, err := s.Seal(buf[:0], inner, nextHeader); err != ErrSequenceExhausted || len(got) != 0 {
				t.Errorf("ESN %v: past the end: %v, %d bytes", tt.esn, err, len(got))
			}
		}
		if s.Seq() != tt.last || s.Remaining() != 0 || bytes.Count(buf, []byte{0xaa}) != len(buf) {
			t.Errorf("ESN %v: past the end: Seq %#x, %d remain, or the buffer was written to", tt.esn, s.Seq(), s.Remaining())
		}
	}
}

// Sealer and Opener stay in step over the 2^32 boundary; without ESN's high half in the
// AAD they would not.
func TestESNCrossesBoundary(t *testing.T) {
	for _, suite := range allSuites() {
		c := testConfig(suite, true)
		s := newSealerAt(t, c, 1<<32-5)
		o, err := NewOpener(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.window.Accept(1<<32 - 5); err != nil {
			t.Fatal(err)
		}
		inner, nextHeader := innerPacket(t, 4, 64)
		for seq := uint64(1<<32 - 4); seq < 1<<32+5; seq++ {
			p := mustSeal(t, s, inner, nextHeader)
			if got, err := o.Open(p); err != nil || got.Seq != seq {
				t.Errorf("%s: packet %#x: seq %#x, %v", suite, seq, got.Seq, err)
			}
		}
	}
}

func TestTFCPadding(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		for _, version := range []int{4, 6} {
			inner, nextHeader := innerPacket(t, version, 90)
			for _, tfc := range []int{0, 1, 2, 3, 255, 256, 1000} {
				p, err := s.SealTFC(make([]byte, 0, 2048), inner, nextHeader, tfc)
				if err != nil {
					t.Fatal(err)
				}
				if len(p) != s.SealedLen(90+tfc) {
					t.Errorf("%d bytes of TFC padding: packet of %d, want %d", tfc, len(p), s.SealedLen(90+tfc))
				}
				got, err := o.Open(p)
				if err != nil || !bytes.Equal(got.Payload, inner) || cap(got.Payload) != len(inner) {
					t.Errorf("IPv%d, %d bytes of TFC padding: %v, payload of %d", version, tfc, err, len(got.Payload))
				}
			}
		}
		if _, err := s.SealTFC(make([]byte, 0, 128), nil, NextHeaderDummy, math.MaxInt); err != ErrNoSpace {
			t.Errorf("TFC padding of the largest int: %v", err)
		}
		if p, err := s.SealTFC(make([]byte, 0, 128), nil, NextHeaderDummy, -1); err != nil || len(p) != s.SealedLen(0) {
			t.Errorf("negative TFC padding: %d bytes, %v", len(p), err)
		}
	})
}

func TestDummy(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		for _, n := range []int{0, 1, 20, 333} {
			got, err := o.Open(mustSeal(t, s, make([]byte, n), NextHeaderDummy))
			if err != nil || got.NextHeader != NextHeaderDummy || len(got.Payload) != n {
				t.Errorf("dummy of %d bytes: %v, next header %d, %d bytes", n, err, got.NextHeader, len(got.Payload))
			}
		}
	})
}

// MaxPayload is the inverse of SealedLen, and Overhead an upper bound that is met.
func TestLengths(t *testing.T) {
	for name, overhead := range map[string]int{
		"aes128gcm16": 8 + 8 + 3 + 2 + 16, "aes256ccm8": 8 + 8 + 3 + 2 + 8, "aes128gmac": 8 + 8 + 3 + 2 + 16,
		"aes128-sha1": 8 + 16 + 15 + 2 + 12, "aes256-sha512": 8 + 16 + 15 + 2 + 32, "3des-sha256": 8 + 8 + 7 + 2 + 16,
		"aes192ctr-sha384": 8 + 8 + 3 + 2 + 24, "null-sha256": 8 + 3 + 2 + 16, "null-blake2s128": 8 + 3 + 2 + 16,
	} {
		s, _ := newPair(t, testConfig(parseSuite(t, name), false))
		worst := 0
		for space := range 2000 {
			n := s.MaxPayload(space)
			if n < 0 {
				if s.SealedLen(0) <= space {
					t.Errorf("%s: %d bytes hold an empty payload, MaxPayload says none", name, space)
				}
				continue
			}
			if s.SealedLen(n) > space || s.SealedLen(n+1) <= space {
				t.Errorf("%s: %d bytes: MaxPayload %d seals to %d, one more to %d", name, space, n, s.SealedLen(n), s.SealedLen(n+1))
			}
			for more := range 17 {
				worst = max(worst, s.SealedLen(n+more)-n-more)
			}
		}
		if s.Overhead() != worst || s.Overhead() != overhead || s.MaxPayload(-5) != -1 {
			t.Errorf("%s: Overhead is %d, the worst seen %d, want %d", name, s.Overhead(), worst, overhead)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	good, sha256, null := testConfig(parseSuite(t, "aes128gcm16"), false), parseSuite(t, "aes128-sha256"), parseSuite(t, "null-sha256")
	for name, tt := range map[string]struct {
		change func(*Config)
		want   error
	}{
		"SPI 0":           {func(c *Config) { c.SPI = 0 }, ErrReservedSPI},
		"SPI 255":         {func(c *Config) { c.SPI = 255 }, ErrReservedSPI},
		"short key":       {func(c *Config) { c.Keymat = c.Keymat[:19] }, transform.ErrKeyLength},
		"long key":        {func(c *Config) { c.Keymat = append(c.Keymat, 0) }, transform.ErrKeyLength},
		"no key":          {func(c *Config) { c.Keymat = nil }, transform.ErrKeyLength},
		"no encryption":   {func(c *Config) { c.Encryption = transform.Encryption{}; c.Keymat = nil }, transform.ErrUnknown},
		"foreign lengths": {func(c *Config) { c.Encryption.ICVLen = 12 }, transform.ErrUnknown},
		"two integrities": {func(c *Config) { c.Integrity = sha256.Integrity }, transform.ErrTwoIntegrities},
		"no integrity":    {func(c *Config) { c.Encryption = sha256.Encryption; c.Keymat = c.Keymat[:16] }, transform.ErrNoIntegrity},
		"nothing at all":  {func(c *Config) { c.Encryption = null.Encryption; c.Keymat = nil }, transform.ErrNoIntegrity},
		"no integrity key": {func(c *Config) {
			c.Encryption, c.Integrity, c.Keymat = sha256.Encryption, sha256.Integrity, c.Keymat[:16]
		}, transform.ErrKeyLength},
		"foreign integrity": {func(c *Config) {
			c.Encryption, c.Integrity = sha256.Encryption, transform.Integrity{ID: 12, ICVLen: 1}
		}, transform.ErrUnknown},
	} {
		c := good
		tt.change(&c)
		if _, err := NewSealer(c); !errors.Is(err, tt.want) {
			t.Errorf("%s: NewSealer: %v, want %v", name, err, tt.want)
		}
		if _, err := NewOpener(c); !errors.Is(err, tt.want) {
			t.Errorf("%s: NewOpener: %v, want %v", name, err, tt.want)
		}
	}
	c := good
	c.SPI = MinSPI
	if _, err := NewSealer(c); err != nil {
		t.Errorf("SPI 256: %v", err)
	}
}

// The caller may clear the key material as soon as the SA is made.
func TestKeymatIsCopied(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, _ := newPair(t, c)
		c.Keymat = bytes.Clone(c.Keymat)
		_, o := newPair(t, c)
		clear(c.Keymat)
		inner, nextHeader := innerPacket(t, 4, 40)
		if _, err := o.Open(mustSeal(t, s, inner, nextHeader)); err != nil {
			t.Error(err)
		}
	})
}
