package cmd

import (
	"bufio"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
)

// session is a command that runs beside the test, which reads what it writes line by line.
type session struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel context.CancelFunc
	status chan int
	notes  *strings.Builder // read it after end
}

func begin(t *testing.T, socket string, args ...string) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	s := &session{t: t, lines: bufio.NewScanner(r), cancel: cancel, status: make(chan int, 1), notes: &strings.Builder{}}
	t.Cleanup(func() { cancel(); _ = r.Close() })
	go func() {
		status := Run(ctx, Config{
			Stdin: strings.NewReader(""), Stdout: w, Stderr: s.notes, Getenv: func(string) string { return "" },
			Now: func() time.Time { return testNow }, Poll: time.Millisecond,
		}, append(args, "--socket", socket))
		_ = w.Close()
		s.status <- status
	}()
	return s
}

func (s *session) expect(want ...string) {
	s.t.Helper()
	for _, w := range want {
		if !s.lines.Scan() {
			s.t.Fatalf("ended, want %q\n%s", w, s.notes)
		}
		if got := s.lines.Text(); got != w {
			s.t.Errorf("\n got %q\nwant %q", got, w)
		}
	}
}

func (s *session) end() (status int, notes string) {
	s.cancel()
	for s.lines.Scan() {
		s.t.Errorf("also wrote %q", s.lines.Text())
	}
	return <-s.status, s.notes.String()
}

// serve starts a controller in memory.
func serve(t *testing.T) *controller {
	t.Helper()
	c := &controller{fake: newFake(), path: filepath.Join(t.TempDir(), "s")}
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *controller) set(name, address string, connected bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(&operatorv1.Resource{Kind: &operatorv1.Resource_Host{Host: &operatorv1.Host{
		Metadata: &operatorv1.Metadata{Name: name},
		Status:   &operatorv1.HostStatus{Addresses: []string{address}, Connected: connected},
	}}})
}

func (c *controller) remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
}

// watched returns when a Watch is open.
func (c *controller) watched(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		c.mu.Lock()
		n := len(c.watchers)
		c.mu.Unlock()
		if n > 0 {
			return
		}
	}
	t.Fatal("nobody watches")
}

func TestWatchTable(t *testing.T) {
	c := serve(t)
	c.set("a", "100.80.0.1", true)
	s := begin(t, c.path, "get", "hosts", "-w")
	s.expect(
		"CHANGE    NAME   ADDRESSES    CONNECTED   ENDPOINT   PAIRS   AGE",
		"exists    a      100.80.0.1   yes         -          0/0     1h30m")
	c.watched(t)
	c.set("b", "100.80.0.22", true)
	s.expect("added     b      100.80.0.22   yes         -          0/0     1h30m")
	c.set("a", "100.80.0.1", false)
	s.expect("changed   a      100.80.0.1    no          -          0/0     1h30m")
	c.remove("host/b")
	s.expect("deleted   b      100.80.0.22   yes         -          0/0     1h30m")

	// The connection is lost, and what happens meanwhile is no longer in the store's history.
	c.stop()
	c.set("c", "100.80.0.3", true)
	c.remove("host/a")
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	s.expect(
		"deleted   a      100.80.0.1    no          -          0/0     1h30m",
		"added     c      100.80.0.3    yes         -          0/0     1h30m")
	status, notes := s.end()
	if status != exit.OK || !strings.Contains(notes, "lost the controller") {
		t.Errorf("status %d, notes %q", status, notes)
	}
}

func TestWatchForms(t *testing.T) {
	const meta = `"metadata":{"name":"a","revision":"101","uid":"0000000000000065","createTime":"2026-01-31T10:30:00Z"}`
	for output, want := range map[string][]string{
		"name": {"host/a added", "host/a changed"},
		"json": {
			`{"type":"CHANGE_TYPE_ADDED","resource":{"host":{` + meta + `,"status":{"addresses":["100.80.0.1"]}}},"revision":"101"}`,
			`{"type":"CHANGE_TYPE_MODIFIED","resource":{"host":{` + strings.NewReplacer("101", "102", "065", "066").Replace(meta) +
				`,"status":{"addresses":["100.80.0.1"],"connected":true}}},"revision":"102"}`,
		},
		"yaml": {
			"---", "# added", "kind: Host", "metadata:", "  name: a", "  revision: 101", `  uid: "0000000000000065"`,
			`  createTime: "2026-01-31T10:30:00Z"`, "status:", "  addresses:", "  - 100.80.0.1", "---", "# changed",
		},
	} {
		t.Run(output, func(t *testing.T) {
			c := serve(t)
			c.set("a", "100.80.0.1", false)
			s := begin(t, c.path, "get", "host", "a", "-w", "-o", output)
			before := len(want) / 2
			if output == "yaml" {
				before = 11
			}
			s.expect(want[:before]...)
			c.watched(t)
			c.set("a", "100.80.0.1", true)
			s.expect(want[before:]...)
			if output == "yaml" {
				return // the rest is as before
			}
			if status, _ := s.end(); status != exit.OK {
				t.Errorf("status %d", status)
			}
		})
	}
}
