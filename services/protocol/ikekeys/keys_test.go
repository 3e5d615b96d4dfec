package ikekeys

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/transform"
)

func TestMarshal(t *testing.T) {
	for _, s := range suites(t) {
		k := derive(t, s)
		b := k.Marshal()
		for n := range len(b) + 2 {
			got, err := Unmarshal(s, append(bytes.Clone(b), 0)[:n])
			if (err == nil) != (n == len(b)) || err != nil && !errors.Is(err, ErrKeys) {
				t.Errorf("%v, %d of %d bytes: %v", s, n, len(b), err)
			}
			if err == nil && !reflect.DeepEqual(got, k) {
				t.Errorf("%v: other keys", s)
			}
		}
		got, err := Unmarshal(s, b)
		if err != nil {
			t.Fatal(err)
		}
		clear(b)
		if !reflect.DeepEqual(got, k) {
			t.Errorf("%v: the keys are the caller's memory", s)
		}
	}
	if _, err := Unmarshal(Suite{}, nil); !errors.Is(err, ErrSuite) {
		t.Errorf("no suite: %v", err)
	}
}

// Each end seals with its own keys and opens with the other's.
func TestProtections(t *testing.T) {
	for _, s := range suites(t) {
		k := derive(t, s)
		i, r, err := k.Protections(3)
		if err != nil {
			t.Fatal(err)
		}
		e := sealed(t, i, 1)
		if _, err := r.Open(e); !errors.Is(err, ErrNotAuthentic) {
			t.Errorf("%v: a message is reflected: %v", s, err)
		}
		fromKeys, err := NewProtection(s, k.SKei, k.SKai, 4)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fromKeys.Open(e); err != nil {
			t.Errorf("%v: the initiator's keys are others: %v", s, err)
		}
		if i.State() != (State{3, 1}) || r.State() != (State{3, 0}) {
			t.Errorf("%v: %+v, %+v", s, i.State(), r.State())
		}
	}
	if _, _, err := (&Keys{Suite: suites(t)[0]}).Protections(1); !errors.Is(err, transform.ErrKeyLength) {
		t.Errorf("no keys: %v", err)
	}
}

func TestKeysAreRedacted(t *testing.T) {
	k := derive(t, parseSuite(t, "aes256-sha256", "prfsha256"))
	i, r, err := k.Protections(0x5a)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, of := range []any{k, *k, i, r, struct{ P *Protection }{i}, map[string]any{"k": k, "p": i}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			fmt.Fprintf(&out, verb+"\n", of)
		}
		j, err := json.Marshal(of)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(j)
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "of", of)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "of", of)
	}
	for _, key := range []transform.Keymat{k.SKd, k.SKai, k.SKar, k.SKei, k.SKer, k.SKpi, k.SKpr} {
		part := []byte(key)[:6]
		for _, leak := range []string{string(part), fmt.Sprintf("%x", part), fmt.Sprintf("%X", part), strings.Trim(fmt.Sprint(part), "[]")} {
			if strings.Contains(out.String(), leak) {
				t.Fatalf("a key is shown, %q: %s", leak, out.String())
			}
		}
	}
	for _, want := range []string{"ikekeys.Keys{aes256-sha256-prfsha256 [redacted]}", "ikekeys.Protection{aes256-sha256-prfsha256 token=90 counter=0 [redacted]}"} {
		if strings.Count(out.String(), want) < 20 {
			t.Errorf("%s is not what is shown: %s", want, out.String())
		}
	}
}
