package ikekeys

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

// RFC 5282 section 3.1, RFC 5930, RFC 7634 section 2: no IV twice under a key, whoever holds it. The 4 bytes
// of the fencing token come first, the counter after them; of CBC's nothing can be told.
func TestIVs(t *testing.T) {
	for _, s := range suites(t) {
		seen := map[string]bool{}
		for _, token := range []uint32{1, 2, 0x01000000, math.MaxUint32} {
			p := protection(t, s, token)
			for n := uint32(1); n <= 50; n++ {
				iv := sealed(t, p, 7).IV
				if seen[string(iv)] {
					t.Errorf("%v: IV %x is there twice", s, iv)
				}
				seen[string(iv)] = true
				plain := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, token), n)
				if bytes.HasPrefix(iv, plain) == s.Encryption.UnpredictableIV() {
					t.Errorf("%v: IV %x of token %x and counter %d", s, iv, token, n)
				}
				if want := (State{token, n}); p.State() != want {
					t.Errorf("%v: %+v, want %+v", s, p.State(), want)
				}
			}
		}
	}
}

// CBC's IVs depend on the key, and are no encryption under SK_e that a peer could have had made for it.
func TestCBCIVsHaveAKeyOfTheirOwn(t *testing.T) {
	s := parseSuite(t, "aes256-sha256", "prfsha256")
	p := protection(t, s, 1)
	ivs := map[string]bool{string(sealed(t, p, 1).IV): true}
	block := make([]byte, 16)
	binary.BigEndian.PutUint32(block, 1)
	binary.BigEndian.PutUint32(block[4:], 1)
	ke, ka := testKeys(t, s)
	c, err := s.Encryption.NewCipher(ke)
	if err != nil {
		t.Fatal(err)
	}
	c.Encrypt(block, make([]byte, 16))
	ivs[string(block)] = true
	other, err := NewProtection(s, fill(32, 3), ka, 1)
	if err != nil {
		t.Fatal(err)
	}
	ivs[string(sealed(t, other, 1).IV)] = true
	if len(ivs) != 3 {
		t.Errorf("%d IVs, want 3", len(ivs))
	}
}

// The last IV is used, and none after it: the message is left as it was.
func TestExhausted(t *testing.T) {
	for _, s := range suites(t) {
		p := protection(t, s, 9)
		if err := p.Restore(State{9, math.MaxUint32 - 1}); err != nil {
			t.Fatal(err)
		}
		sealed(t, p, 1)
		e := layOut(t, p, 2)
		before := bytes.Clone(e.Message)
		if err := p.Seal(e); !errors.Is(err, ErrExhausted) || !bytes.Equal(e.Message, before) || p.State().Counter != math.MaxUint32 {
			t.Errorf("%v: %v, %+v", s, err, p.State())
		}
	}
}

// A process goes on after what it, or a process with its token, has counted; a later token begins anew; an earlier one
// is told that it was replaced. Nothing sets a counter back.
func TestRestore(t *testing.T) {
	s := parseSuite(t, "aes128gcm16", "prfsha256")
	for _, tt := range []struct {
		name     string
		kept     State
		want     uint32
		wantErr  error
		nextSeal uint32
	}{
		{"own", State{7, 41}, 41, nil, 42},
		{"own, older than we are", State{7, 1}, 2, nil, 3},
		{"of an earlier worker", State{6, 1000}, 2, nil, 3},
		{"of a later worker", State{8, 0}, 2, ErrFenced, 3},
		{"none", State{}, 2, nil, 3},
	} {
		p := protection(t, s, 7)
		sealed(t, p, 1)
		sealed(t, p, 1)
		if err := p.Restore(tt.kept); !errors.Is(err, tt.wantErr) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if p.State() != (State{7, tt.want}) {
			t.Errorf("%s: %+v", tt.name, p.State())
		}
		if iv := sealed(t, p, 1).IV; binary.BigEndian.Uint32(iv) != 7 || binary.BigEndian.Uint32(iv[4:]) != tt.nextSeal {
			t.Errorf("%s: next IV %x", tt.name, iv)
		}
	}
}
