//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// evict ends every process in a namespace: besides the daemons, what tests and people started there, and
// what lost its parent when a lab's owner was killed. As long as one of them runs the namespace stays,
// whatever becomes of its name.
func evict(ctx context.Context, namespace string) error {
	residents, err := residentsOf(ctx, namespace)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range residents {
		errs = append(errs, p.kill(ctx))
	}
	return errors.Join(errs...)
}

// residentsOf are the processes in a namespace, but for the calling one.
func residentsOf(ctx context.Context, namespace string) ([]Process, error) {
	out, err := exec.CommandContext(ctx, "ip", "netns", "pids", namespace).Output()
	if err != nil {
		return nil, fmt.Errorf("lab: ip netns pids %s: %w", namespace, err)
	}
	var residents []Process
	for _, field := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("lab: ip netns pids %s: %w", namespace, err)
		}
		// What cannot be identified has ended meanwhile.
		if p, err := identify(pid); err == nil && pid != os.Getpid() {
			residents = append(residents, p)
		}
	}
	return residents, nil
}
