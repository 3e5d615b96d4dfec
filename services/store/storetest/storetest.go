// Package storetest gives tests a Store on a real embedded etcd, started once
// for each test binary; every test has a prefix of its own.
package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sallyport.dev/sallyport/services/store"
)

// server is the test binary's etcd. It lives until the process exits.
type server struct {
	embedded *store.Embedded
	client   *clientv3.Client
	alive    io.Closer // closed, it would delete the directory: see removeAtExit
}

var shared = sync.OnceValues(start)

var prefixes atomic.Int64

// New returns a Store with an empty prefix of its own and a Keyring. The test's
// end closes it and deletes the prefix.
func New(t testing.TB) *store.Store {
	t.Helper()
	prefix := fmt.Sprintf("/test/%d/%s/", prefixes.Add(1), rand.Text())
	t.Cleanup(func() { deletePrefix(t, prefix) })
	return open(t, prefix, Keyring(t))
}

// Another opens a second Store, as another process would, on the prefix of s and
// with the same keys.
func Another(t testing.TB, s *store.Store) *store.Store {
	t.Helper()
	return open(t, s.Prefix(), s.Keys())
}

// Client is a raw client of the test binary's etcd, for what a Store cannot do:
// compaction, writes outside the prefix.
func Client(t testing.TB) *clientv3.Client {
	t.Helper()
	srv, err := shared()
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	return srv.client
}

// Keyring returns a keyring with a fresh root key in the test's directory.
func Keyring(t testing.TB) *store.Keyring {
	t.Helper()
	dir := t.TempDir()
	keys, err := store.OpenKeyring(store.KeyringConfig{
		RootKeyFile: filepath.Join(dir, "root.key"),
		TrafficDir:  filepath.Join(dir, "traffic"),
		DataDir:     filepath.Join(dir, "etcd"),
	})
	if err != nil {
		t.Fatalf("keyring: %v", err)
	}
	return keys
}

func open(t testing.TB, prefix string, keys *store.Keyring) *store.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	Client(t)
	srv, _ := shared()
	s, err := store.Open(ctx, store.Config{Endpoints: srv.embedded.Endpoints(), Prefix: prefix, Keys: keys})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func deletePrefix(t testing.TB, prefix string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := Client(t).Delete(ctx, prefix, clientv3.WithPrefix()); err != nil {
		t.Errorf("delete the test's keys: %v", err)
	}
}

func start() (*server, error) {
	// Not t.TempDir: a unix socket's path is short, and this outlives the test.
	dir, err := os.MkdirTemp("", "spetcd-*")
	if err != nil {
		return nil, err
	}
	alive, err := removeAtExit(dir)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	embedded, err := store.StartEmbedded(store.EmbeddedConfig{DataDir: dir})
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: embedded.Endpoints()})
	if err != nil {
		return nil, err
	}
	return &server{embedded: embedded, client: client, alive: alive}, nil
}

// removeAtExit has a child delete dir when this process is gone, however it
// ends: the child waits for the end of a pipe that only this process holds.
func removeAtExit(dir string) (io.Closer, error) {
	cmd := exec.Command("sh", "-c", `trap "" INT TERM HUP; cat >/dev/null; rm -rf -- "$1"`, "sh", dir)
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the clean-up process: %w", err)
	}
	return pipe, nil
}
