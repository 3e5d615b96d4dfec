package storetest

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/sallyport/services/store"
)

// Link is a connection to etcd that a test can cut: a relay between a Store and
// the real server.
type Link struct {
	target string
	listen net.Listener

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
}

// Linked opens a Store on the prefix and keys of s whose connection goes through
// a Link.
func Linked(t testing.TB, s *store.Store) (*store.Store, *Link) {
	t.Helper()
	dir, err := os.MkdirTemp("", "splink-*") // a short path, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l := &Link{target: strings.TrimPrefix(s.Endpoints()[0], "unix://"), conns: make(map[net.Conn]struct{})}
	if l.listen, err = net.Listen("unix", path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.listen.Close(); l.Cut() })
	go l.serve()
	linked, err := store.Open(t.Context(), store.Config{Endpoints: []string{"unix://" + path}, Prefix: s.Prefix(), Keys: s.Keys()})
	if err != nil {
		t.Fatalf("open store over the link: %v", err)
	}
	t.Cleanup(func() { linked.Close() })
	return linked, l
}

func (l *Link) serve() {
	for {
		conn, err := l.listen.Accept()
		if err != nil {
			return
		}
		go l.relay(conn)
	}
}

func (l *Link) relay(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("unix", l.target)
	if err != nil {
		return
	}
	defer far.Close()
	if !l.admit(near, far) {
		return
	}
	done := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		io.Copy(to, from)
		done <- struct{}{}
	}
	go pipe(far, near)
	go pipe(near, far)
	<-done
}

func (l *Link) admit(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	for _, c := range conns {
		l.conns[c] = struct{}{}
	}
	return true
}

// Cut breaks all connections, and new ones until Heal.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.conns {
		c.Close()
	}
	clear(l.conns)
}

// Heal lets connections through again.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}
