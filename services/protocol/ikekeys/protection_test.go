package ikekeys

import (
	"bytes"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// suites are all that can protect an IKE SA, with one PRF.
func suites(t testing.TB) []Suite {
	t.Helper()
	prf, err := transform.PRFByName("prfsha256")
	if err != nil {
		t.Fatal(err)
	}
	var all []Suite
	for _, s := range append(transform.Suites(), transform.InsecureSuites()...) {
		if of := (Suite{s.Encryption, s.Integrity, prf}); of.Check() == nil {
			all = append(all, of)
		}
	}
	return all
}

func fill(n int, with byte) []byte { return bytes.Repeat([]byte{with}, n) }

func protection(t testing.TB, s Suite, token uint32) *Protection {
	t.Helper()
	p, err := NewProtection(s, fill(s.Encryption.KeymatLen(), 1), fill(s.Integrity.KeyLen, 2), token)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var header = ikewire.Header{
	InitiatorSPI: ikewire.IKESPI{1, 2, 3, 4, 5, 6, 7, 8}, ResponderSPI: ikewire.IKESPI{8, 7, 6, 5, 4, 3, 2, 1},
	Exchange: ikewire.Informational, Flags: ikewire.FlagInitiator, MessageID: 7,
}

func TestSealOpen(t *testing.T) {
	for _, s := range suites(t) {
		p := protection(t, s, 5)
		inside := []ikewire.Payload{ikewire.Nonce{Data: fill(33, 9)}}
		e, err := ikewire.Seal(header, nil, inside, p.Sizes())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Seal(e); err != nil {
			t.Fatal(err)
		}
		m, err := ikewire.Parse(e.Message)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := m.Envelope(p.Sizes())
		if err != nil {
			t.Fatal(err)
		}
		text, err := protection(t, s, 6).Open(got)
		if err != nil {
			t.Fatalf("%v: %v", s, err)
		}
		if want, _ := ikewire.AppendPayloads(nil, inside); !bytes.Equal(text, want) {
			t.Errorf("%v: %x", s, text)
		}
	}
}
