//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The anchor of an ordinary user is a process that does nothing but hold a user, a mount and a network
// namespace open, in which that user is root. It starts with the first lab and ends by itself after the
// last. (The network namespace is only where `ip netns` may come back to: setns into one of the
// machine's own needs root.)
//
//	sallyport lab …  ── starts, if there is none ──▶  anchor: its namespaces, a private /run
//	   └── becomes nsenter ── becomes ──▶ sallyport lab … in there ──▶ daemons
//
// Commands and daemons share the lock "lab-anchor.use"; who gets it alone knows that nobody is inside.

// envAnchor makes a process the anchor.
const envAnchor = "SALLYPORT_LAB_ANCHOR"

// anchorPoll is how often the anchor looks whether it is still needed.
const anchorPoll = time.Second

// anchorFile is a file about the anchor, in a directory that only its user writes to.
func anchorFile(suffix string) (string, error) {
	dir, err := rootlessDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	return filepath.Join(dir, "lab-anchor"+suffix), nil
}

// rootlessDir is where an ordinary user's labs keep what must outlive their namespaces.
func rootlessDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	return filepath.Join(cache, "sallyport"), nil
}

// anchorLock opens and locks a file about the anchor. The kernel drops the lock with the last process
// that has the file open.
func anchorLock(suffix string, how int) (*os.File, error) {
	path, err := anchorFile(suffix)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lab: lock %s: %w", path, err)
	}
	return f, nil
}

// useAnchor finds the user's anchor or starts one. From then on the anchor stays until this process and
// all that it becomes and starts have ended.
func useAnchor() (Process, error) {
	use, err := anchorLock(".use", syscall.LOCK_SH)
	if err != nil {
		return Process{}, err
	}
	p, err := findAnchor()
	if err != nil {
		return Process{}, errors.Join(err, use.Close())
	}
	// The copy is never closed, and is kept through exec: that is what "in use" means. The anchor was
	// started before and does not have it.
	if _, err := unix.FcntlInt(use.Fd(), unix.F_DUPFD, 0); err != nil {
		return Process{}, fmt.Errorf("lab: %w", errors.Join(err, use.Close()))
	}
	return p, use.Close()
}

func findAnchor() (Process, error) {
	start, err := anchorLock(".start", syscall.LOCK_EX)
	if err != nil {
		return Process{}, err
	}
	defer start.Close()
	if p, ok := recordedAnchor(); ok {
		return p, nil
	}
	p, err := startAnchor()
	if err != nil {
		return Process{}, err
	}
	path, err := anchorFile("")
	if err != nil {
		return Process{}, err
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d %d\n", p.PID, p.Start), 0o600); err != nil {
		return Process{}, fmt.Errorf("lab: %w", err)
	}
	return p, nil
}

// recordedAnchor is the anchor that runs already, if one does.
func recordedAnchor() (Process, bool) {
	path, err := anchorFile("")
	if err != nil {
		return Process{}, false
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return Process{}, false
	}
	var p Process
	_, err = fmt.Sscan(string(raw), &p.PID, &p.Start)
	return p, err == nil && p.Alive()
}

// startAnchor starts an anchor and returns when its namespaces are ready.
func startAnchor() (Process, error) {
	self, err := os.Executable()
	if err != nil {
		return Process{}, fmt.Errorf("lab: %w", err)
	}
	ready, held, err := os.Pipe()
	if err != nil {
		return Process{}, fmt.Errorf("lab: %w", err)
	}
	defer ready.Close()
	c := exec.Command(self, "lab", "list")
	c.Env = append(os.Environ(), envAnchor+"=1", envInside+"=1")
	c.Dir = "/"
	c.ExtraFiles = []*os.File{held}
	c.SysProcAttr = &syscall.SysProcAttr{
		Setsid:      true,
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	err = c.Start()
	held.Close()
	if err != nil {
		return Process{}, fmt.Errorf("lab: this kernel does not let user %d make a user namespace (%w): run as root", os.Geteuid(), err)
	}
	if err := ready.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return Process{}, fmt.Errorf("lab: %w", err)
	}
	if n, err := ready.Read(make([]byte, 1)); n != 1 {
		_ = c.Process.Kill()
		return Process{}, fmt.Errorf("lab: the user namespace could not be prepared: %w", errors.Join(err, c.Wait()))
	}
	return identify(c.Process.Pid)
}

// holdAnchor is the life of the anchor: it prepares the mount namespace, says so, and ends the process
// when it is asked to or when nobody needs it.
func holdAnchor(ctx context.Context) error {
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("lab: mount a private /run: %w", err)
	}
	ready := os.NewFile(3, "ready")
	if _, err := ready.Write([]byte{1}); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	ready.Close()
	tick := time.NewTicker(anchorPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			os.Exit(0)
		case <-tick.C:
			endIfUnused()
		}
	}
}

// endIfUnused ends the anchor when nobody is inside and there is no lab. The lock keeps others from
// coming in until the process has ended.
func endIfUnused() {
	lock, err := anchorLock(".use", syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return
	}
	defer lock.Close()
	if names, err := List(); err != nil || len(names) > 0 {
		return
	}
	path, err := anchorFile("")
	if err != nil {
		return
	}
	if err := os.Remove(path); err == nil || errors.Is(err, os.ErrNotExist) {
		os.Exit(0)
	}
}
