//go:build linux

package bed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseCPU(t *testing.T) {
	const stat = "42 (a) b (c) R 1 42 42 0 -1 4194560 1 2 3 4 250 150 7 8 20 0 9 0 1000 1 1\n"
	if got, err := parseCPU([]byte(stat)); got != 4 || err != nil {
		t.Errorf("%v s, %v", got, err)
	}
	for _, wrong := range []string{"", "42 (a) R 1", strings.Replace(stat, "250", "x", 1), strings.Replace(stat, "150", "-1", 1)} {
		if got, err := parseCPU([]byte(wrong)); err == nil {
			t.Errorf("%q: %v s", wrong, got)
		}
	}
}

func TestJournalIsBounded(t *testing.T) {
	var j journal
	for range 100 {
		if n, err := j.Write(make([]byte, 1000)); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	if n := len(j.String()); n != most {
		t.Errorf("%d bytes are kept, want %d", n, most)
	}
}

// A bed of gateways carries packets between its stations, ends its processes, and leaves nothing behind.
func TestBed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	b, err := Open(t.Context(), Plan{Number: 2, MTU: 1500, Gateways: true})
	if err != nil {
		t.Fatal(err)
	}
	folder, made := b.Folder, b.made
	for end := range b.Ends {
		if err := b.Route(t.Context(), end, 4, "via", Outer(1-end, 4).String()); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Stations[0].Run(t.Context(), "ping", "-c", "1", "-W", "5", "-I", Inner(0, 4).String(), Inner(1, 4).String()); err != nil {
		t.Error(err)
	}
	p, err := b.Start(b.Ends[0], []string{"WORD=ready"}, "sh", "-c", "echo $WORD; exec sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Until(t.Context(), "ready", func() bool { return strings.Contains(p.Said(), "ready") }); err != nil {
		t.Error(err)
	}
	if _, err := p.CPU(); err != nil {
		t.Error(err)
	}
	gone, err := b.Start(b.Ends[1], nil, "false")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Until(t.Context(), "never", func() bool { return false }); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("a process that has ended: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.CPU(); err == nil {
		t.Error("the process has not ended")
	}
	for _, path := range []string{folder, filepath.Join(netnsFolder, made[0].Name), filepath.Join(netnsFolder, made[3].Name)} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}
