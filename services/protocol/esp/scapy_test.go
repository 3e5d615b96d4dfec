package esp

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
)

// scapyVectors are the packets of testdata/scapy.txt, which an implementation of somebody else has sealed.
func scapyVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/scapy.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 6 || f[0] == "#" {
			continue
		}
		seq, err := strconv.ParseUint(f[2], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vector{name: f[0] + "/" + f[2], suite: f[0], esn: f[1] == "1", seq: seq, keymat: f[3], plaintext: f[4], packet: f[5]})
	}
	return all
}

// Every packet of scapy's is opened, and sealed again with its IV it is the same.
func TestScapy(t *testing.T) {
	suites := map[string]int{}
	for _, v := range scapyVectors(t) {
		suites[v.suite]++
		t.Run(v.name, func(t *testing.T) {
			o, inner, packet := v.opener(t), unhex(t, v.plaintext), unhex(t, v.packet)
			got, err := o.Open(bytes.Clone(packet))
			if err != nil || got.Seq != v.seq || got.NextHeader != NextHeaderIPv4 || !bytes.Equal(got.Payload, inner) {
				t.Fatalf("opened %+v, %v", got, err)
			}
			s := newSealerAt(t, v.config(t), v.seq)
			again := make([]byte, s.SealedLen(len(inner)))
			copy(again, packet[:s.header])
			copy(again[s.header:], inner)
			putTrailer(again[s.header+len(inner):len(again)-s.icv], NextHeaderIPv4)
			s.protect(again, s.body(again), v.seq)
			if !bytes.Equal(again, packet) {
				t.Errorf("sealed\n%x, want\n%x", again, packet)
			}
		})
	}
	if len(suites) != 53 {
		t.Errorf("testdata has %d suites, want 53", len(suites))
	}
}
