package ikekeys

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// testdata/nist-ikev2.txt: its nonces are shorter than IKEv2 allows, so the parts of Derive and Rekey are asked.
func TestNIST(t *testing.T) {
	text, err := os.ReadFile("testdata/nist-ikev2.txt")
	if err != nil {
		t.Fatal(err)
	}
	run := 0
	for line := range strings.Lines(string(text)) {
		if line[0] == '#' {
			continue
		}
		run++
		f := strings.Fields(line)
		s := parseSuite(t, "aes128gcm16", f[0])
		ni, nr, gir, girNew := unhex(t, f[1]), unhex(t, f[2]), unhex(t, f[3]), unhex(t, f[4])
		spii, spir := ikewire.IKESPI(unhex(t, f[5])), ikewire.IKESPI(unhex(t, f[6]))
		seed, dkm, rekey := unhex(t, f[7]), unhex(t, f[8]), unhex(t, f[9])
		if got := skeyseed(s.PRF, ni, nr, gir); !bytes.Equal(got, seed) {
			t.Errorf("%v: SKEYSEED %x, want %x", s, got, seed)
		}
		for _, bits := range []string{"aes128gcm16", "aes256gcm16"} {
			s.Encryption = parseSuite(t, bits, f[0]).Encryption
			keys, err := expand(s, seed, ni, nr, spii, spir)
			if err != nil {
				t.Fatal(err)
			}
			n := min(len(dkm), s.keysLen())
			if got := keys.Marshal(); len(dkm) != 132 || !bytes.Equal(got[:n], dkm[:n]) {
				t.Errorf("%v: keys %x, want %x", s, got, dkm)
			}
			if got := keys.seedOfRekey(ni, nr, [][]byte{girNew}); !bytes.Equal(got, rekey) {
				t.Errorf("%v: SKEYSEED of the rekey %x, want %x", s, got, rekey)
			}
		}
	}
	if run != 3 {
		t.Errorf("%d vectors, want 3", run)
	}
}
