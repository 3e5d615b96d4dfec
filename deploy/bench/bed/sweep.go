//go:build linux

package bed

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// namespacePrefix begins the names of all beds' namespaces; the maker's process id follows.
const namespacePrefix = "sp-bench-"

// Sweep removes the beds of runs that were killed, with what still runs in them: it would take part in every
// measurement.
func Sweep(ctx context.Context) error {
	paths, err := filepath.Glob(filepath.Join(netnsFolder, namespacePrefix+"*"))
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	for _, path := range paths {
		n := &Namespace{filepath.Base(path)}
		maker, err := strconv.Atoi(strings.Split(strings.TrimPrefix(n.Name, namespacePrefix), "-")[0])
		if err != nil || !errors.Is(syscall.Kill(maker, 0), syscall.ESRCH) {
			continue
		}
		if err := n.evict(ctx); err != nil {
			return err
		}
		if err := n.remove(ctx); err != nil {
			return err
		}
	}
	return nil
}

// evict ends the processes in the namespace.
func (n *Namespace) evict(ctx context.Context) error {
	pids, err := n.pids(ctx)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("bench: end process %d: %w", pid, err)
		}
	}
	return nil
}

// pids are the processes in the namespace.
func (n *Namespace) pids(ctx context.Context) ([]int, error) {
	out, err := run(exec.CommandContext(ctx, "ip", "netns", "pids", n.Name))
	if err != nil {
		return nil, err
	}
	var pids []int
	for field := range strings.FieldsSeq(out) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid <= 1 {
			return nil, fmt.Errorf("bench: ip netns pids %s said %q", n.Name, out)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}
