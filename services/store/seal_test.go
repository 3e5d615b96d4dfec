package store_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// sealers are the two ways to seal, with the same contract.
func sealers(k *store.Keyring) map[string]struct {
	seal   func(path string, plaintext []byte) ([]byte, error)
	unseal func(path string, sealed []byte) ([]byte, error)
} {
	type pair = struct {
		seal   func(path string, plaintext []byte) ([]byte, error)
		unseal func(path string, sealed []byte) ([]byte, error)
	}
	return map[string]pair{
		"root": {k.Seal, k.Unseal},
		"traffic": {func(path string, plaintext []byte) ([]byte, error) {
			return k.SealTraffic(path, plaintext, time.Now().Add(time.Hour))
		}, k.UnsealTraffic},
	}
}

func TestSealRoundTrip(t *testing.T) {
	for name, s := range sealers(storetest.Keyring(t)) {
		for _, plaintext := range [][]byte{{}, []byte("secret"), bytes.Repeat([]byte{7}, 100_000)} {
			sealed := must(s.seal("/p/a", plaintext))(t)
			if len(sealed) != len(plaintext)+store.SealOverhead {
				t.Errorf("%s: %d bytes for %d", name, len(sealed), len(plaintext))
			}
			if len(plaintext) > 0 && bytes.Contains(sealed, plaintext) {
				t.Errorf("%s: the plaintext shows", name)
			}
			if got, err := s.unseal("/p/a", sealed); err != nil || !bytes.Equal(got, plaintext) {
				t.Errorf("%s: %d bytes came back, %v", name, len(got), err)
			}
			if again := must(s.seal("/p/a", plaintext))(t); bytes.Equal(again[:store.SealOverhead-16], sealed[:store.SealOverhead-16]) {
				t.Errorf("%s: two writes share a data key", name)
			}
		}
	}
}

func TestSealedValuesAreBound(t *testing.T) {
	for name, s := range sealers(storetest.Keyring(t)) {
		sealed := must(s.seal("/p/a", []byte("secret")))(t)
		for _, path := range []string{"/p/b", "/p/", "/p/a/", "", "/q/a"} {
			if _, err := s.unseal(path, sealed); !errors.Is(err, store.ErrSeal) {
				t.Errorf("%s: path %q: %v, want ErrSeal", name, path, err)
			}
		}
		for n := range sealed {
			if _, err := s.unseal("/p/a", sealed[:n]); !errors.Is(err, store.ErrSeal) {
				t.Errorf("%s: first %d bytes: %v, want ErrSeal", name, n, err)
			}
		}
		for bit := range 8 * len(sealed) {
			bad := bytes.Clone(sealed)
			bad[bit/8] ^= 1 << (bit % 8)
			if _, err := s.unseal("/p/a", bad); !errors.Is(err, store.ErrSeal) {
				t.Errorf("%s: bit %d flipped: %v, want ErrSeal", name, bit, err)
			}
		}
		if _, err := s.unseal("/p/a", append(bytes.Clone(sealed), 0)); !errors.Is(err, store.ErrSeal) {
			t.Errorf("%s: a byte added: %v, want ErrSeal", name, err)
		}
	}
}

// The format, computed here from its description: a change of it would make
// every stored secret unreadable.
// TestFingerprint: equal secrets have equal fingerprints under one root key, and nobody without it can make one.
func TestFingerprint(t *testing.T) {
	k, other := storetest.Keyring(t), storetest.Keyring(t)
	a := must(k.Fingerprint([]byte("a")))(t)
	if len(a) != 32 || a != must(k.Fingerprint([]byte("a")))(t) || a == must(k.Fingerprint([]byte("b")))(t) || a == must(other.Fingerprint([]byte("a")))(t) {
		t.Errorf("fingerprint %q", a)
	}
	bare := must(store.Open(bounded(t), store.Config{Endpoints: storetest.New(t).Endpoints(), Prefix: "/test/bare/"}))(t)
	t.Cleanup(func() { bare.Close() })
	if mark, err := bare.Fingerprint([]byte("a")); !errors.Is(err, store.ErrSeal) || mark != "" {
		t.Errorf("without a keyring: %q, %v", mark, err)
	}
}

func TestSealFormat(t *testing.T) {
	c, _ := places(t)
	k := must(store.OpenKeyring(c))(t)
	root := must(os.ReadFile(c.RootKeyFile))(t)
	sealed := must(k.Seal("/p/a", []byte("secret")))(t)
	id := must(hkdf.Key(sha256.New, root, nil, "sallyport store root key id v1", 8))(t)
	if want := append([]byte("SPS\x01R"), id...); !bytes.HasPrefix(sealed, want) {
		t.Fatalf("begins with %x, want %x", sealed[:13], want)
	}
	data := must(hkdf.Key(sha256.New, root, sealed[13:45], "sallyport store seal v1\x00/p/a", 32))(t)
	aead := must(cipher.NewGCM(must(aes.NewCipher(data))(t)))(t)
	got, err := aead.Open(nil, make([]byte, 12), sealed[45:], append(bytes.Clone(sealed[:45]), "/p/a"...))
	if err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSealKindsAreApart(t *testing.T) {
	k := storetest.Keyring(t)
	root := must(k.Seal("/p/a", []byte("x")))(t)
	traffic := must(k.SealTraffic("/p/a", []byte("x"), time.Now().Add(time.Hour)))(t)
	if _, err := k.UnsealTraffic("/p/a", root); !errors.Is(err, store.ErrSeal) {
		t.Errorf("a root blob as traffic: %v", err)
	}
	if _, err := k.Unseal("/p/a", traffic); !errors.Is(err, store.ErrSeal) {
		t.Errorf("a traffic blob as root: %v", err)
	}
	if _, err := storetest.Keyring(t).Unseal("/p/a", root); !errors.Is(err, store.ErrSeal) {
		t.Errorf("another root key: %v", err)
	}
	if _, err := storetest.Keyring(t).UnsealTraffic("/p/a", traffic); !errors.Is(err, store.ErrSeal) {
		t.Errorf("another traffic directory: %v", err)
	}
}

func TestStoreSealsForItsPrefix(t *testing.T) {
	a := storetest.New(t)
	b := must(store.Open(bounded(t), store.Config{Endpoints: a.Endpoints(), Prefix: "/test/other/", Keys: a.Keys()}))(t)
	t.Cleanup(func() { b.Close() })
	sealed := must(a.Seal("identity/ca/1", []byte("x")))(t)
	if _, err := b.Unseal("identity/ca/1", sealed); !errors.Is(err, store.ErrSeal) {
		t.Errorf("another prefix: %v, want ErrSeal", err)
	}
	if got, err := a.Unseal("identity/ca/1", sealed); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	traffic := must(a.SealTraffic("sa/key/x", []byte("y"), time.Now().Add(time.Hour)))(t)
	if got, err := a.UnsealTraffic("sa/key/x", traffic); err != nil || string(got) != "y" {
		t.Errorf("%q, %v", got, err)
	}
	bare := must(store.Open(bounded(t), store.Config{Endpoints: a.Endpoints(), Prefix: "/test/bare/"}))(t)
	t.Cleanup(func() { bare.Close() })
	if _, err := bare.Seal("ipam", nil); !errors.Is(err, store.ErrSeal) {
		t.Errorf("without a keyring: %v, want ErrSeal", err)
	}
}

// places is a keyring configuration in a fresh directory, with a settable clock.
func places(t *testing.T) (store.KeyringConfig, *time.Time) {
	t.Helper()
	dir := t.TempDir()
	now := time.Date(2026, 3, 1, 10, 20, 0, 0, time.UTC)
	return store.KeyringConfig{
		RootKeyFile: filepath.Join(dir, "root.key"), TrafficDir: filepath.Join(dir, "traffic"),
		DataDir: filepath.Join(dir, "etcd"), Now: func() time.Time { return now },
	}, &now
}

func TestRootKeyIsCreatedOnceAndLoudly(t *testing.T) {
	c, _ := places(t)
	var log bytes.Buffer
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	shared := storetest.New(t)
	begin := func(keys *store.Keyring) {
		s := must(store.Open(bounded(t), store.Config{Endpoints: shared.Endpoints(), Prefix: shared.Prefix(), Keys: keys}))(t)
		defer s.Close()
		must(s.Begin(bounded(t)))(t)
	}
	first := must(store.OpenKeyring(c))(t)
	begin(first)
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), c.RootKeyFile) {
		t.Errorf("no loud notice: %q", log.String())
	}
	info := must(os.Stat(c.RootKeyFile))(t)
	if info.Mode() != 0o600 || info.Size() != 32 {
		t.Errorf("root key file: mode %v, %d bytes", info.Mode(), info.Size())
	}
	if key := must(os.ReadFile(c.RootKeyFile))(t); strings.Contains(log.String(), fmt.Sprintf("%x", key)) {
		t.Error("the key is in the log")
	}
	sealed := must(first.Seal("/p/a", []byte("x")))(t)
	log.Reset()
	second := must(store.OpenKeyring(c))(t)
	begin(second)
	if got, err := second.Unseal("/p/a", sealed); err != nil || string(got) != "x" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
	if log.Len() != 0 {
		t.Errorf("second start logs %q", log.String())
	}
}

func TestKeyringRefusesUnsafePlaces(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(t *testing.T, c *store.KeyringConfig)
		want    string
	}{
		{"root key in the data directory", func(_ *testing.T, c *store.KeyringConfig) {
			c.RootKeyFile = filepath.Join(c.DataDir, "sub", "root.key")
		}, "lies in etcd's data directory"},
		{"root key through dots", func(_ *testing.T, c *store.KeyringConfig) { c.RootKeyFile = c.DataDir + "/x/../root.key" }, "lies in etcd's data directory"},
		{"root key through a link", func(t *testing.T, c *store.KeyringConfig) {
			link := filepath.Join(t.TempDir(), "link")
			if err := errors.Join(os.MkdirAll(c.DataDir, 0o700), os.Symlink(c.DataDir, link)); err != nil {
				t.Fatal(err)
			}
			c.RootKeyFile = filepath.Join(link, "root.key")
		}, "lies in etcd's data directory"},
		{"traffic keys in the data directory", func(_ *testing.T, c *store.KeyringConfig) { c.TrafficDir = filepath.Join(c.DataDir, "keys") }, "lies in etcd's data directory"},
		{"traffic keys are the data directory", func(_ *testing.T, c *store.KeyringConfig) { c.TrafficDir = c.DataDir }, "lies in etcd's data directory"},
		{"group may read", func(t *testing.T, c *store.KeyringConfig) { keyFile(t, c.RootKeyFile, 32, 0o640) }, "open to other users"},
		{"world may read", func(t *testing.T, c *store.KeyringConfig) { keyFile(t, c.RootKeyFile, 32, 0o604) }, "open to other users"},
		{"short key", func(t *testing.T, c *store.KeyringConfig) { keyFile(t, c.RootKeyFile, 31, 0o600) }, "31 bytes"},
		{"empty key", func(t *testing.T, c *store.KeyringConfig) { keyFile(t, c.RootKeyFile, 0, 0o600) }, "0 bytes"},
		{"long key", func(t *testing.T, c *store.KeyringConfig) { keyFile(t, c.RootKeyFile, 33, 0o600) }, "33 bytes"},
		{"a directory for a key", func(t *testing.T, c *store.KeyringConfig) {
			if err := os.Mkdir(c.RootKeyFile, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		{"open traffic directory", func(t *testing.T, c *store.KeyringConfig) {
			if err := os.Mkdir(c.TrafficDir, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "open to other users"},
		{"no place for the root key", func(_ *testing.T, c *store.KeyringConfig) { c.RootKeyFile = "" }, "needs a root key file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := places(t)
			tt.arrange(t, &c)
			if _, err := store.OpenKeyring(c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	c, _ := places(t) // a sibling whose name only begins like the data directory's
	c.RootKeyFile = c.DataDir + "-root.key"
	must(store.OpenKeyring(c))(t)
}

func keyFile(t *testing.T, path string, size int, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, make([]byte, size), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func TestKeyringIsRedacted(t *testing.T) {
	c, _ := places(t)
	k := must(store.OpenKeyring(c))(t)
	key := must(os.ReadFile(c.RootKeyFile))(t)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "keys", k)
	all := fmt.Sprintf("%v %+v %#v %s %s", k, k, k, k, log.String())
	all += string(must(json.Marshal(k))(t))
	for _, form := range []string{string(key), fmt.Sprintf("%x", key), fmt.Sprint(key)} {
		if strings.Contains(all, form) {
			t.Errorf("the key shows in %q", all)
		}
	}
	if strings.Count(all, "redacted") < 6 {
		t.Errorf("not redacted: %q", all)
	}
}

func TestSweepDestroysWhatHasExpired(t *testing.T) {
	c, now := places(t)
	k := must(store.OpenKeyring(c))(t)
	begin := *now
	sealed := must(k.SealTraffic("/p/a", []byte("a"), begin.Add(8*time.Hour)))(t)
	longer := must(k.SealTraffic("/p/b", []byte("b"), begin.Add(12*time.Hour)))(t)
	must(k.SealTraffic("/p/c", []byte("c"), begin.Add(time.Hour)))(t) // must not lower it
	*now = begin.Add(time.Hour)
	next := must(k.SealTraffic("/p/d", []byte("d"), now.Add(20*time.Hour)))(t)
	if bytes.Equal(sealed[5:13], next[5:13]) {
		t.Error("two hours share a key")
	}
	path := filepath.Join(c.TrafficDir, "20260301T10.key")
	if info := must(os.Stat(path))(t); info.Mode() != 0o600 {
		t.Errorf("hourly key has mode %v", info.Mode())
	}
	held := must(os.Open(path))(t) // to see that it is overwritten, not just unlinked
	defer held.Close()

	*now = begin.Add(12 * time.Hour)
	if n, err := k.Sweep(*now); n != 0 || err != nil {
		t.Errorf("sweep before the last hard expiry: %d, %v", n, err)
	}
	k = must(store.OpenKeyring(c))(t) // the expiry outlives the process
	if n, err := k.Sweep(*now); n != 0 || err != nil {
		t.Errorf("sweep after a restart: %d, %v", n, err)
	}
	for path, blob := range map[string][]byte{"/p/a": sealed, "/p/b": longer, "/p/d": next} {
		if _, err := k.UnsealTraffic(path, blob); err != nil {
			t.Errorf("%s before its expiry: %v", path, err)
		}
	}
	*now = begin.Add(13 * time.Hour)
	if n, err := k.Sweep(*now); n != 1 || err != nil {
		t.Errorf("sweep after the last hard expiry: %d, %v, want 1", n, err)
	}
	if _, err := k.UnsealTraffic("/p/a", sealed); !errors.Is(err, store.ErrSeal) {
		t.Errorf("a destroyed key still opens: %v", err)
	}
	if _, err := k.UnsealTraffic("/p/d", next); err != nil {
		t.Errorf("the other hour's key: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	rest := make([]byte, 64)
	if n, _ := held.ReadAt(rest, 0); !bytes.Equal(rest[:n], make([]byte, n)) || n < 32 {
		t.Errorf("the %d bytes were not overwritten", n)
	}
}

func TestSweepSparesTheRunningHour(t *testing.T) {
	c, now := places(t)
	k := must(store.OpenKeyring(c))(t)
	sealed := must(k.SealTraffic("/p/a", []byte("a"), now.Add(time.Second)))(t)
	*now = now.Add(30 * time.Minute)
	if n, err := k.Sweep(*now); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := k.UnsealTraffic("/p/a", sealed); err != nil {
		t.Error(err)
	}
	*now = now.Add(time.Hour)
	if n, err := k.Sweep(*now); n != 1 || err != nil {
		t.Errorf("after the hour: %d, %v, want 1", n, err)
	}
}

// Two processes share the directory: neither lowers what the other promised.
func TestTrafficDirectoryIsShared(t *testing.T) {
	c, now := places(t)
	a, b := must(store.OpenKeyring(c))(t), must(store.OpenKeyring(c))(t)
	begin := *now
	must(a.SealTraffic("/p/a", []byte("a"), begin.Add(2*time.Hour)))(t)
	late := must(b.SealTraffic("/p/b", []byte("b"), begin.Add(20*time.Hour)))(t)
	must(a.SealTraffic("/p/c", []byte("c"), begin.Add(5*time.Hour)))(t)
	*now = begin.Add(10 * time.Hour)
	if n, err := a.Sweep(*now); n != 0 || err != nil {
		t.Fatalf("sweep: %d, %v", n, err)
	}
	if got, err := a.UnsealTraffic("/p/b", late); err != nil || string(got) != "b" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSealTrafficBoundsTheExpiry(t *testing.T) {
	c, now := places(t)
	k := must(store.OpenKeyring(c))(t)
	for _, d := range []time.Duration{-time.Hour, 0, store.MaxHardLifetime + time.Second} {
		if _, err := k.SealTraffic("/p/a", nil, now.Add(d)); err == nil {
			t.Errorf("expiry in %v was accepted", d)
		}
	}
	if entries := must(os.ReadDir(c.TrafficDir))(t); len(entries) != 1 || entries[0].Name() != "CACHEDIR.TAG" {
		t.Errorf("the directory holds %v", entries)
	}
}
