//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// envOuterUID is set inside the user namespace of an ordinary user's labs: the uid outside.
const envOuterUID = "SALLYPORT_LAB_OUTER_UID"

func insideUserNamespace() bool { return os.Getenv(envOuterUID) != "" }

// envAnchor makes a process prepare the namespaces and then hold them open.
const envAnchor = "SALLYPORT_LAB_ANCHOR"

// enterUserNamespace lets an ordinary user run labs. A process of the user, the anchor, holds a user
// and a mount namespace open in which the user is root; every lab command runs itself again in there.
func enterUserNamespace(cmd *cobra.Command, _ []string) error {
	if os.Getenv(envAnchor) != "" {
		return holdAnchor()
	}
	if os.Geteuid() == 0 {
		return nil
	}
	if err := checkRootless(); err != nil {
		return err
	}
	anchor, err := anchorProcess()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	c := exec.CommandContext(cmd.Context(), "nsenter", append([]string{
		"--preserve-credentials", "--user", "--mount", "--target", strconv.Itoa(anchor.PID), "--wd=.", "--", self,
	}, os.Args[1:]...)...)
	c.Env = append(os.Environ(), envOuterUID+"="+strconv.Itoa(os.Geteuid()))
	err = passThrough(c)
	if exit := (*ExitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.Code)
	}
	if err == nil {
		os.Exit(0)
	}
	return err
}

// checkRootless says what keeps an ordinary user from running a lab, and who can change it.
func checkRootless() error {
	if err := checkTools(map[string]string{"nsenter": "util-linux"}); err != nil {
		return err
	}
	if raw, err := os.ReadFile("/proc/sys/user/max_user_namespaces"); err == nil && string(raw) == "0\n" {
		return errors.New("lab: this kernel allows no user namespaces (user.max_user_namespaces is 0): run as root, or let root set it")
	}
	if raw, err := os.ReadFile("/proc/sys/kernel/unprivileged_userns_clone"); err == nil && string(raw) == "0\n" {
		return errors.New("lab: user namespaces are for root only (kernel.unprivileged_userns_clone is 0): run as root, or let root set it to 1")
	}
	tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("lab: %w: run as root, or let root run: chmod 0666 /dev/net/tun (which is Debian's default)", err)
	}
	return tun.Close()
}

// anchorFile records the anchor of this user, in a directory that only this user writes to.
func anchorFile() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	dir := filepath.Join(cache, "sallyport")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	return filepath.Join(dir, "lab-anchor"), nil
}

// recordedAnchor is the anchor that runs already, if one does.
func recordedAnchor() (Process, bool) {
	file, err := anchorFile()
	if err != nil {
		return Process{}, false
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return Process{}, false
	}
	var p Process
	_, err = fmt.Sscan(string(raw), &p.PID, &p.Start)
	return p, err == nil && p.Alive()
}

// releaseAnchor ends the anchor with the user's last lab.
func releaseAnchor() error {
	names, err := List()
	if err != nil || len(names) > 0 || !insideUserNamespace() {
		return err
	}
	if p, ok := recordedAnchor(); ok {
		return p.signal(syscall.SIGTERM)
	}
	return nil
}

// anchorProcess finds the user's anchor or starts one.
func anchorProcess() (Process, error) {
	if p, ok := recordedAnchor(); ok {
		return p, nil
	}
	file, err := anchorFile()
	if err != nil {
		return Process{}, err
	}
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
	c.Env = append(os.Environ(), envAnchor+"=1", envOuterUID+"="+strconv.Itoa(os.Geteuid()))
	c.ExtraFiles = []*os.File{held}
	c.SysProcAttr = &syscall.SysProcAttr{
		Setsid:      true,
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	if err := c.Start(); err != nil {
		held.Close()
		return Process{}, fmt.Errorf("lab: this kernel does not let user %d make a user namespace (%w): run as root", os.Geteuid(), err)
	}
	held.Close()
	if err := ready.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return Process{}, fmt.Errorf("lab: %w", err)
	}
	if n, err := ready.Read(make([]byte, 1)); n != 1 {
		_ = c.Process.Kill()
		return Process{}, fmt.Errorf("lab: the user namespace could not be prepared: %w", errors.Join(err, c.Wait()))
	}
	p, err := identify(c.Process.Pid)
	if err != nil {
		return Process{}, err
	}
	record := fmt.Sprintf("%d %d\n", p.PID, p.Start)
	if err := os.WriteFile(file, []byte(record), 0o600); err != nil {
		return Process{}, fmt.Errorf("lab: %w", err)
	}
	return p, nil
}

// holdAnchor prepares the mount namespace, says so, and waits for a signal to end it.
func holdAnchor() error {
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("lab: mount a private /run: %w", err)
	}
	ready := os.NewFile(3, "ready")
	if _, err := ready.Write([]byte{1}); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	ready.Close()
	for {
		_ = syscall.Pause() // a signal without a handler ends the process
	}
}
