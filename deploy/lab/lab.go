//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// Lab is a running lab. Its methods may be called concurrently.
type Lab struct {
	mu    sync.Mutex
	state state
}

// Up builds the lab: namespaces, links and the directory, no daemon yet. A lab of the same name, and
// every lab whose owner is gone, is removed first. On failure nothing is left behind.
func Up(ctx context.Context, cfg Config) (*Lab, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := checkTools(requirements); err != nil {
		return nil, err
	}
	unlock, err := lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := makeNetnsDir(); err != nil {
		return nil, err
	}
	if err := sweep(ctx); err != nil {
		return nil, err
	}
	if old, err := load(cfg.Name); err == nil {
		if err := old.remove(ctx); err != nil {
			return nil, err
		}
	}
	l := &Lab{state: state{Config: cfg, Processes: map[string]Process{}}}
	if err := os.MkdirAll(l.Dir(), 0o700); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := l.state.save(); err != nil {
		return nil, err
	}
	if err := construct(ctx, cfg); err != nil {
		return nil, errors.Join(err, l.state.remove(context.WithoutCancel(ctx)))
	}
	return l, nil
}

// Open finds a lab that is up.
func Open(name string) (*Lab, error) {
	s, err := load(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("lab: there is no lab %q: start it with: sallyport lab up --name %s", name, name)
	}
	if err != nil {
		return nil, err
	}
	return &Lab{state: s}, nil
}

// Down ends the lab's processes and removes all that it made.
func (l *Lab) Down(ctx context.Context) error {
	unlock, err := lock()
	if err != nil {
		return err
	}
	defer unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.state.Processes {
		// Ask first, so that what the daemons remove themselves is removed by them.
		if err := p.stop(ctx); err != nil {
			return err
		}
	}
	return l.state.remove(ctx)
}

// Config is what the lab was made from.
func (l *Lab) Config() Config { return l.state.Config }

// Dir is the lab's directory.
func (l *Lab) Dir() string { return dirOf(l.state.Config.Name) }

// Path is a file in the lab's directory.
func (l *Lab) Path(elem ...string) string {
	return filepath.Join(append([]string{l.Dir()}, elem...)...)
}

// Command prepares a command that runs inside a node.
func (l *Lab) Command(ctx context.Context, node string, argv ...string) *exec.Cmd {
	args := append([]string{"netns", "exec", l.state.Config.namespace(node)}, argv...)
	return exec.CommandContext(ctx, "ip", args...)
}

// CheckNode says whether the lab has such a node, and which it has if not.
func (l *Lab) CheckNode(node string) error {
	for _, n := range l.state.Config.nodes() {
		if n == node {
			return nil
		}
	}
	return fmt.Errorf("lab: there is no node %q: this lab has %v", node, l.state.Config.nodes())
}

// Exec runs a command inside a node and returns what it printed. A failure carries the output.
func (l *Lab) Exec(ctx context.Context, node string, argv ...string) (string, error) {
	out, err := l.Command(ctx, node, argv...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("lab: %s: %v: %w: %s", node, argv, err, out)
	}
	return string(out), nil
}

// CLI runs the operator's command line against the lab's controller, as its local root.
func (l *Lab) CLI(ctx context.Context, args ...string) (string, error) {
	out, err := l.CLICommand(ctx, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("lab: sallyport %v: %w: %s", args, err, out)
	}
	return string(out), nil
}

// CLICommand prepares a call of the operator's command line.
func (l *Lab) CLICommand(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, l.state.Config.Binaries.CLI, append([]string{"--socket", l.Socket()}, args...)...)
}

// Socket is the controller's unix socket.
func (l *Lab) Socket() string { return l.Path("ctl", "operator.sock") }
