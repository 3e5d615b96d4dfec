package manual

import (
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/sallyport/services/atomicfile"
)

func openReservations(t *testing.T, dir string) *Reservations {
	t.Helper()
	r, err := OpenReservations(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func mustReserve(t *testing.T, r *Reservations, key Fingerprint, esn bool, sequence, ceiling uint64) {
	t.Helper()
	s, c, err := r.Reserve(key, esn)
	if err != nil || s != sequence || c != ceiling {
		t.Fatalf("Reserve: %d to %d, %v; want %d to %d", s, c, err, sequence, ceiling)
	}
}

func TestReservations(t *testing.T) {
	dir := t.TempDir()
	a, b := fingerprint([]byte("a")), fingerprint([]byte("b"))
	r := openReservations(t, dir)
	mustReserve(t, r, a, true, 0, Block)
	if c, err := r.Extend(a, true, Block); err != nil || c != 2*Block {
		t.Fatalf("Extend: %d, %v", c, err)
	}
	mustReserve(t, r, b, false, 0, Block)
	if _, err := r.Extend(a, true, Block); !errors.Is(err, ErrNotLast) {
		t.Errorf("Extend behind another reservation: %v", err)
	}
	if _, err := OpenReservations(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	r.Close()
	for life := range uint64(3) { // a key that comes back goes on
		r = openReservations(t, dir)
		mustReserve(t, r, a, true, (2+life)*Block, (3+life)*Block)
		r.Close()
	}
	info, err := os.Stat(filepath.Join(dir, sequenceFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// The first number, the last one, and nothing behind it.
func TestReservationsEnd(t *testing.T) {
	for _, tt := range []struct {
		esn      bool
		reserved uint64
		ceiling  uint64 // 0: exhausted
	}{
		{false, 0, Block},
		{false, math.MaxUint32 - Block, math.MaxUint32},
		{false, math.MaxUint32 - 1, math.MaxUint32},
		{false, math.MaxUint32, 0},
		{false, 1 << 40, 0}, // used with ESN before
		{true, math.MaxUint32, math.MaxUint32 + Block},
		{true, math.MaxInt64 - 5, math.MaxInt64},
		{true, math.MaxInt64, 0},
		{true, math.MaxUint64, 0},
	} {
		r := openReservations(t, t.TempDir())
		key := fingerprint(nil)
		r.reserved[key] = tt.reserved
		s, c, err := r.Reserve(key, tt.esn)
		if tt.ceiling == 0 {
			if !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), "new key") {
				t.Errorf("above %d: %d to %d, %v", tt.reserved, s, c, err)
			}
			if _, err := r.Extend(key, tt.esn, tt.reserved); !errors.Is(err, ErrExhausted) {
				t.Errorf("Extend above %d: %v", tt.reserved, err)
			}
			continue
		}
		if err != nil || s != tt.reserved || c != tt.ceiling {
			t.Errorf("above %d: %d to %d, %v; want %d", tt.reserved, s, c, err, tt.ceiling)
		}
	}
}

// Numbers are on disk before anybody has them: a crash at any moment costs numbers and repeats none.
func TestReservationsCrash(t *testing.T) {
	dir := t.TempDir()
	key := fingerprint([]byte("k"))
	crash := errors.New("the power is gone")
	highest := uint64(0)
	for i := range 30 {
		r := openReservations(t, dir)
		handedOut := true
		switch i % 3 {
		case 1: // between write and rename
			r.replace = func(path string, content []byte) error {
				if err := os.WriteFile(path+".1234", content[:len(content)/2], 0o600); err != nil {
					t.Fatal(err)
				}
				return crash
			}
			handedOut = false
		case 2: // after the rename
			r.replace = func(path string, content []byte) error {
				if err := atomicfile.Replace(path, content); err != nil {
					t.Fatal(err)
				}
				return crash
			}
			handedOut = false
		}
		s, c, err := r.Reserve(key, true)
		if handedOut != (err == nil) || !handedOut && !errors.Is(err, crash) {
			t.Fatalf("life %d: %v", i, err)
		}
		if handedOut {
			if s < highest {
				t.Fatalf("life %d: begins at %d, numbers up to %d were used", i, s, highest)
			}
			highest = c
		}
		r.Close()
	}
}

// A failure of the disk hands out nothing, and the next attempt begins where it would have.
func TestReservationsDiskFails(t *testing.T) {
	r := openReservations(t, t.TempDir())
	key := fingerprint(nil)
	full := errors.New("no space left")
	good := r.replace
	r.replace = func(string, []byte) error { return full }
	if _, _, err := r.Reserve(key, true); !errors.Is(err, full) {
		t.Fatal(err)
	}
	r.replace = good
	mustReserve(t, r, key, true, 0, Block)
	r.replace = func(string, []byte) error { return full }
	if _, err := r.Extend(key, true, Block); !errors.Is(err, full) {
		t.Fatal(err)
	}
	r.replace = good
	if c, err := r.Extend(key, true, Block); err != nil || c != 2*Block {
		t.Errorf("%d, %v", c, err)
	}
}

func TestReservationsConcurrent(t *testing.T) {
	dir := t.TempDir()
	r := openReservations(t, dir)
	var mu sync.Mutex
	seen := make(map[Fingerprint]map[uint64]bool)
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			key := fingerprint([]byte{byte(g % 2)})
			for range 10 {
				s, c, err := r.Reserve(key, true)
				mu.Lock()
				if seen[key] == nil {
					seen[key] = make(map[uint64]bool)
				}
				if err != nil || c != s+Block || seen[key][s] {
					t.Errorf("%d to %d, %v; twice: %v", s, c, err, seen[key][s])
				}
				seen[key][s] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	r.Close()
	again := openReservations(t, dir)
	for key := range seen {
		if again.reserved[key] != 20*Block {
			t.Errorf("%d are on disk", again.reserved[key])
		}
	}
}

// A damaged file is never taken for an empty one.
func TestReservationsDamaged(t *testing.T) {
	good, err := encodeReserved(map[Fingerprint]uint64{fingerprint([]byte("a")): 4194304, fingerprint([]byte("b")): 8388608})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{
		"other number":  strings.Replace(string(good), "4194304", "4194305", 1),
		"other version": strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"more behind":   string(good) + "{}",
		"brace behind":  string(good) + "}",
		"null":          "null", "none": "{}", "list": "[]",
		"nothing reserved": `{"version": 1, "reserved": null, "sha256": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"}`,
	}
	for n := range len(good) - 1 { // without the last line feed it is whole
		texts["the first "+string(good[:n])] = string(good[:n])
	}
	for what, text := range texts {
		dir := t.TempDir()
		path := filepath.Join(dir, sequenceFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it stays so
			_, err := OpenReservations(dir)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "new keys") || !strings.Contains(err.Error(), path) {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if left, err := os.ReadFile(path); err != nil || string(left) != text {
			t.Errorf("%s: the file was changed", what)
		}
	}
}

func FuzzReservations(f *testing.F) {
	for _, reserved := range []map[Fingerprint]uint64{{}, {fingerprint(nil): 1}, {fingerprint(nil): 1, fingerprint([]byte("x")): math.MaxUint64}} {
		text, err := encodeReserved(reserved)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"version":1,"reserved":{"AB":-1},"sha256":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := decodeReserved(text)
		if err != nil {
			return
		}
		again, err := encodeReserved(got)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeReserved(again); err != nil || !maps.Equal(back, got) {
			t.Fatalf("%v, %v; want %v", back, err, got)
		}
	})
}

// The key, its salt and nothing else decide: under another SPI the nonces would be the same.
func TestFingerprint(t *testing.T) {
	a := fingerprint([]byte("key"))
	if a != fingerprint([]byte("key")) || a == fingerprint([]byte("kez")) || strings.Contains(a.String(), "6b6579") {
		t.Error(a)
	}
	text, _ := a.MarshalText()
	var b Fingerprint
	if err := b.UnmarshalText(text); err != nil || a != b {
		t.Error(b, err)
	}
	for _, bad := range []string{"", string(text[1:]), strings.ToUpper(string(text)), string(text) + "00", strings.Repeat("g", len(text))} {
		if err := b.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
