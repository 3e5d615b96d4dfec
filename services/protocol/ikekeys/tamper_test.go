package ikekeys

import (
	"bytes"
	"errors"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// No bit of a message can be another, and no message is opened with other keys.
func TestTampering(t *testing.T) {
	for _, s := range suites(t) {
		p := protection(t, s, 5)
		e := sealed(t, p, 3)
		for i := range len(e.Message) * 8 {
			raw := bytes.Clone(e.Message)
			raw[i/8] ^= 1 << (i % 8)
			before := bytes.Clone(raw)
			m, err := ikewire.Parse(raw)
			if err != nil {
				continue
			}
			changed, ok, err := m.Envelope(p.Sizes())
			if err != nil || !ok {
				continue
			}
			if got, err := p.Open(changed); !errors.Is(err, ErrNotAuthentic) || got != nil {
				t.Errorf("%v: with bit %d changed: %x, %v", s, i, got, err)
			}
			if !bytes.Equal(raw, before) {
				t.Errorf("%v: Open has changed the message", s)
			}
		}
		ke, ka := testKeys(t, s)
		for _, key := range [][]byte{ke, ka} {
			for i := range key {
				key[i] ^= 4
				other, err := NewProtection(s, ke, ka, 5)
				if err != nil {
					t.Fatal(err)
				}
				// Without an AEAD the ICV alone says who it is from; 3DES has 8 bits of parity.
				if _, err := other.Open(e); !errors.Is(err, ErrNotAuthentic) && (s.Encryption.AEAD() || &key[0] != &ke[0]) {
					t.Errorf("%v: opened with another key, byte %d: %v", s, i, err)
				}
				key[i] ^= 4
			}
		}
	}
}

// An authentic message whose padding cannot be is told from a forged one: its sender can be answered.
func TestBadPadding(t *testing.T) {
	for _, s := range suites(t) {
		p := protection(t, s, 5)
		e := layOut(t, p, 4)
		e.Text[len(e.Text)-1] = byte(len(e.Text))
		if err := p.Seal(e); err != nil {
			t.Fatal(err)
		}
		if got, err := p.Open(cut(t, e.Message, p.Sizes())); !errors.Is(err, ikewire.ErrLength) || errors.Is(err, ErrNotAuthentic) || got != nil {
			t.Errorf("%v: %x, %v", s, got, err)
		}
	}
}

// Envelopes of other sizes are refused by both ends before anything happens to them.
func TestWrongEnvelope(t *testing.T) {
	for _, s := range suites(t) {
		p := protection(t, s, 5)
		z := p.Sizes()
		good := layOut(t, p, 5)
		for i, bad := range []ikewire.Envelope{
			{},
			wrong(good, func(e *ikewire.Envelope) { e.IV = e.IV[1:] }),
			wrong(good, func(e *ikewire.Envelope) { e.ICV = e.ICV[1:] }),
			wrong(good, func(e *ikewire.Envelope) { e.Text = e.Text[:0] }),
			wrong(good, func(e *ikewire.Envelope) { e.Text = e.Text[: len(e.Text)-z.Block : len(e.Text)-z.Block] }),
			wrong(good, func(e *ikewire.Envelope) { e.Text = bytes.Clone(e.Text) }),
			wrong(good, func(e *ikewire.Envelope) { e.AAD = e.AAD[1:] }),
			wrong(good, func(e *ikewire.Envelope) { e.Message = append(bytes.Clone(e.Message), 0) }),
		} {
			before := bytes.Clone(bad.Message)
			if err := p.Seal(bad); !errors.Is(err, ErrEnvelope) {
				t.Errorf("%v, %d: sealed: %v", s, i, err)
			}
			if _, err := p.Open(bad); !errors.Is(err, ErrEnvelope) {
				t.Errorf("%v, %d: opened: %v", s, i, err)
			}
			if p.State().Counter != 0 || !bytes.Equal(bad.Message, before) {
				t.Errorf("%v, %d: something has happened", s, i)
			}
		}
	}
}

func wrong(e ikewire.Envelope, change func(*ikewire.Envelope)) ikewire.Envelope {
	change(&e)
	return e
}
