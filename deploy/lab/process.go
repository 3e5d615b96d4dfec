//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Process names a process for as long as the machine is up: a pid may be given out again, a pid with
// its start time may not.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of /proc/PID/stat
}

// Self is the calling process.
func Self() (Process, error) { return identify(os.Getpid()) }

func identify(pid int) (Process, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Process{}, fmt.Errorf("lab: process %d: %w", pid, err)
	}
	// The second field is the command in parentheses and may hold anything; fields count from
	// behind the last ')'.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const startField, firstField = 22, 3
	if len(fields) <= startField-firstField {
		return Process{}, fmt.Errorf("lab: process %d: /proc says %q", pid, stat)
	}
	start, err := strconv.ParseUint(string(fields[startField-firstField]), 10, 64)
	if err != nil {
		return Process{}, fmt.Errorf("lab: process %d: %w", pid, err)
	}
	if string(fields[0]) == "Z" {
		return Process{}, fmt.Errorf("lab: process %d is a zombie", pid)
	}
	return Process{PID: pid, Start: start}, nil
}

// Alive says whether the process still runs.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, err := identify(p.PID)
	return err == nil && now == p
}

// signal reaches the process, never another one that got its pid.
func (p Process) signal(sig syscall.Signal) error {
	if !p.Alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("lab: signal %v to process %d: %w", sig, p.PID, err)
	}
	return nil
}

// wait returns when the process has ended.
func (p Process) wait(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for p.Alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("lab: process %d still runs: %w", p.PID, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// stop asks the process to end and, ten seconds later, makes it.
func (p Process) stop(ctx context.Context) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	polite, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if p.wait(polite) == nil {
		return nil
	}
	return p.kill(ctx)
}

// kill ends the process at once.
func (p Process) kill(ctx context.Context) error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return p.wait(ctx)
}

// spawn starts a daemon inside a node, with its output in a file.
func spawn(namespace, logPath string, env []string, argv ...string) (Process, error) {
	out, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return Process{}, fmt.Errorf("lab: %w", err)
	}
	defer out.Close()
	cmd := exec.Command("ip", append([]string{"netns", "exec", namespace}, argv...)...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Process{}, fmt.Errorf("lab: start %s: %w", argv[0], err)
	}
	p, err := identify(cmd.Process.Pid)
	// Reap it when it ends while this process lives; ip replaces itself, so the pid is the daemon's.
	go func() { _ = cmd.Wait() }()
	if err != nil {
		return Process{}, fmt.Errorf("lab: %s ended at once; see %s", argv[0], logPath)
	}
	return p, nil
}
