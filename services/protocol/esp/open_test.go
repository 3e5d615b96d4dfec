package esp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
)

// sealBody seals a body as given, trailer included, under the next sequence number: what
// a peer that has the key but not our manners could send.
func sealBody(t testing.TB, s *Sealer, body []byte) []byte {
	t.Helper()
	packet := make([]byte, s.header+len(body)+s.icv)
	copy(packet[s.header:], body)
	s.seq++
	s.putHeader(packet)
	if !wholeBlocks(s, body) { // not to be encrypted, but the ICV is good
		separate := s.protection.(*separate)
		separate.authenticate(packet[:len(packet)-s.icv], s.seq)
		separate.mac.AppendICV(packet[:len(packet)-s.icv])
		return packet
	}
	s.protect(packet, s.body(packet), s.seq)
	return packet
}

// wholeBlocks reports whether the SA's cipher can encrypt the body.
func wholeBlocks(s *Sealer, body []byte) bool { return !s.wholeBlocks || len(body)%s.align == 0 }

// untouched fails the test when a dropped packet has moved the window, and when it has
// made the genuine one unacceptable.
func untouched(t *testing.T, o *Opener, genuine []byte) {
	t.Helper()
	if o.Top() != 0 {
		t.Errorf("the window has moved to %d", o.Top())
	}
	if _, err := o.Open(bytes.Clone(genuine)); err != nil {
		t.Errorf("the genuine packet is not accepted any more: %v", err)
	}
}

func TestOpenEveryPrefixFails(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		inner, nextHeader := innerPacket(t, 4, 45)
		genuine := mustSeal(t, s, inner, nextHeader)
		for n := range genuine {
			want := ErrICV
			if n < s.header+trailerLen+s.icv {
				want = ErrShort
			} else if !wholeBlocks(s, genuine[s.header:n-s.icv]) {
				want = ErrAlignment
			}
			if _, err := o.Open(bytes.Clone(genuine[:n])); err != want {
				t.Errorf("%d of %d bytes: %v, want %v", n, len(genuine), err, want)
			}
		}
		want := ErrICV
		if s.wholeBlocks {
			want = ErrAlignment
		}
		if _, err := o.Open(append(bytes.Clone(genuine), 0)); err != want {
			t.Errorf("one byte too many: %v, want %v", err, want)
		}
		if _, err := o.Open(append(bytes.Clone(genuine), make([]byte, 16)...)); err != ErrICV {
			t.Errorf("one block too many: %v", err)
		}
		untouched(t, o, genuine)
	})
}

// Every single flipped bit is found: in the SPI by demultiplexing, elsewhere by the ICV.
func TestOpenEveryBitFlipFails(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		inner, nextHeader := innerPacket(t, 4, 45)
		genuine := mustSeal(t, s, inner, nextHeader)
		for bit := range len(genuine) * 8 {
			p := bytes.Clone(genuine)
			p[bit/8] ^= 1 << (bit % 8)
			_, err := o.Open(p)
			low := binary.BigEndian.Uint32(p[spiLen:])
			switch {
			case bit < 32 && err == ErrSPI:
			case low == 0 && err == ErrReplayed:
			case bit >= 32 && err == ErrICV:
			default:
				t.Errorf("bit %d: %v", bit, err)
			}
		}
		untouched(t, o, genuine)
	})
}

// A forged packet is not decrypted where the ICV covers the ciphertext; the others leave no plaintext behind.
func TestOpenForgedIsNotDecrypted(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		inner, nextHeader := innerPacket(t, 4, 200)
		forged := mustSeal(t, s, inner, nextHeader)
		forged[len(forged)-1] ^= 1
		before := bytes.Clone(forged)
		if _, err := o.Open(forged); err != ErrICV {
			t.Fatal(err)
		}
		if !c.Encryption.AEAD() && !bytes.Equal(forged, before) {
			t.Error("the packet was decrypted before its ICV was verified")
		}
		if c.Encryption.Confidential() && bytes.Contains(forged, inner[100:116]) {
			t.Error("plaintext of a forged packet is left in its buffer")
		}
	})
}

func TestOpenDropsBeforeICV(t *testing.T) {
	c := testConfig(parseSuite(t, "aes128gcm16"), false)
	s, o := newPair(t, c)
	inner, nextHeader := innerPacket(t, 4, 45)
	genuine := mustSeal(t, s, inner, nextHeader)
	for name, tt := range map[string]struct {
		change func([]byte)
		want   error
	}{
		"SPI 0":             {func(p []byte) { clear(p[:4]) }, ErrReservedSPI},
		"SPI 255":           {func(p []byte) { binary.BigEndian.PutUint32(p, 255) }, ErrReservedSPI},
		"SPI of another SA": {func(p []byte) { p[3]++ }, ErrSPI},
		"sequence number 0": {func(p []byte) { clear(p[4:8]) }, ErrReplayed},
	} {
		p := bytes.Clone(genuine)
		tt.change(p)
		if _, err := o.Open(p); err != tt.want {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	untouched(t, o, genuine)
}

// With ESN a packet whose low half belongs before the first packet is late at once, and
// a peer without ESN is not understood.
func TestOpenESN(t *testing.T) {
	c := testConfig(parseSuite(t, "aes128gcm16"), true)
	s, o := newPair(t, c)
	inner, nextHeader := innerPacket(t, 4, 45)
	genuine := mustSeal(t, s, inner, nextHeader)
	p := bytes.Clone(genuine)
	binary.BigEndian.PutUint32(p[spiLen:], 0xffffffff)
	if _, err := o.Open(p); err != ErrLate {
		t.Errorf("packet from before the first: %v, want %v", err, ErrLate)
	}
	plain, _ := newPair(t, testConfig(parseSuite(t, "aes128gcm16"), false))
	if _, err := o.Open(mustSeal(t, plain, inner, nextHeader)); err != ErrICV {
		t.Errorf("packet without ESN: %v, want %v", err, ErrICV)
	}
	untouched(t, o, genuine)
}

func TestOpenReplayAndLate(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		c.Window = 64
		s, o := newPair(t, c)
		inner, nextHeader := innerPacket(t, 4, 45)
		var packets [][]byte
		for range 70 {
			packets = append(packets, mustSeal(t, s, inner, nextHeader))
		}
		open := func(i int, want error) {
			t.Helper()
			if _, err := o.Open(bytes.Clone(packets[i-1])); err != want {
				t.Errorf("packet %d: %v, want %v", i, err, want)
			}
		}
		open(10, nil)
		open(10, ErrReplayed)
		open(9, nil)
		open(70, nil) // the window is now 7 to 70
		if c.ESN {
			open(6, ErrICV) // its low half can only be of the next 2^32, says appendix A2
		} else {
			open(6, ErrLate)
		}
		open(7, nil)
		open(7, ErrReplayed)
		open(9, ErrReplayed)
		open(70, ErrReplayed)
		open(69, nil)
	})
}

// A forged packet far ahead neither moves the window nor blocks its own number.
func TestOpenForgedAheadMovesNothing(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		s, o := newPair(t, c)
		inner, nextHeader := innerPacket(t, 4, 45)
		genuine := mustSeal(t, s, inner, nextHeader)
		for _, low := range []uint32{2, 1025, 1 << 20, 1 << 31, 0xff000000} {
			p := bytes.Clone(genuine)
			binary.BigEndian.PutUint32(p[spiLen:], low)
			if _, err := o.Open(p); err != ErrICV {
				t.Errorf("forged packet %#x: %v", low, err)
			}
		}
		untouched(t, o, genuine)
	})
}

// What an authenticated but broken or hostile peer may put inside. Its sequence number
// is used up: the ICV was right.
func TestOpenDropsAfterICV(t *testing.T) {
	v4, _ := innerPacket(t, 4, 44)
	v6, _ := innerPacket(t, 6, 64)
	with := func(p []byte, at int, v byte) []byte {
		p = bytes.Clone(p)
		p[at] = v
		return p
	}
	trailer := func(p []byte, trailer ...byte) []byte { return append(bytes.Clone(p), trailer...) }
	tests := []struct {
		name string
		body []byte
		want error
	}{
		{"good IPv4", trailer(v4, 1, 2, 2, 4), nil},
		{"good IPv6", trailer(v6, 1, 2, 2, 41), nil},
		{"good IPv4 in whole blocks", trailer(v4, append(longPadding(2), 2, 4)...), nil},
		{"longest padding", trailer(v4, append(longPadding(255), 255, 4)...), nil},
		{"unaligned", trailer(v4, 0, 4), nil},
		{"padding 0 0", trailer(v4, 0, 0, 2, 4), ErrPadding},
		{"padding 2 1", trailer(v4, 2, 1, 2, 4), ErrPadding},
		{"padding 1 2 4", trailer(v4, 1, 2, 4, 3, 4), ErrPadding},
		{"padding longer than the packet", []byte{1, 2, 3, 4, 5, 59}, ErrPadding},
		{"padding longer than an empty packet", []byte{1, 59}, ErrPadding},
		{"next header ICMP", trailer(v4, 1, 2, 2, 1), ErrNextHeader},
		{"next header 0", trailer(v4, 1, 2, 2, 0), ErrNextHeader},
		{"next header 255", trailer(v4, 1, 2, 2, 255), ErrNextHeader},
		{"IPv6 as IPv4", trailer(v6, 1, 2, 2, 4), ErrBadInnerLength},
		{"IPv4 as IPv6", trailer(v4, 1, 2, 2, 41), ErrBadInnerLength},
		{"no inner packet", []byte{1, 2, 2, 4}, ErrBadInnerLength},
		{"no inner packet, a block", append(longPadding(14), 14, 4), ErrBadInnerLength},
		{"padding longer than a block", append(longPadding(14), 15, 59), ErrPadding},
		{"zeros", make([]byte, 16), ErrNextHeader},
		{"half an IPv4 header", trailer(v4[:18], 0, 4), ErrBadInnerLength},
		{"half an IPv6 header", trailer(v6[:38], 0, 41), ErrBadInnerLength},
		{"IPv4 longer than the payload", trailer(with(v4, 3, 45), 1, 2, 2, 4), ErrBadInnerLength},
		{"IPv4 shorter than its header", trailer(with(v4, 3, 19), 1, 2, 2, 4), ErrBadInnerLength},
		{"IPv4 header of 16 bytes", trailer(with(v4, 0, 0x44), 1, 2, 2, 4), ErrBadInnerLength},
		{"IPv4 header longer than the packet", trailer(with(v4, 0, 0x4f), 1, 2, 2, 4), ErrBadInnerLength},
		{"IPv6 longer than the payload", trailer(with(v6, 5, 25), 1, 2, 2, 41), ErrBadInnerLength},
		{"version 5", trailer(with(v4, 0, 0x55), 1, 2, 2, 4), ErrBadInnerLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			forEachSuite(t, func(t *testing.T, c Config) {
				s, o := newPair(t, c)
				p := sealBody(t, s, tt.body)
				if !wholeBlocks(s, tt.body) {
					if _, err := o.Open(p); err != ErrAlignment || o.Top() != 0 {
						t.Errorf("%v, want %v; the window's top is %d", err, ErrAlignment, o.Top())
					}
					return
				}
				if _, err := o.Open(bytes.Clone(p)); err != tt.want {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if o.Top() != 1 {
					t.Errorf("the window's top is %d, want 1", o.Top())
				}
				if _, err := o.Open(p); err != ErrReplayed {
					t.Errorf("second time: %v, want %v", err, ErrReplayed)
				}
			})
		})
	}
}

func longPadding(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i + 1)
	}
	return p
}

func TestSPI(t *testing.T) {
	for _, tt := range []struct {
		packet []byte
		spi    uint32
		want   error
	}{
		{nil, 0, ErrShort},
		{[]byte{1, 2, 3, 4, 0, 0, 0}, 0, ErrShort},
		{[]byte{0, 0, 0, 0, 0, 0, 0, 1}, 0, ErrReservedSPI},
		{[]byte{0, 0, 0, 255, 0, 0, 0, 1}, 0, ErrReservedSPI},
		{[]byte{0, 0, 1, 0, 0, 0, 0, 1}, 256, nil},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 9}, 0xffffffff, nil},
	} {
		if spi, err := SPI(tt.packet); spi != tt.spi || err != tt.want {
			t.Errorf("SPI(%x) = %#x, %v, want %#x, %v", tt.packet, spi, err, tt.spi, tt.want)
		}
	}
}

// No key or salt shows in any form of printing.
func TestFormatIsRedacted(t *testing.T) {
	c := testConfig(parseSuite(t, "chacha20poly1305"), true)
	s, o := newPair(t, c)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		for _, v := range []any{s, o, c, &c} {
			got := fmt.Sprintf(verb, v)
			for _, secret := range []string{"[1 8 15", "1, 0x8, 0xf", "01080f16", "0x1, 0x8"} {
				if bytes.Contains([]byte(got), []byte(secret)) {
					t.Errorf("%s of %T shows the key: %s", verb, v, got)
				}
			}
		}
	}
	if got := fmt.Sprint(s); got != "esp.Sealer{spi=0x10203040 seq=0}" {
		t.Errorf("Sealer prints as %s", got)
	}
	if got := fmt.Sprint(o); got != "esp.Opener{spi=0x10203040 top=0}" {
		t.Errorf("Opener prints as %s", got)
	}
}
