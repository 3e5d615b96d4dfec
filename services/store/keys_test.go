package store_test

import (
	"errors"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/store"
)

// escapes are names that would leave their place in the key layout.
var escapes = []string{
	"", ".", "..", "/", "a/b", "../x", "a/../b", "/a", "a/", "a\x00b", "a\nb", "a b", "é", "\xff", "-a", ".a", "_a",
	"a%2fb", "a\\b", strings.Repeat("a", store.MaxNameLen+1),
}

func TestNamesCannotEscape(t *testing.T) {
	pair := func(f func(store.Kind, string) (string, error)) func(string) (string, error) {
		return func(n string) (string, error) { return f(store.KindHost, n) }
	}
	builders := map[string]func(string) (string, error){
		"spec": pair(store.SpecKey), "status": pair(store.StatusKey),
		"ca": store.CAKey, "host": store.HostIDKey, "token": store.TokenKey, "operator": store.OperatorKey,
		"epoch": store.EpochKey, "live": store.LiveKey, "event": store.EventKey,
		"manual key":   store.ManualKeyKey,
		"manual host":  func(n string) (string, error) { return store.ManualPhaseKey(n, "x") },
		"manual uid":   func(n string) (string, error) { return store.ManualPhaseKey("x", n) },
		"intent scope": func(n string) (string, error) { return store.IntentKey(n, "x") },
		"intent name":  func(n string) (string, error) { return store.IntentKey("x", n) },
		"kind":         func(n string) (string, error) { return store.SpecKey(store.Kind(n), "x") },
	}
	for what, build := range builders {
		for _, name := range escapes {
			if key, err := build(name); !errors.Is(err, store.ErrBadKey) || key != "" {
				t.Errorf("%s key for %q: %q, %v, want ErrBadKey", what, name, key, err)
			}
		}
	}
}

func TestKeysRoundTrip(t *testing.T) {
	longest := strings.Repeat("a", store.MaxNameLen)
	for _, name := range []string{"a", "A", "0", "host-1", "a.b_c-d", longest} {
		for _, kind := range []store.Kind{store.KindHost, store.KindPolicy, store.KindJoinToken, store.KindManualPeer} {
			key := must(store.SpecKey(kind, name))(t)
			if k, n, err := store.ParseSpecKey(key); k != kind || n != name || err != nil {
				t.Errorf("ParseSpecKey(%q) = %q, %q, %v", key, k, n, err)
			}
			if _, _, err := store.ParseStatusKey(key); !errors.Is(err, store.ErrBadKey) {
				t.Errorf("ParseStatusKey(%q): %v, want ErrBadKey", key, err)
			}
		}
		key := must(store.EpochKey(name))(t)
		if n, err := store.ParseName(store.EpochPrefix, key); n != name || err != nil {
			t.Errorf("ParseName(%q) = %q, %v", key, n, err)
		}
		key = must(store.IntentKey(name, "x"))(t)
		if scope, n, err := store.ParseIntentKey(key); scope != name || n != "x" || err != nil {
			t.Errorf("ParseIntentKey(%q) = %q, %q, %v", key, scope, n, err)
		}
		if err := store.CheckKey(key); err != nil {
			t.Errorf("CheckKey(%q): %v", key, err)
		}
		key = must(store.ManualPhaseKey(name, "x"))(t)
		if host, uid, err := store.ParseManualPhaseKey(key); host != name || uid != "x" || err != nil {
			t.Errorf("ParseManualPhaseKey(%q) = %q, %q, %v", key, host, uid, err)
		}
	}
	for _, bad := range []string{"", "manual/phase/", "manual/phase/a", "manual/phase/a/", "manual/phase//b", "manual/phase/a/b/c", "manual/key/a", "spec/a/b"} {
		if host, uid, err := store.ParseManualPhaseKey(bad); !errors.Is(err, store.ErrBadKey) {
			t.Errorf("ParseManualPhaseKey(%q) = %q, %q, %v, want ErrBadKey", bad, host, uid, err)
		}
	}
}

func TestSAKeys(t *testing.T) {
	pair := store.PairID{0: 0xab, 15: 1}
	if got, want := store.SAKey(pair, 7), "sa/key/ab000000000000000000000000000001/0000000007"; got != want {
		t.Errorf("SAKey = %q, want %q", got, want)
	}
	if store.SAPhaseKey(pair, 9) >= store.SAPhaseKey(pair, 10) {
		t.Error("generation 9 does not sort before 10")
	}
	for _, generation := range []uint32{0, 1, 1<<32 - 1} {
		p, g, err := store.ParseSAPhaseKey(store.SAPhaseKey(pair, generation))
		if p != pair || g != generation || err != nil {
			t.Errorf("generation %d: %v, %d, %v", generation, p, g, err)
		}
	}
	good := store.SAKey(pair, 1)
	bad := []string{"", "sa/key/", good + "0", good + "/x", strings.ToUpper(good), strings.Replace(good, "ab", "AB", 1),
		strings.Replace(good, "ab", "xy", 1), strings.Replace(good, "/0000000001", "/9999999999", 1),
		strings.Replace(good, "/0000000001", "/+000000001", 1), store.SAPhaseKey(pair, 1)}
	for i := range good {
		bad = append(bad, good[:i])
	}
	for _, key := range bad {
		if p, g, err := store.ParseSAKey(key); !errors.Is(err, store.ErrBadKey) {
			t.Errorf("ParseSAKey(%q) = %v, %d, %v, want ErrBadKey", key, p, g, err)
		}
	}
}

// A name that a builder accepts comes back from its parser, and its key stays
// under the prefix as one more segment.
func FuzzSpecKey(f *testing.F) {
	for _, name := range append(escapes, "host-1") {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		key, err := store.SpecKey(store.KindHost, name)
		if err != nil {
			return
		}
		if strings.Count(key, "/") != 2 || strings.Contains(key, "..") && !strings.Contains(name, "..") {
			t.Fatalf("key %q", key)
		}
		if _, back, err := store.ParseSpecKey(key); back != name || err != nil {
			t.Fatalf("ParseSpecKey(%q) = %q, %v", key, back, err)
		}
		if err := store.CheckKey(key); err != nil {
			t.Fatal(err)
		}
	})
}
