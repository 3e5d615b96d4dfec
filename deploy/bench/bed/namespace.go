//go:build linux

package bed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace is a named network namespace.
type Namespace struct{ Name string }

// run carries out a command and puts what it said into the error.
func run(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("bench: %s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// newNamespace makes the namespace, with loopback up.
func newNamespace(ctx context.Context, name string) (*Namespace, error) {
	if _, err := run(exec.CommandContext(ctx, "ip", "netns", "add", name)); err != nil {
		return nil, err
	}
	n := &Namespace{name}
	if err := n.IP(ctx, "link", "set", "lo", "up"); err != nil {
		return nil, errors.Join(err, n.remove(ctx))
	}
	return n, nil
}

func (n *Namespace) remove(ctx context.Context) error {
	_, err := run(exec.CommandContext(ctx, "ip", "netns", "del", n.Name))
	return err
}

// IP runs iproute2 in the namespace.
func (n *Namespace) IP(ctx context.Context, arguments ...string) error {
	_, err := run(exec.CommandContext(ctx, "ip", append([]string{"-n", n.Name}, arguments...)...))
	return err
}

// Command is a command line in the namespace. A key for this program, as Ctrl-C, does not reach it; `ip` replaces
// itself, so that its process id is the command's own.
func (n *Namespace) Command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.Name}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Run carries out a command in the namespace and returns what it printed.
func (n *Namespace) Run(ctx context.Context, argv ...string) (string, error) {
	return run(n.Command(ctx, argv...))
}

// sysctl sets kernel parameters, each as path=value below /proc/sys/net.
func (n *Namespace) sysctl(ctx context.Context, settings ...string) error {
	var script strings.Builder
	for _, s := range settings {
		path, value, _ := strings.Cut(s, "=")
		fmt.Fprintf(&script, "echo %s > /proc/sys/net/%s\n", value, path)
	}
	_, err := n.Run(ctx, "sh", "-e", "-c", script.String())
	return err
}

// Do runs f in the namespace. A socket that f makes stays there; f starts no goroutine that makes one.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread dies with the goroutine
		done <- n.enter(f)
	}()
	return <-done
}

func (n *Namespace) enter(f func() error) error {
	fd, err := unix.Open(filepath.Join(netnsFolder, n.Name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bench: namespace %s: %w", n.Name, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("bench: enter namespace %s: %w", n.Name, err)
	}
	return f()
}

// netnsFolder is where iproute2 keeps named namespaces.
const netnsFolder = "/run/netns"

// Run carries out a command outside all namespaces, with extra environment variables.
func Run(ctx context.Context, environment []string, name string, arguments ...string) error {
	cmd := exec.CommandContext(ctx, name, arguments...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	_, err := run(cmd)
	return err
}
