package ikekeys

import (
	"bytes"
	"errors"
	"slices"
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

// testKeys are other ones for each suite: a message of one must not be authentic in another.
func testKeys(t testing.TB, s Suite) (ke, ka []byte) {
	t.Helper()
	n := s.Encryption.KeymatLen()
	b, err := s.PRF.Plus(nil, n+s.Integrity.KeyLen, []byte(s.String()))
	if err != nil {
		t.Fatal(err)
	}
	return b[:n:n], b[n:]
}

// protection has the same keys for each token.
func protection(t testing.TB, s Suite, token uint32) *Protection {
	t.Helper()
	ke, ka := testKeys(t, s)
	p, err := NewProtection(s, ke, ka, token)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func header(id uint32) ikewire.Header {
	return ikewire.Header{
		InitiatorSPI: spiI, ResponderSPI: spiR, Exchange: ikewire.Informational, Flags: ikewire.FlagInitiator, MessageID: id,
	}
}

// inside are payloads that no cipher's blocks fit.
func inside() []ikewire.Payload {
	return []ikewire.Payload{ikewire.Nonce{Data: fill(33, 9)}, ikewire.Notify{Type: ikewire.InitialContact}}
}

func layOut(t testing.TB, p *Protection, id uint32) ikewire.Envelope {
	t.Helper()
	e, err := ikewire.Seal(header(id), nil, inside(), p.Sizes())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func sealed(t testing.TB, p *Protection, id uint32) ikewire.Envelope {
	t.Helper()
	e := layOut(t, p, id)
	if err := p.Seal(e); err != nil {
		t.Fatalf("%v: %v", p, err)
	}
	return e
}

// cut parses a message that is known to be whole.
func cut(t testing.TB, raw []byte, z ikewire.Sizes) ikewire.Envelope {
	t.Helper()
	m, err := ikewire.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	e, ok, err := m.Envelope(z)
	if err != nil || !ok {
		t.Fatalf("no envelope: %v", err)
	}
	return e
}

// RFC 5282 section 3, RFC 5930, RFC 7634 section 3, RFC 7296 section 3.14.
func TestSizes(t *testing.T) {
	for name, want := range map[string]ikewire.Sizes{
		"aes128gcm16": {IV: 8, Block: 1, ICV: 16}, "aes256gcm12": {IV: 8, Block: 1, ICV: 12}, "aes128gcm8": {IV: 8, Block: 1, ICV: 8},
		"aes128ccm8": {IV: 8, Block: 1, ICV: 8}, "chacha20poly1305": {IV: 8, Block: 1, ICV: 16},
		"aes128-sha256": {IV: 16, Block: 16, ICV: 16}, "aes256-aesxcbc": {IV: 16, Block: 16, ICV: 12},
		"aes192ctr-sha512": {IV: 8, Block: 1, ICV: 32}, "3des-aescmac": {IV: 8, Block: 8, ICV: 12},
	} {
		if got := parseSuite(t, name, "prfsha256").Sizes(); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// What one worker has sealed another one opens, and the message that was opened is as it was.
func TestSealOpen(t *testing.T) {
	want, err := ikewire.AppendPayloads(nil, inside())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(suites(t)); n != 19+6*7+7 {
		t.Errorf("%d suites", n)
	}
	for _, s := range suites(t) {
		p := protection(t, s, 5)
		e := sealed(t, p, 1)
		if bytes.Contains(e.Message, fill(33, 9)) {
			t.Errorf("%v: nothing is encrypted", s)
		}
		raw := bytes.Clone(e.Message)
		got, err := protection(t, s, 6).Open(cut(t, raw, p.Sizes()))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %x, %v", s, got, err)
		}
		if !bytes.Equal(raw, e.Message) {
			t.Errorf("%v: Open has changed the message", s)
		}
		clear(got)
		if again, err := p.Open(cut(t, raw, p.Sizes())); err != nil || !bytes.Equal(again, want) {
			t.Errorf("%v: not opened a second time: %v", s, err)
		}
	}
}

// A message in fragments: each has its IV, and the whole comes out.
func TestFragments(t *testing.T) {
	big := []ikewire.Payload{ikewire.Nonce{Data: fill(256, 3)}, ikewire.KE{Method: 14, Data: fill(900, 4)}}
	want, err := ikewire.AppendPayloads(nil, big)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range suites(t) {
		p := protection(t, s, 5)
		es, err := ikewire.SealFragments(header(2), nil, big, p.Sizes(), 300)
		if err != nil || len(es) < 4 {
			t.Fatalf("%v: %d fragments, %v", s, len(es), err)
		}
		var whole ikewire.Reassembly
		var got []byte
		for _, e := range es {
			if err := p.Seal(e); err != nil {
				t.Fatal(err)
			}
			e = cut(t, e.Message, p.Sizes())
			text, err := p.Open(e)
			if err != nil {
				t.Fatalf("%v, fragment %d: %v", s, e.Number, err)
			}
			if got, _, _, err = whole.Add(e, text); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, want) || p.State().Counter != uint32(len(es)) {
			t.Errorf("%v: %d bytes of %d fragments", s, len(got), len(es))
		}
	}
}

func TestNewProtectionErrors(t *testing.T) {
	for _, s := range suites(t) {
		e, a := s.Encryption.KeymatLen(), s.Integrity.KeyLen
		for _, n := range [][2]int{{e - 1, a}, {e + 1, a}, {0, a}, {e, a + 1}, {e, a + 16}, {a, e}} {
			if n == [2]int{e, a} {
				continue
			}
			if p, err := NewProtection(s, make([]byte, n[0]), make([]byte, n[1]), 1); !errors.Is(err, transform.ErrKeyLength) || p != nil {
				t.Errorf("%v with keys of %v bytes: %v", s, n, err)
			}
		}
	}
	null, gmac := parseSuite(t, "null-sha256", "prfsha256"), parseSuite(t, "aes128gmac", "prfsha256")
	noICV, two := parseSuite(t, "aes128-sha256", "prfsha256"), parseSuite(t, "aes128gcm16", "prfsha256")
	noICV.Integrity, two.Integrity = transform.Integrity{}, null.Integrity
	noPRF := parseSuite(t, "aes128gcm16", "prfsha256")
	noPRF.PRF.KeyLen = 8
	ahOnly := null
	ahOnly.Integrity, _ = transform.IntegrityByName("aes128gmac")
	for _, s := range slices.Concat([]Suite{{}}, []Suite{null, gmac, noICV, two, noPRF, ahOnly}) {
		if err := s.Check(); !errors.Is(err, ErrSuite) {
			t.Errorf("%v: %v", s, err)
		}
		if p, err := NewProtection(s, make([]byte, s.Encryption.KeymatLen()), make([]byte, s.Integrity.KeyLen), 1); !errors.Is(err, ErrSuite) || p != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
}
