//go:build linux

package station

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestStation asks a station over a pipe for everything, on loopback.
func TestStation(t *testing.T) {
	s, err := New(0)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- s.Serve(far) }()
	c := NewClient("it", near)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	if out, err := c.Run(ctx, "cat; echo there >&2", []byte("here\n")); err != nil || out != "here\nthere\n" {
		t.Errorf("run: %q, %v", out, err)
	}
	if _, err := c.Run(ctx, "echo why; exit 3", nil); err == nil || !strings.Contains(err.Error(), "exit 3: why") {
		t.Errorf("a script that fails: %v", err)
	}
	for _, a := range []string{"127.0.0.1", "::1"} {
		local := netip.MustParseAddr(a)
		if err := c.Transfer(ctx, Transfer{Source: local, Destination: netip.AddrPortFrom(local, s.port), Size: 100_000, Timeout: 20 * time.Second}); err != nil {
			t.Error(err)
		}
		if os.Geteuid() != 0 {
			continue // raw sockets
		}
		if err := c.Ping(ctx, Echo{Source: local, Destination: local, Size: 4000, Timeout: 5 * time.Second}); err != nil {
			t.Error(err)
		}
	}
	if err := c.Reset(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestContent: every block can be told from every other, and the word is in it.
func TestContent(t *testing.T) {
	secret, open := string(content(4000, true, 1)), string(content(4000, false, 1))
	if len(secret) != 4000 || !strings.Contains(secret, Secret) || strings.Contains(secret, Open) {
		t.Error("the secret content is wrong")
	}
	if !strings.Contains(open, Open) || strings.Contains(open, Secret) {
		t.Error("the open content is wrong")
	}
	if secret[:24] == secret[24:48] {
		t.Error("two blocks are the same")
	}
}
