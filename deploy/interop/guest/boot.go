//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/deploy/interop/kernelpeer"
)

// boot is the life of the guest: it returns when the other end has closed the connection, or with what went wrong.
func boot() error {
	if err := mounts(
		mount{"proc", "/proc", "proc", ""}, mount{"sysfs", "/sys", "sysfs", ""}, mount{"devtmpfs", "/dev", "devtmpfs", ""},
	); err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := enterHost(); err != nil {
		return err
	}
	address, dial, err := words()
	if err != nil {
		return err
	}
	script := "ip link set lo up && ip link set eth0 up && ip address add " + address + " dev eth0"
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", script, err, out)
	}
	conn, err := report(dial)
	if err != nil {
		return err
	}
	if err := serve(conn); err != nil {
		return err
	}
	return errors.New("the other end is done")
}

type mount struct{ source, target, kind, options string }

func mounts(list ...mount) error {
	for _, m := range list {
		if err := unix.Mount(m.source, m.target, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
		}
	}
	return nil
}

// loadModules loads what the RAM disk has, in the order of the names. A module that this processor or kernel does not
// take is no error: what needs it will say so.
func loadModules() error {
	entries, err := os.ReadDir(kernelpeer.ModulesFolder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(kernelpeer.ModulesFolder, e.Name()))
		if err != nil {
			return err
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
			fmt.Printf("guest: module %s: %v\n", e.Name(), err)
		}
		f.Close()
	}
	// All there is has been loaded. Without this, the kernel runs modprobe for each new combination of algorithms.
	return os.WriteFile("/proc/sys/kernel/modprobe", []byte("\n"), 0)
}

// enterHost makes the machine's file system the root, with a layer of memory above it for what is written.
func enterHost() error {
	if err := mounts(
		mount{"host", "/host", "9p", "trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose"},
		mount{"tmpfs", "/layer", "tmpfs", ""},
	); err != nil {
		return err
	}
	for _, folder := range []string{"/layer/upper", "/layer/work"} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	if err := mounts(
		mount{"overlay", "/root", "overlay", "lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work"},
		mount{"proc", "/root/proc", "proc", ""}, mount{"sysfs", "/root/sys", "sysfs", ""},
		mount{"devtmpfs", "/root/dev", "devtmpfs", ""}, mount{"tmpfs", "/root/run", "tmpfs", ""},
	); err != nil {
		return err
	}
	if err := unix.Chroot("/root"); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
}

// words reads the kernel's command line.
func words() (address, dial string, err error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return "", "", err
	}
	for word := range strings.FieldsSeq(string(line)) {
		if v, ok := strings.CutPrefix(word, kernelpeer.WordAddress); ok {
			address = v
		}
		if v, ok := strings.CutPrefix(word, kernelpeer.WordDial); ok {
			dial = v
		}
	}
	if address == "" || dial == "" {
		return "", "", fmt.Errorf("command line %q: no address or nowhere to report to", line)
	}
	return address, dial, nil
}

// report dials until somebody answers, for a minute.
func report(to string) (net.Conn, error) {
	give := time.Now().Add(time.Minute)
	for {
		conn, err := net.DialTimeout("tcp", to, 2*time.Second)
		if err == nil || time.Now().After(give) {
			return conn, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
