//go:build linux

package bed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What a dead process has left goes, with what runs there; what a living one has made stays.
func TestSweep(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	made := map[bool]*Namespace{}
	for alive, pid := range map[bool]int{true: os.Getpid(), false: dead.Process.Pid} {
		n, err := newNamespace(t.Context(), fmt.Sprintf("%s%d-9-a", namespacePrefix, pid))
		if err != nil {
			t.Fatal(err)
		}
		made[alive] = n
	}
	left := made[false].Command(t.Context(), "sleep", "60")
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	// ip enters the namespace before it replaces itself.
	b := &Bed{}
	p := &Process{cmd: left, ended: make(chan struct{})}
	if err := p.Until(t.Context(), "sleep is in the namespace", func() bool {
		pids, err := made[false].pids(t.Context())
		return err == nil && len(pids) == 1
	}); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := left.Wait(); err == nil {
		t.Error("what ran there has not been ended")
	}
	if _, err := os.Stat(filepath.Join(netnsFolder, made[false].Name)); !os.IsNotExist(err) {
		t.Errorf("the dead one's namespace: %v", err)
	}
	b.made = []*Namespace{made[true]}
	if err := b.Close(); err != nil { // fails if it is gone
		t.Error(err)
	}
}
