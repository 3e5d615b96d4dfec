//go:build linux

package kernelpeer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrNoEmulator: qemu is missing. `make setup` installs it.
var ErrNoEmulator = errors.New("kernelpeer: no qemu-system-x86_64: apt-get install qemu-system-x86")

// Config is a guest.
type Config struct {
	Kernel Kernel
	// Program is our own static binary of package guest.
	Program string
	// Namespace is the named network namespace with Tap, a device that exists.
	Namespace, Tap string
	// Address is the guest's on eth0, and Dial where it reports, there.
	Address netip.Prefix
	Dial    netip.AddrPort
	// Folder is for the RAM disk and the console's log.
	Folder string
}

// The words of the kernel's command line that our program reads.
const (
	WordAddress = "sallyport.address="
	WordDial    = "sallyport.dial="
)

// Machine is a running guest. Close it.
type Machine struct {
	cmd     *exec.Cmd
	console string
	ended   chan struct{}
}

// Start boots a guest and returns at once: it dials when it is up, some ten seconds later. Errors: ErrNoEmulator,
// or what building the RAM disk said.
func Start(cfg Config) (*Machine, error) {
	emulator, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, ErrNoEmulator
	}
	disk, err := ramdisk(cfg.Kernel, cfg.Program)
	if err != nil {
		return nil, err
	}
	initrd := filepath.Join(cfg.Folder, "initrd")
	if err := os.WriteFile(initrd, disk, 0o600); err != nil {
		return nil, fmt.Errorf("kernelpeer: %w", err)
	}
	m := &Machine{console: filepath.Join(cfg.Folder, "console.log"), ended: make(chan struct{})}
	log, err := os.Create(m.console)
	if err != nil {
		return nil, fmt.Errorf("kernelpeer: %w", err)
	}
	defer log.Close()
	m.cmd = exec.Command("ip", append([]string{"netns", "exec", cfg.Namespace, emulator}, cfg.arguments(initrd)...)...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("kernelpeer: start qemu: %w", err)
	}
	go func() {
		_ = m.cmd.Wait()
		close(m.ended)
	}()
	return m, nil
}

// arguments are qemu's. The network device leaves all checksums and segments to the guest, so that what passes the tap
// is what a wire would carry.
func (cfg Config) arguments(initrd string) []string {
	words := []string{
		"console=ttyS0", "quiet", "mitigations=off", "panic=-1", "cryptomgr.notests=1",
		WordAddress + cfg.Address.String(), WordDial + cfg.Dial.String(),
	}
	return []string{
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1G",
		"-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot",
		"-kernel", cfg.Kernel.Image, "-initrd", initrd, "-append", strings.Join(words, " "),
		"-virtfs", "local,path=/,mount_tag=host,security_model=passthrough,readonly=on,multidevs=remap",
		"-netdev", "tap,id=n0,ifname=" + cfg.Tap + ",script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=n0,csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off",
	}
}

// Ended is closed when the guest has gone, for whatever reason.
func (m *Machine) Ended() <-chan struct{} { return m.ended }

// Console is the end of what the guest's kernel and our program printed.
func (m *Machine) Console() string {
	const most = 4000
	text, err := os.ReadFile(m.console)
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(text[max(0, len(text)-most):]), "\r", "")
}

// Close waits until ctx ends for the guest to power off by itself, which it does when its connection is closed, and
// then ends it.
func (m *Machine) Close(ctx context.Context) error {
	select {
	case <-m.ended:
		return nil
	case <-ctx.Done():
	}
	// ip has replaced itself by qemu: the pid is qemu's, and it is ours until Wait has returned.
	if err := m.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kernelpeer: end qemu: %w", err)
	}
	select {
	case <-m.ended:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("kernelpeer: qemu does not end")
	}
}
