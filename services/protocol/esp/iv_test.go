package esp

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// The tunnel-mode packets of RFC 3602 section 4, cases 7 and 8. They have no ICV, which nothing here would
// open: the cipher is compared alone, in its place in the packet.
func TestRFC3602Packets(t *testing.T) {
	for name, v := range map[string]struct{ seq, iv, plaintext, encrypted string }{
		"case 7": {"00000002", "f4e765244f6407adf13dc1380f673f37",
			`45000054 09040000 4001f988 c0a87b03 c0a87bc8 08009f76 a90a0100 b49c083d
			02a20400 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f 20212223
			24252627 28292a2b 2c2d2e2f 30313233 34353637 01020304 05060708 090a0a04`,
			`773b5241 a4c44922 5e4f3ce5 ed611b0c 237ca96c f74a9301 3c1b0ea1 a0cf70f8
			e4ecaec7 8ac53aad 7a0f022b 859243c6 47752e94 a859352b 8a4d4d2d ecd136e5
			c177f132 ad3fbfb2 201ac990 4c74ee0a 109e0ca1 e4dfe9d5 a100b842 f1c22f0d`},
		"case 8": {"00000005", "85d47224b5f3dd5d2101d4ea8dffab22",
			`45000044 090c0000 4001f990 c0a87b03 c0a87bc8 0800d63c aa0a0200 c69c083d
			a3de0300 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff
			ffffffff 01020304 05060708 090a0a04`,
			`15b92683 819596a8 047232cc 00f7048f e45318e1 1f8a0f62 ede3c3fc 61203bb5
			0f980a08 c9843fd3 a1b06d5c 07ff9639 b7eb7dfb 3512e5de 435e7207 ed971ef3
			d2726d9b 5ef6affc 6d17a0de cbb13892`},
	} {
		c := testConfig(parseSuite(t, "aes128-sha256"), false)
		c.SPI = 0x8765
		copy(c.Keymat, unhex(t, "0123456789abcdef0123456789abcdef"))
		s, o := newPair(t, c)
		plaintext := unhex(t, v.plaintext)
		packet := bytes.Join([][]byte{unhex(t, "00008765"), unhex(t, v.seq), unhex(t, v.iv), plaintext, make([]byte, s.icv)}, nil)
		seq := uint64(binary.BigEndian.Uint32(packet[4:]))
		s.protect(packet, s.body(packet), seq)
		if got := packet[s.header : len(packet)-s.icv]; !bytes.Equal(got, unhex(t, v.encrypted)) {
			t.Errorf("%s: encrypted %x", name, got)
		}
		payload, nextHeader, err := parseTrailer(plaintext)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.Open(packet); err != nil || got.NextHeader != nextHeader || got.Seq != seq || !bytes.Equal(got.Payload, payload) {
			t.Errorf("%s: opened %+v, %v", name, got, err)
		}
	}
}

// CBC's IVs do not repeat, are not the counter nor one IV's neighbour, and are other ones under another SPI
// or key. A Sealer's are the same each time: a key must not be used twice in any case.
func TestCBCIVs(t *testing.T) {
	ivs := func(c Config) []string {
		s, _ := newPair(t, c)
		var out []string
		for range 1000 {
			p := mustSeal(t, s, nil, NextHeaderDummy)
			out = append(out, string(p[8:s.header]))
		}
		return out
	}
	for _, name := range []string{"aes128-sha256", "aes192-sha1", "aes256-sha512", "3des-sha1"} {
		c := testConfig(parseSuite(t, name), true)
		other, otherSPI := c, c
		other.Keymat, otherSPI.SPI = bytes.Clone(c.Keymat), c.SPI+1
		other.Keymat[0] ^= 2 // of the encryption key; DES ignores each byte's last bit
		seen := map[string]bool{}
		for _, c := range []Config{c, other, otherSPI} {
			for n, iv := range ivs(c) {
				if seen[iv] || len(iv) != c.Encryption.IVLen {
					t.Fatalf("%s: IV %x of packet %d was there before", name, iv, n+1)
				}
				seen[iv] = true
			}
		}
		// A counter, plain or masked, changes few bits; a random IV half of them.
		bits := 0
		run := ivs(c)
		for n := range run[1:] {
			for i := range run[n] {
				for d := run[n][i] ^ run[n+1][i]; d != 0; d &= d - 1 {
					bits++
				}
			}
		}
		if half := len(run) * 8 * c.Encryption.IVLen / 2; bits < half*9/10 || bits > half*11/10 {
			t.Errorf("%s: %d bits change from IV to IV in all, want about %d", name, bits, half)
		}
	}
}

// With ESN no IV comes again when the low half of the number does.
func TestIVAfterBoundary(t *testing.T) {
	for _, suite := range allSuites() {
		c := testConfig(suite, true)
		var ivs [][]byte
		for _, seq := range []uint64{0, 1 << 32, 1 << 33} {
			s := newSealerAt(t, c, seq)
			ivs = append(ivs, s.iv(mustSeal(t, s, nil, NextHeaderDummy)))
		}
		if c.Encryption.IVLen > 0 && (bytes.Equal(ivs[0], ivs[1]) || bytes.Equal(ivs[1], ivs[2]) || bytes.Equal(ivs[0], ivs[2])) {
			t.Errorf("%v: an IV is used twice: %x", suite, ivs)
		}
	}
}
