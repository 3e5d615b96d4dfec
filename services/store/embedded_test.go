package store_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/store"
)

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir := must(os.MkdirTemp("", "spemb-*"))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestEmbeddedKeepsItsData(t *testing.T) {
	dir := shortDir(t)
	data := filepath.Join(dir, "data")
	for run := range 2 {
		e := must(store.StartEmbedded(store.EmbeddedConfig{DataDir: data}))(t)
		t.Cleanup(func() { e.Close() })
		if got, want := e.Endpoints()[0], "unix://"+data+"/etcd.sock"; got != want {
			t.Errorf("endpoint %s, want %s", got, want)
		}
		s := must(store.Open(bounded(t), store.Config{Endpoints: e.Endpoints()}))(t)
		inc := must(s.Begin(bounded(t)))(t)
		if run == 0 {
			put(t, s, "fleet", "x")
		} else if kv := must(s.Get(bounded(t), "fleet"))(t); string(kv.Value) != "x" || inc.ModRevision >= kv.ModRevision {
			t.Errorf("after a restart: %+v, incarnation %+v", kv, inc)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
	for _, path := range []string{data, filepath.Join(data, "member")} {
		if mode := must(os.Stat(path))(t).Mode().Perm(); mode != 0o700 {
			t.Errorf("%s has mode %v", path, mode)
		}
	}
}

// TestEmbeddedThatStops: a controller must not go on without its store.
func TestEmbeddedThatStops(t *testing.T) {
	e := must(store.StartEmbedded(store.EmbeddedConfig{DataDir: shortDir(t)}))(t)
	t.Cleanup(func() { e.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Wait(ctx); err != nil {
		t.Errorf("a member that runs: %v", err)
	}
	store.StopMember(e)
	if err := e.Wait(bounded(t)); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("a member that has stopped: %v", err)
	}
}

// TestEmbeddedClosesQuietly: an operator who stops a controller shall see no error.
func TestEmbeddedClosesQuietly(t *testing.T) {
	var out bytes.Buffer
	e := must(store.StartEmbedded(store.EmbeddedConfig{DataDir: shortDir(t), Log: slog.New(slog.NewTextHandler(&out, nil))}))(t)
	s := must(store.Open(bounded(t), store.Config{Endpoints: e.Endpoints()}))(t)
	must(s.View(t.Context()))(t)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	out.Reset()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if out.Len() > 0 {
		t.Errorf("closing says:\n%s", out.String())
	}
}

func TestEmbeddedListensOnNothingElse(t *testing.T) {
	e := must(store.StartEmbedded(store.EmbeddedConfig{DataDir: shortDir(t)}))(t)
	t.Cleanup(func() { e.Close() })
	if n := listeners(t); n != 0 {
		t.Errorf("%d TCP listeners", n)
	}
}

// listeners counts this process's listening TCP sockets.
func listeners(t *testing.T) int {
	t.Helper()
	mine := make(map[string]bool)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	for _, fd := range fds {
		link, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			mine[strings.TrimSuffix(inode, "]")] = true
		}
	}
	n := 0
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		raw, err := os.ReadFile(table)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(raw)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && mine[f[9]] {
				n++
			}
		}
	}
	return n
}

func TestEmbeddedOnLoopback(t *testing.T) {
	e := must(store.StartEmbedded(store.EmbeddedConfig{DataDir: shortDir(t), Listen: "127.0.0.1:23790"}))(t)
	t.Cleanup(func() { e.Close() })
	if n := listeners(t); n != 1 {
		t.Errorf("%d TCP listeners, want the one asked for", n)
	}
	s := must(store.Open(bounded(t), store.Config{Endpoints: e.Endpoints()}))(t)
	put(t, s, "fleet", "x")
	s.Close()
}

func TestEmbeddedRefuses(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	open := filepath.Join(dir, "open")
	keyFile(t, file, 1, 0o600)
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(dir, "private")
	tests := []struct {
		name string
		c    store.EmbeddedConfig
		want string
	}{
		{"no directory", store.EmbeddedConfig{}, "needs a data directory"},
		{"a file for a directory", store.EmbeddedConfig{DataDir: filepath.Join(file, "x")}, "not a directory"},
		{"a directory open to others", store.EmbeddedConfig{DataDir: open}, "chmod 0700"},
		{"an open socket directory", store.EmbeddedConfig{DataDir: private, SocketDir: open}, "chmod 0700"},
		{"all addresses", store.EmbeddedConfig{DataDir: private, Listen: "0.0.0.0:2379"}, "loopback"},
		{"all addresses, IPv6", store.EmbeddedConfig{DataDir: private, Listen: "[::]:2379"}, "loopback"},
		{"empty host", store.EmbeddedConfig{DataDir: private, Listen: ":2379"}, "loopback"},
		{"a foreign address", store.EmbeddedConfig{DataDir: private, Listen: "192.0.2.1:2379"}, "loopback"},
		{"a name", store.EmbeddedConfig{DataDir: private, Listen: "localhost:2379"}, "loopback"},
		{"no port", store.EmbeddedConfig{DataDir: private, Listen: "127.0.0.1"}, "loopback"},
		{"a long path", store.EmbeddedConfig{DataDir: filepath.Join(dir, strings.Repeat("x", 100))}, "shorter socket directory"},
		{"a path that no URL carries", store.EmbeddedConfig{DataDir: private, SocketDir: filepath.Join(dir, "a b%")}, "another socket directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := store.StartEmbedded(tt.c)
			if err == nil {
				e.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestEmbeddedRefusesUnwritable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere: runs as an ordinary user only")
	}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := store.StartEmbedded(store.EmbeddedConfig{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "not writable") {
		t.Errorf("error %v, want one that says so", err)
	}
}

func TestEmbeddedDirectoryInUse(t *testing.T) {
	c := store.EmbeddedConfig{DataDir: shortDir(t)}
	e := must(store.StartEmbedded(c))(t)
	t.Cleanup(func() { e.Close() })
	refused := func(when string) {
		t.Helper()
		if _, err := store.StartEmbedded(c); err == nil || !strings.Contains(err.Error(), "in use by another process") {
			t.Errorf("%s: error %v, want one that says it is in use", when, err)
		}
	}
	refused("second start")
	// An etcd that knows nothing of our lock file.
	if err := os.Remove(filepath.Join(c.DataDir, "lock")); err != nil {
		t.Fatal(err)
	}
	refused("without our lock")
	s := must(store.Open(bounded(t), store.Config{Endpoints: e.Endpoints()}))(t)
	put(t, s, "fleet", "the refused start broke nothing")
	s.Close()
}
