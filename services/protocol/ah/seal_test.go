package ah

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/replay"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// RFC 4302 section 2.2 and, for AES-GMAC over IPv6, erratum 3643 of RFC 4543.
func TestHeaderLen(t *testing.T) {
	for name, want := range map[string][3]int{ // over IPv4, IPv4 with Align8, IPv6
		"sha1": {24, 24, 24}, "aescmac": {24, 24, 24}, "aesxcbc": {24, 24, 24},
		"sha256": {28, 32, 32}, "blake2s128": {28, 32, 32}, "sha384": {36, 40, 40}, "sha512": {44, 48, 48},
		"aes128gmac": {36, 40, 40}, "aes192gmac": {36, 40, 40}, "aes256gmac": {36, 40, 40},
	} {
		c := testConfig(integrity(t, name), false)
		s, o := newPair(t, c)
		c.Align8 = true
		s8, o8 := newPair(t, c)
		if got := [3]int{s.HeaderLen(4), s8.HeaderLen(4), s.HeaderLen(6)}; got != want || s8.HeaderLen(6) != want[2] {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		for _, pair := range []struct {
			*Sealer
			*Opener
		}{{s, o8}, {s8, o}} {
			p4, at4 := sealIPv4(t, pair.Sealer, "", []byte("payload"))
			p6, at6 := sealIPv6(t, pair.Sealer, nil, []byte("payload"))
			for version, at := range map[int]int{4: at4, 6: at6} {
				p := map[int][]byte{4: p4, 6: p6}[version]
				n := pair.Sealer.HeaderLen(version)
				if int(p[at+1]) != n/4-2 || len(p) != at+n+7 {
					t.Errorf("%s: IPv%d has length %d", name, version, p[at+1])
				}
				if got, err := pair.Opener.Open(p, at); err != nil || got.HeaderLen != n || string(got.Payload) != "payload" || got.NextHeader != 17 {
					t.Errorf("%s: IPv%d: %+v, %v", name, version, got, err)
				}
			}
		}
	}
}

func TestSealHeader(t *testing.T) {
	forEachIntegrity(t, func(t *testing.T, c Config) {
		c.Sequence = 99
		if c.ESN {
			c.Sequence += 7 << 32
		}
		s, _ := newPair(t, c)
		for i := range 3 {
			p, at := makeIPv6(nil, s.HeaderLen(6), []byte("payload"))
			before := bytes.Clone(p)
			if err := s.Seal(p, at, 59); err != nil {
				t.Fatal(err)
			}
			h, seq := p[at:at+s.HeaderLen(6)], c.Sequence+uint64(i)+1
			want := []byte{59, byte(len(h)/4 - 2), 0, 0, 0xc0, 0xff, 0xee, 0x02, 0, 0, 0, byte(seq)}
			if !bytes.Equal(h[:12], want) || s.Seq() != seq || s.SPI() != testSPI {
				t.Errorf("header %x, Seq() %d", h[:12], s.Seq())
			}
			if c.Integrity.IVLen > 0 && binary.BigEndian.Uint64(h[12:]) != seq {
				t.Errorf("IV %x of number %#x", h[12:20], seq)
			}
			if pad := h[12+c.Integrity.AHLen():]; !bytes.Equal(pad, make([]byte, len(pad))) {
				t.Errorf("padding %x", pad)
			}
			copy(before[at:], h)
			if !bytes.Equal(before, p) {
				t.Errorf("sealing has made\n%x of\n%x", p, before)
			}
		}
	})
}

func TestSealErrors(t *testing.T) {
	s, _ := newPair(t, testConfig(integrity(t, "sha256"), false))
	v4 := func(options string, ahLen int, change func([]byte)) ([]byte, int) {
		p, at := makeIPv4(options, ahLen, nil)
		change(p)
		return p, at
	}
	v6 := func(headers ...header) ([]byte, int) { return makeIPv6(headers, 32, nil) }
	same := func([]byte) {}
	check := func(name string, want error) func(packet []byte, at int) {
		return func(packet []byte, at int) {
			t.Helper()
			if err := s.Seal(packet, at, 17); err != want {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
	}
	check("little space", ErrNoSpace)(v4("", 24, same))
	check("little space, IPv6", ErrNoSpace)(makeIPv6(nil, 28, nil))
	check("no space", ErrShort)(v4("", 8, same))
	check("shorter than it says", ErrShort)(v4("", 28, func(p []byte) { p[3]++ }))
	check("longer than it says", ErrNoSpace)(v4("", 32, func(p []byte) { p[3]-- }))
	check("no AH", ErrNoAH)(v4("", 28, func(p []byte) { p[9] = 17 }))
	check("fragment", ErrFragment)(v4("", 28, func(p []byte) { p[6] = 0x20 }))
	check("option too long", ErrHeaders)(v4("\x44\x05\x00\x00", 28, same))
	check("option too short", ErrHeaders)(v4("\x94\x01\x00\x00", 28, same))
	check("option cut", ErrHeaders)(v4("\x01\x01\x01\x94", 28, same))
	check("source route, pointer 3", ErrRouting)(v4("\x83\x07\x03\x01\x02\x03\x04\x00", 28, same))
	check("source route, pointer 5", ErrRouting)(v4("\x83\x0b\x05\x01\x02\x03\x04\x01\x02\x03\x04\x00", 28, same))
	check("source route of 2", ErrRouting)(v4("\x89\x02\x00\x00", 28, same))
	check("source route, odd", ErrRouting)(v4("\x83\x08\x04\x01\x02\x03\x04\x05", 28, same))
	check("routing, type 0, too many left", ErrRouting)(v6(routing(0, 3, 1, 2)))
	check("routing, type 0, half an address", ErrRouting)(v6(header{43, append([]byte{0, 1}, make([]byte, 12)...)}))
	check("routing, type 2, two left", ErrRouting)(v6(routing(2, 2, 1)))
	check("routing, type 2, two addresses", ErrRouting)(v6(routing(2, 1, 1, 2)))
	check("routing, type 4", ErrRouting)(v6(routing(4, 1, 1, 2)))
	check("options, too long", ErrHeaders)(v6(hopByHop("\x1e\x05\x00\x00\x00\x00")))
	check("options, cut", ErrHeaders)(v6(destination("\x00\x00\x00\x00\x00\x1e")))
	check("home address of 4", ErrHeaders)(v6(destination("\xc9\x04\x00\x00\x00\x00")))
	p, at := v4("", 28, same)
	for _, bad := range []int{-1, 0, at - 1, at + 1, at + 4, len(p), len(p) + 1} {
		check(fmt.Sprint("AH at ", bad), ErrNoAH)(p, bad)
	}
	if s.Seq() != 0 {
		t.Errorf("refused packets have used %d sequence numbers", s.Seq())
	}
	check("a good one", nil)(p, at)
	if s.Seq() != 1 {
		t.Errorf("Seq() is %d", s.Seq())
	}
}

// The last number is used, the next one refused for ever; nothing wraps.
func TestSealSequenceExhausted(t *testing.T) {
	for _, tt := range []struct {
		esn  bool
		last uint64
	}{{false, math.MaxUint32}, {true, math.MaxInt64}} {
		c := testConfig(integrity(t, "aes128gmac"), tt.esn)
		c.Sequence = tt.last - 1
		s, o := newPair(t, c)
		if err := o.window.Accept(tt.last - 2); err != nil {
			t.Fatal(err)
		}
		if s.Remaining() != 1 {
			t.Errorf("ESN %v: %d packets remain, want 1", tt.esn, s.Remaining())
		}
		p, at := sealIPv4(t, s, "", nil)
		if got, err := o.Open(p, at); err != nil || got.Seq != tt.last {
			t.Errorf("ESN %v: last packet: %#x, %v", tt.esn, got.Seq, err)
		}
		before := bytes.Clone(p)
		for range 3 {
			if err := s.Seal(p, at, 17); err != ErrSequenceExhausted || !bytes.Equal(p, before) || s.Seq() != tt.last || s.Remaining() != 0 {
				t.Errorf("ESN %v: %v, Seq() %#x", tt.esn, err, s.Seq())
			}
		}
		c.Sequence = tt.last + 1
		if _, err := NewSealer(c); !errors.Is(err, ErrSequenceExhausted) {
			t.Errorf("ESN %v: a Sealer behind the end: %v", tt.esn, err)
		}
		c.Sequence = tt.last
		if s, err := NewSealer(c); err != nil || s.Seal(p, at, 17) != ErrSequenceExhausted {
			t.Errorf("ESN %v: a Sealer at the end: %v", tt.esn, err)
		}
	}
}

func TestSealCeiling(t *testing.T) {
	c := testConfig(integrity(t, "sha1"), false)
	c.Sequence, c.Ceiling = 10, 12
	s, _ := newPair(t, c)
	p, at := makeIPv4("", s.HeaderLen(4), nil)
	expect := func(want error, seq uint64) {
		t.Helper()
		before := bytes.Clone(p)
		if err := s.Seal(p, at, 17); err != want || s.Seq() != seq {
			t.Errorf("%v, Seq() %d, want %v, %d", err, s.Seq(), want, seq)
		}
		if want != nil && !bytes.Equal(p, before) {
			t.Errorf("a refused packet was changed")
		}
	}
	expect(nil, 11)
	expect(nil, 12)
	expect(ErrCeiling, 12)
	s.RaiseCeiling(11) // not lowered
	expect(ErrCeiling, 12)
	s.RaiseCeiling(13)
	if s.Ceiling() != 13 {
		t.Errorf("Ceiling() is %d", s.Ceiling())
	}
	expect(nil, 13)
	expect(ErrCeiling, 13)
	c.Ceiling = 3 // below what was used
	s, _ = newPair(t, c)
	expect(ErrCeiling, 10)
	c.Ceiling = 0
	s, _ = newPair(t, c)
	s.RaiseCeiling(5) // there is none to raise
	if s.Ceiling() != 0 {
		t.Errorf("Ceiling() is %d", s.Ceiling())
	}
	expect(nil, 11)
	c.Sequence, c.Ceiling = math.MaxUint32, math.MaxUint64
	s, _ = newPair(t, c)
	expect(ErrSequenceExhausted, math.MaxUint32)
}

func TestConfigErrors(t *testing.T) {
	good := testConfig(integrity(t, "aes128gmac"), true)
	for name, tt := range map[string]struct {
		change         func(c *Config)
		sealer, opener error
	}{
		"SPI 0":          {func(c *Config) { c.SPI = 0 }, ErrReservedSPI, ErrReservedSPI},
		"SPI 255":        {func(c *Config) { c.SPI = 255 }, ErrReservedSPI, ErrReservedSPI},
		"SPI 256":        {func(c *Config) { c.SPI = 256 }, nil, nil},
		"no integrity":   {func(c *Config) { c.Integrity, c.Keymat = transform.Integrity{}, nil }, transform.ErrUnknown, transform.ErrUnknown},
		"changed row":    {func(c *Config) { c.Integrity.ICVLen = 4 }, transform.ErrUnknown, transform.ErrUnknown},
		"no salt":        {func(c *Config) { c.Keymat = c.Keymat[:16] }, transform.ErrKeyLength, transform.ErrKeyLength},
		"long key":       {func(c *Config) { c.Keymat = append(c.Keymat, 0) }, transform.ErrKeyLength, transform.ErrKeyLength},
		"small window":   {func(c *Config) { c.Window = 1 }, nil, replay.ErrSize},
		"large window":   {func(c *Config) { c.Window = replay.MaxSize + 1 }, nil, replay.ErrSize},
		"no window":      {func(c *Config) { c.Window, c.ESN = replay.Off, false }, nil, nil},
		"ESN, no window": {func(c *Config) { c.Window = replay.Off }, nil, replay.ErrESN},
	} {
		c := good
		tt.change(&c)
		if s, err := NewSealer(c); !errors.Is(err, tt.sealer) || (s == nil) != (err != nil) {
			t.Errorf("%s: NewSealer: %v, want %v", name, err, tt.sealer)
		}
		if o, err := NewOpener(c); !errors.Is(err, tt.opener) || (o == nil) != (err != nil) {
			t.Errorf("%s: NewOpener: %v, want %v", name, err, tt.opener)
		}
	}
}

// The key is copied, and nothing prints it.
func TestKeyIsKept(t *testing.T) {
	forEachIntegrity(t, func(t *testing.T, c Config) {
		given := c
		given.Keymat = bytes.Clone(c.Keymat)
		s, o := newPair(t, given)
		clear(given.Keymat)
		_, same := newPair(t, c)
		p, at := sealIPv4(t, s, "", nil)
		for _, o := range []*Opener{o, same} {
			if _, err := o.Open(p, at); err != nil {
				t.Error(err)
			}
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			got := fmt.Sprintf(verb+" "+verb, s, o)
			if want := "ah.Sealer{spi=0xc0ffee02 seq=1} ah.Opener{spi=0xc0ffee02 top=1}"; got != want {
				t.Errorf("%s: %s", verb, got)
			}
		}
		if s := fmt.Sprintf("%+v", c); strings.Contains(s, fmt.Sprint([]byte(c.Keymat))) {
			t.Errorf("%s shows the key", s)
		}
	})
}
