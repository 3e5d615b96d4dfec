package keyexchange

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func initiate(t testing.TB, m Method) *Private {
	t.Helper()
	p, err := m.Initiate(rand.Reader)
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return p
}

// secretLen: RFC 8031, RFC 5903 section 7, RFC 7296 section 2.14, FIPS 203.
func secretLen(m Method) int {
	switch m.ID {
	case X25519, MLKEM768, MLKEM1024:
		return 32
	case P256, P384, P521:
		return m.InitiatorLen / 2
	}
	return m.InitiatorLen
}

// Both ends have one secret, and so has an initiator that was snapshotted in between.
func TestAgreement(t *testing.T) {
	for _, m := range Methods() {
		p := initiate(t, m)
		public, secret, err := m.Respond(rand.Reader, p.Public())
		if err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		if len(p.Public()) != m.InitiatorLen || len(public) != m.ResponderLen || len(secret) != secretLen(m) || p.Method() != m {
			t.Errorf("%v: %d and %d bytes give %d", m, len(p.Public()), len(public), len(secret))
		}
		again, err := m.Unmarshal(p.Marshal())
		if err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		if !bytes.Equal(again.Public(), p.Public()) || !bytes.Equal(again.Marshal(), p.Marshal()) || again.Method() != m {
			t.Errorf("%v: another key after the snapshot", m)
		}
		for _, p := range []*Private{p, again} {
			if got, err := p.Finish(public); err != nil || !bytes.Equal(got, secret) {
				t.Errorf("%v: %x, %v, the responder has %x", m, got, err, secret)
			}
		}
		other := initiate(t, m)
		if got, err := other.Finish(public); err != nil || bytes.Equal(got, secret) || bytes.Equal(other.Public(), p.Public()) {
			t.Errorf("%v: anybody has the secret", m)
		}
	}
}

// Any other length is refused by both ends: of RFC 5903 with SEC 1's first byte, of MODP without leading zeros.
func TestLengths(t *testing.T) {
	for _, m := range Methods() {
		p := initiate(t, m)
		offer := p.Public()
		public, _, err := m.Respond(rand.Reader, offer)
		if err != nil {
			t.Fatal(err)
		}
		for n := range m.InitiatorLen + 2 {
			if n == m.InitiatorLen {
				continue
			}
			if _, _, err := m.Respond(rand.Reader, append(offer, 0)[:n]); !errors.Is(err, ErrPublic) {
				t.Errorf("%v: %d bytes to the responder: %v", m, n, err)
			}
		}
		for n := range m.ResponderLen + 2 {
			if n == m.ResponderLen {
				continue
			}
			if secret, err := p.Finish(append(public, 0)[:n]); !errors.Is(err, ErrPublic) || secret != nil {
				t.Errorf("%v: %d bytes to the initiator: %v", m, n, err)
			}
		}
		for _, value := range [][]byte{append([]byte{4}, public...), append([]byte{0}, public...)} {
			if _, err := p.Finish(value); !errors.Is(err, ErrPublic) {
				t.Errorf("%v: a byte in front: %v", m, err)
			}
		}
	}
}

func TestUnmarshalErrors(t *testing.T) {
	for _, m := range Methods() {
		b := initiate(t, m).Marshal()
		for n := range len(b) {
			if _, err := m.Unmarshal(b[:n]); !errors.Is(err, ErrPrivate) {
				t.Errorf("%v: %d bytes: %v", m, n, err)
			}
		}
		if _, err := m.Unmarshal(append(bytes.Clone(b), 0)); !errors.Is(err, ErrPrivate) {
			t.Errorf("%v: a byte more: %v", m, err)
		}
		for _, other := range Methods() {
			if _, err := other.Unmarshal(b); (err == nil) != (other == m) {
				t.Errorf("%v from a key of %v: %v", other, m, err)
			}
		}
		if m.KEM || m.ID == X25519 { // any bytes are a key
			continue
		}
		for _, fill := range []byte{0, 0xff} {
			bad := slices.Concat(b[:2], bytes.Repeat([]byte{fill}, len(b)-2))
			if _, err := m.Unmarshal(bad); fill == 0 && !errors.Is(err, ErrPrivate) ||
				fill == 0xff && strings.HasPrefix(m.Name, "ecp") && !errors.Is(err, ErrPrivate) {
				t.Errorf("%v: key of %#x: %v", m, fill, err)
			}
		}
	}
}

// The reader alone decides the key; one that fails or gives no key makes none.
func TestRandom(t *testing.T) {
	seeded := func() io.Reader { return mathrand.NewChaCha8([32]byte{1}) }
	broken := errors.New("broken")
	for _, m := range Methods() {
		first, err := m.Initiate(seeded())
		if err != nil {
			t.Fatal(err)
		}
		second, err := m.Initiate(seeded())
		if err != nil || !bytes.Equal(first.Marshal(), second.Marshal()) {
			t.Errorf("%v: two keys from the same bytes, %v", m, err)
		}
		short := io.MultiReader(bytes.NewReader(make([]byte, 5)), errorReader{broken})
		if p, err := m.Initiate(short); !errors.Is(err, broken) || p != nil {
			t.Errorf("%v: %v, %v", m, p, err)
		}
		if _, _, err := m.Respond(errorReader{broken}, first.Public()); !m.KEM && !errors.Is(err, broken) {
			t.Errorf("%v: %v", m, err)
		}
		if _, err := m.Initiate(zeroReader{}); !m.KEM && m.ID != X25519 && !errors.Is(err, errRandom) {
			t.Errorf("%v: a key of zeros: %v", m, err)
		}
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A made-up row gives nothing.
func TestMadeUpMethod(t *testing.T) {
	for _, m := range []Method{{}, {Name: "modp1024", ID: 2, InitiatorLen: 128, ResponderLen: 128}, {ID: 35, KEM: true}} {
		if p, err := m.Initiate(rand.Reader); !errors.Is(err, ErrUnknown) || p != nil {
			t.Errorf("%v: %v", m, err)
		}
		if _, _, err := m.Respond(rand.Reader, make([]byte, m.InitiatorLen)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%v: %v", m, err)
		}
		if _, err := m.Unmarshal([]byte{0, byte(m.ID), 1, 2}); !errors.Is(err, ErrUnknown) {
			t.Errorf("%v: %v", m, err)
		}
	}
}

func TestPrivateIsRedacted(t *testing.T) {
	for _, m := range Methods() {
		p := initiate(t, m)
		var out strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			fmt.Fprintf(&out, verb+" "+verb+"\n", p, struct{ Key *Private }{p})
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "key", p)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "key", p, "in", map[string]any{"key": p})
		j, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		secret := p.Marshal()[2:]
		for _, leak := range []string{string(secret[:8]), fmt.Sprintf("%x", secret[:8]), fmt.Sprintf("%X", secret[:8]), fmt.Sprint(secret[:8])[1:20]} {
			if strings.Contains(out.String(), leak) {
				t.Errorf("%v shows its key: %s", m, out.String())
			}
		}
		if n := strings.Count(out.String(), m.Name); n < 15 {
			t.Errorf("%v is not named everywhere: %s", m, out.String())
		}
	}
}
