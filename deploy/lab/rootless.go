//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
)

// envInside is set inside the user namespace of an ordinary user's labs.
const envInside = "SALLYPORT_LAB_INSIDE"

func insideUserNamespace() bool { return os.Getenv(envInside) != "" }

// enterUserNamespace lets an ordinary user run labs: the command runs itself again in the namespaces of
// the user's anchor, where the user is root.
func enterUserNamespace(cmd *cobra.Command, _ []string) error {
	if os.Getenv(envAnchor) != "" {
		return holdAnchor(cmd.Context())
	}
	if os.Geteuid() == 0 {
		return nil
	}
	if err := checkRootless(); err != nil {
		return err
	}
	anchor, err := useAnchor()
	if err != nil {
		return err
	}
	return reexecute(anchor)
}

// reexecute replaces this process by the same command in the anchor's namespaces: a signal or an exit
// status has nobody to pass through.
func reexecute(anchor Process) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	argv := append([]string{
		"nsenter", "--preserve-credentials", "--user", "--mount", "--net", "--target", strconv.Itoa(anchor.PID), "--wd=.", "--", self,
	}, os.Args[1:]...)
	// In there the user is root, and needs root's commands: nft is in /usr/sbin.
	path := os.Getenv("PATH") + ":/usr/sbin:/sbin"
	if err := errors.Join(os.Setenv(envInside, "1"), os.Setenv("PATH", path)); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return fmt.Errorf("lab: nsenter: %w", syscall.Exec(nsenter, argv, os.Environ()))
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
		return fmt.Errorf("lab: hosts need TUN devices: %w: run as root, or let root load the module tun and run chmod 0666 /dev/net/tun (Debian's default)", err)
	}
	return tun.Close()
}
