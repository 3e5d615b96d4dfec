//go:build linux

package strongswan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Programs are strongSwan's, as Debian's packages charon-systemd and strongswan-swanctl have them.
type Programs struct{ Daemon, Swanctl string }

// FindPrograms looks for them. The error says which package is missing.
func FindPrograms() (Programs, error) {
	p := Programs{Daemon: "/usr/sbin/charon-systemd", Swanctl: "/usr/sbin/swanctl"}
	for path, pkg := range map[string]string{p.Daemon: "charon-systemd", p.Swanctl: "strongswan-swanctl"} {
		if _, err := os.Stat(path); err != nil {
			return p, fmt.Errorf("interop: %s is missing: install %s, libcharon-extra-plugins and libstrongswan-standard-plugins", path, pkg)
		}
	}
	if found, _ := filepath.Glob("/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so"); len(found) == 0 {
		return p, errors.New("interop: strongSwan's plugin kernel-libipsec is missing: install libcharon-extra-plugins")
	}
	return p, nil
}

// Charon is a running daemon.
type Charon struct {
	folder string
	inside func(ctx context.Context, argv ...string) *exec.Cmd // in its namespace
	cmd    *exec.Cmd
	ended  chan struct{}
	log    journal
}

// waitDaemon bounds the start and the end of a daemon.
const waitDaemon = 20 * time.Second

// StartCharon starts the daemon of a scenario and loads its configuration. AppArmor's profiles are tied to the programs'
// paths and would not let them read folder: so they are copied.
func StartCharon(ctx context.Context, p Programs, folder string, inside func(context.Context, ...string) *exec.Cmd, s Scenario, certificates Certificates, at place) (*Charon, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("interop: %w", err)
	}
	for from, name := range map[string]string{p.Daemon: "charon", p.Swanctl: "swanctl"} {
		if err := copyProgram(from, filepath.Join(folder, name)); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{"strongswan.conf": s.strongswanConf(folder), "swanctl.conf": s.swanctlConf(at)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("interop: %w", err)
		}
	}
	if s.Certificates != "" {
		if err := certificates.write(folder); err != nil {
			return nil, err
		}
	}
	c := &Charon{folder: folder, inside: inside, ended: make(chan struct{})}
	c.cmd = inside(context.WithoutCancel(ctx), filepath.Join(folder, "charon"))
	c.cmd.Env = append(os.Environ(), c.environment()...)
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("interop: start charon: %w", err)
	}
	go func() { _ = c.cmd.Wait(); close(c.ended) }()
	return c, c.ready(ctx)
}

func (c *Charon) environment() []string {
	return []string{"STRONGSWAN_CONF=" + filepath.Join(c.folder, "strongswan.conf"), "SWANCTL_DIR=" + c.folder}
}

// ready waits until the daemon takes its configuration.
func (c *Charon) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, waitDaemon)
	defer cancel()
	for {
		if _, err := os.Stat(filepath.Join(c.folder, "vici")); err == nil {
			if _, err = c.Swanctl(ctx, "--load-all", "--noprompt", "--file", filepath.Join(c.folder, "swanctl.conf")); err == nil {
				return nil
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-c.ended:
			return fmt.Errorf("interop: charon has ended:\n%s", c.Log())
		case <-ctx.Done():
			return fmt.Errorf("interop: charon does not answer:\n%s", c.Log())
		}
	}
}

// Swanctl talks to the daemon.
func (c *Charon) Swanctl(ctx context.Context, command string, arguments ...string) (string, error) {
	argv := append([]string{filepath.Join(c.folder, "swanctl"), command, "--uri", "unix://" + filepath.Join(c.folder, "vici")}, arguments...)
	cmd := c.inside(ctx, argv...)
	cmd.Env = append(os.Environ(), c.environment()...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("interop: swanctl %s %v: %w: %s%s", command, arguments, err, out, said.Bytes())
	}
	return string(out), nil
}

// Log is what the daemon has written.
func (c *Charon) Log() string { return c.log.String() }

// Kill ends the daemon at once, without a word to anybody.
func (c *Charon) Kill() { c.end(syscall.SIGKILL) }

// Stop asks the daemon to end: it deletes its SAs.
func (c *Charon) Stop() { c.end(syscall.SIGTERM) }

func (c *Charon) end(signal syscall.Signal) {
	_ = c.cmd.Process.Signal(signal) // it may have ended
	select {
	case <-c.ended:
	case <-time.After(waitDaemon):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("interop: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700)
	if err != nil {
		return fmt.Errorf("interop: %w", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("interop: copy %s: %w", from, err)
	}
	return nil
}

// journal is what a process writes.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}
