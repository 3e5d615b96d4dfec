//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// StartController starts the controller and returns when it answers.
func (l *Lab) StartController(ctx context.Context) error {
	cfg := l.state.Config
	argv := append([]string{
		cfg.Binaries.Controller, "run",
		"--name", "lab",
		"--trust-domain", cfg.Name + ".lab",
		"--listen", "[::]:" + controllerPort,
		"--advertise", cfg.controllerAddress(),
		"--data-dir", l.Path("ctl", "data"),
		"--key-dir", l.Path("ctl", "keys"),
		"--socket", l.Socket(),
		"--credential", l.Path("ctl", "operator.yaml"),
	}, cfg.ControllerFlags...)
	if err := os.MkdirAll(l.Path("ctl"), 0o700); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := l.start(nodeCtl, nil, argv...); err != nil {
		return err
	}
	return l.await(ctx, nodeCtl, func() error {
		_, err := l.CLI(ctx, "get", "hosts", "-o", "name")
		return err
	})
}

// StartAgent starts a host's agent. A token is needed the first time only.
func (l *Lab) StartAgent(i int, token string) error {
	return l.StartAgentWith(i, token, nil)
}

// StartAgentWith starts a host's agent with more environment.
func (l *Lab) StartAgentWith(i int, token string, env []string) error {
	name, cfg := HostName(i), l.state.Config
	if err := os.MkdirAll(l.Path(name), 0o700); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	argv := []string{
		cfg.Binaries.Agent, "run",
		"--controller", cfg.controllerAddress(),
		"--state-dir", l.Path(name, "state"),
		"--run-dir", l.Path(name, "run"),
	}
	if token != "" {
		file := l.Path(name, "join-token")
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		argv = append(argv, "--join-token-file", file)
	}
	return l.start(name, env, append(argv, cfg.AgentFlags...)...)
}

// Agent runs one of the agent's own commands on a host, for example status.
func (l *Lab) Agent(ctx context.Context, i int, args ...string) (string, error) {
	argv := append([]string{l.state.Config.Binaries.Agent}, args...)
	return l.Exec(ctx, HostName(i), append(argv, "--run-dir", l.Path(HostName(i), "run"))...)
}

// Join makes a token for each host and starts its agent.
func (l *Lab) Join(ctx context.Context, labels ...string) error {
	for i := 1; i <= l.state.Config.Hosts; i++ {
		if err := l.JoinHost(ctx, i, labels...); err != nil {
			return err
		}
	}
	return nil
}

// JoinHost makes a token bound to host i and starts its agent.
func (l *Lab) JoinHost(ctx context.Context, i int, labels ...string) error {
	args := []string{"join-token", "create", "--host", HostName(i)}
	for _, label := range labels {
		args = append(args, "--label", label)
	}
	token, err := l.CLICommand(ctx, args...).Output()
	if err != nil {
		return fmt.Errorf("lab: make a join token for %s: %w", HostName(i), err)
	}
	return l.StartAgent(i, strings.TrimSpace(string(token)))
}

// start runs a daemon in a node and records it before it can do anything.
func (l *Lab) start(node string, env []string, argv ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Processes[node].Alive() {
		return fmt.Errorf("lab: %s runs already", node)
	}
	p, err := spawn(l.state.Config.namespace(node), l.Log(node), env, argv...)
	if err != nil {
		return err
	}
	l.state.Processes[node] = p
	return l.state.save()
}

// Log is the file with a node's daemon's output.
func (l *Lab) Log(node string) string { return l.Path(node + ".log") }

// Process is the daemon of a node.
func (l *Lab) Process(node string) Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state.Processes[node]
}

// StopController ends the controller politely.
func (l *Lab) StopController(ctx context.Context) error { return l.Process(nodeCtl).stop(ctx) }

// KillController ends the controller at once, as a crash would.
func (l *Lab) KillController(ctx context.Context) error { return l.Process(nodeCtl).kill(ctx) }

// StopAgent ends a host's agent politely.
func (l *Lab) StopAgent(ctx context.Context, i int) error { return l.Process(HostName(i)).stop(ctx) }

// KillAgent ends a host's agent at once, as a crash would.
func (l *Lab) KillAgent(ctx context.Context, i int) error { return l.Process(HostName(i)).kill(ctx) }

// PauseController stops the controller's process without ending it (SIGSTOP), or lets it go on.
func (l *Lab) PauseController(paused bool) error {
	if paused {
		return l.Process(nodeCtl).signal(syscall.SIGSTOP)
	}
	return l.Process(nodeCtl).signal(syscall.SIGCONT)
}

// AwaitHosts returns when every host of the lab has joined and every wanted pair is up.
func (l *Lab) AwaitHosts(ctx context.Context) error {
	return l.await(ctx, nodeCtl, func() error {
		for i := 1; i <= l.state.Config.Hosts; i++ {
			if _, err := l.Overlay(ctx, i); err != nil {
				return err
			}
		}
		_, err := l.CLI(ctx, "status")
		return err
	})
}

// AwaitUp returns when every wanted pair is up.
func (l *Lab) AwaitUp(ctx context.Context) error {
	return l.await(ctx, nodeCtl, func() error {
		_, err := l.CLI(ctx, "status")
		return err
	})
}

// await tries until it works, the context ends or the node's daemon does. The error holds the last
// attempt's.
func (l *Lab) await(ctx context.Context, node string, try func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if !l.Process(node).Alive() {
			return fmt.Errorf("lab: the daemon of %s ended:\n%s", node, l.LogTail(node))
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// LogTail is the end of a node's log.
func (l *Lab) LogTail(node string) string {
	const most = 4096
	raw, err := os.ReadFile(l.Log(node))
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-most):])
}
