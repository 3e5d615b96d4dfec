package ah

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// vector is one datagram of testdata/scapy.txt, which an implementation of somebody else has sealed.
type vector struct {
	name       string
	config     Config
	seq        uint64
	nextHeader uint8
	payload    int // length
	packet     []byte
}

func scapyVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/scapy.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] == "#" {
			continue
		}
		if len(f) != 8 {
			t.Fatalf("%q has not 8 columns", line)
		}
		seq, err := strconv.ParseUint(f[3], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		nextHeader, err := strconv.ParseUint(f[5], 10, 8)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := strconv.Atoi(f[6])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vector{
			name:       strings.Join(f[:3], "/"),
			config:     Config{SPI: testSPI, Integrity: integrity(t, f[1]), Keymat: transform.Keymat(unhex(t, f[4])), ESN: f[2] == "1", Sequence: seq - 1},
			seq:        seq,
			nextHeader: uint8(nextHeader),
			payload:    payload,
			packet:     unhex(t, f[7]),
		})
	}
	return all
}

// opener has accepted the number before v's.
func (v vector) opener(t testing.TB) *Opener {
	t.Helper()
	o, err := NewOpener(v.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.window.Accept(v.seq - 1); err != nil {
		t.Fatal(err)
	}
	return o
}

// Every datagram of scapy's is opened where it arrives, and sealed again it is the same.
func TestScapy(t *testing.T) {
	kinds, algorithms := map[string]bool{}, map[string]bool{}
	for _, v := range scapyVectors(t) {
		kinds[strings.Split(v.name, "/")[0]], algorithms[v.config.Integrity.Name] = true, true
		t.Run(v.name, func(t *testing.T) {
			at, err := Locate(v.packet)
			if err != nil {
				t.Fatal(err)
			}
			arrived := travel(v.packet)
			if bytes.Equal(arrived, v.packet) {
				t.Fatal("nothing has changed on the way")
			}
			before := bytes.Clone(arrived)
			payload := v.packet[len(v.packet)-v.payload:]
			got, err := v.opener(t).Open(arrived, at)
			if err != nil || got.Seq != v.seq || got.NextHeader != v.nextHeader || !bytes.Equal(got.Payload, payload) ||
				got.HeaderLen != len(v.packet)-at-v.payload {
				t.Errorf("opened %+v, %v", got, err)
			}
			if !bytes.Equal(arrived, before) {
				t.Errorf("opening has made\n%x of\n%x", arrived, before)
			}
			s, err := NewSealer(v.config)
			if err != nil {
				t.Fatal(err)
			}
			again := bytes.Clone(v.packet)
			for i := range s.HeaderLen(int(again[0] >> 4)) {
				again[at+i] = 0xaa
			}
			if err := s.Seal(again, at, v.nextHeader); err != nil || !bytes.Equal(again, v.packet) {
				t.Errorf("%v: sealed\n%x, want\n%x", err, again, v.packet)
			}
		})
	}
	if len(kinds) != 20 || len(algorithms) != 8 {
		t.Errorf("testdata has %d kinds of datagram and %d algorithms, want 20 and 8", len(kinds), len(algorithms))
	}
}
