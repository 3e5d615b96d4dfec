//go:build linux

package interop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"

	"sallyport.dev/sallyport/deploy/interop/kernelpeer"
	"sallyport.dev/sallyport/deploy/interop/station"
)

// controlPort is where the guest's stations report, on our control address.
const controlPort = 7000

// bootTimeout bounds the boot. It takes some ten seconds on an idle machine.
const bootTimeout = 2 * time.Minute

const tapName = "tap0"

// Lab is the namespace, the link and the guest at its end. Close it.
type Lab struct {
	// Namespace is the name of our end's network namespace.
	Namespace string
	// Folder is for everything that is written.
	Folder string
	// Program is our static binary of package guest.
	Program string
	// Here and Guest are stations in the namespace and in the guest.
	Here, Guest *station.Client
	Kernel      kernelpeer.Kernel
	// Wire reads what passes the link.
	Wire *Wire

	machine  *kernelpeer.Machine
	listener net.Listener
}

// Open makes the namespace and boots the guest. Folder must exist.
func Open(ctx context.Context, kernel kernelpeer.Kernel, folder, program string) (_ *Lab, err error) {
	if err := sweep(ctx); err != nil {
		return nil, err
	}
	l := &Lab{Folder: folder, Program: program, Kernel: kernel}
	if l.Namespace, err = makeNamespace(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if err := l.link(ctx); err != nil {
		return nil, err
	}
	if l.machine, err = kernelpeer.Start(kernelpeer.Config{
		Kernel: kernel, Program: program, Namespace: l.Namespace, Tap: tapName, Folder: folder,
		Address: netip.PrefixFrom(control(Theirs), 30), Dial: netip.AddrPortFrom(control(Ours), controlPort),
	}); err != nil {
		return nil, err
	}
	if l.Here, err = l.stationHere(); err != nil {
		return nil, err
	}
	if l.Guest, err = l.accept(ctx, "guest"); err != nil {
		return nil, err
	}
	return l, nil
}

// link makes our end of the link, the listener and the reader.
func (l *Lab) link(ctx context.Context) error {
	script := fmt.Sprintf(`ip link set lo up
ip tuntap add dev %[1]s mode tap
ip link set %[1]s up
ip address add %[2]v%[3]s dev %[1]s`, tapName, control(Ours), controlPrefix)
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", l.Namespace, "sh", "-e", "-c", script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("interop: the link: %w: %s", err, out)
	}
	var err, wireErr error
	if enterErr := l.do(func() {
		l.listener, err = net.Listen("tcp", netip.AddrPortFrom(control(Ours), controlPort).String())
		l.Wire, wireErr = OpenWire(tapName)
	}); enterErr != nil {
		return enterErr
	}
	return errors.Join(err, wireErr)
}

// do runs f on a thread in the namespace; sockets that f makes stay there.
func (l *Lab) do(f func()) error {
	handle, err := netns.GetFromName(l.Namespace)
	if err != nil {
		return fmt.Errorf("interop: namespace %s: %w", l.Namespace, err)
	}
	defer handle.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := netns.Set(handle)
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

// accept waits for a station to report.
func (l *Lab) accept(ctx context.Context, name string) (*station.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	type accepted struct {
		conn net.Conn
		err  error
	}
	result := make(chan accepted, 1)
	go func() {
		conn, err := l.listener.Accept()
		result <- accepted{conn, err}
	}()
	select {
	case a := <-result:
		if a.err != nil {
			return nil, fmt.Errorf("interop: %w", a.err)
		}
		return station.NewClient(name, a.conn), nil
	case <-l.machine.Ended():
		return nil, fmt.Errorf("interop: the guest has ended; its console:\n%s", l.machine.Console())
	case <-ctx.Done():
		return nil, fmt.Errorf("interop: station %s has not reported: %w; the console:\n%s", name, ctx.Err(), l.machine.Console())
	}
}

// stationHere starts a station in the namespace. It ends with its connection.
func (l *Lab) stationHere() (*station.Client, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("interop: %w", err)
	}
	mine, its := os.NewFile(uintptr(pair[0]), "station"), os.NewFile(uintptr(pair[1]), "station")
	defer mine.Close()
	defer its.Close()
	cmd := exec.Command("ip", "netns", "exec", l.Namespace, l.Program, "-fd", "3")
	cmd.ExtraFiles = []*os.File{its}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("interop: start a station: %w", err)
	}
	go func() { _ = cmd.Wait() }()
	conn, err := net.FileConn(mine)
	if err != nil {
		return nil, fmt.Errorf("interop: %w", err)
	}
	return station.NewClient("here", conn), nil
}

// StationInGuest starts another station in a network namespace of the guest.
func (l *Lab) StationInGuest(ctx context.Context, namespace string) (*station.Client, error) {
	to := netip.AddrPortFrom(control(Ours), controlPort)
	script := fmt.Sprintf("exec %s -dial %v -namespace %s >/dev/console 2>&1", l.Program, to, namespace)
	if err := l.Guest.Start(ctx, script); err != nil {
		return nil, err
	}
	return l.accept(ctx, "guest "+namespace)
}

// Console is the end of what the guest printed.
func (l *Lab) Console() string { return l.machine.Console() }

// Close ends the guest and removes the namespace. It does not depend on what else has failed.
func (l *Lab) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var errs []error
	if l.Here != nil {
		_ = l.Here.Close()
	}
	if l.Guest != nil {
		_ = l.Guest.Close() // the guest powers off
	}
	if l.listener != nil {
		_ = l.listener.Close()
	}
	if l.machine != nil {
		grace, stop := context.WithTimeout(ctx, 3*time.Second)
		defer stop()
		errs = append(errs, l.machine.Close(grace))
	}
	if l.Wire != nil {
		l.Wire.Close()
	}
	return errors.Join(append(errs, removeNamespace(ctx, l.Namespace))...)
}

// namespacePrefix begins the names of our namespaces; the maker's pid and a number follow.
const namespacePrefix = "sp-ik-"

// makeNamespace makes a namespace that nobody else has.
func makeNamespace(ctx context.Context) (string, error) {
	var said []byte
	for i := range 100 {
		name := fmt.Sprintf("%s%d-%d", namespacePrefix, os.Getpid(), i)
		out, err := exec.CommandContext(ctx, "ip", "netns", "add", name).CombinedOutput()
		if err == nil {
			return name, nil
		}
		said = out
	}
	return "", fmt.Errorf("interop: ip netns add: %s", said)
}

func removeNamespace(ctx context.Context, name string) error {
	if out, err := exec.CommandContext(ctx, "ip", "netns", "delete", name).CombinedOutput(); err != nil {
		return fmt.Errorf("interop: ip netns delete %s: %w: %s", name, err, out)
	}
	return nil
}

// sweep removes the namespaces of runs that were killed, those whose maker is gone, and ends what still runs in them.
func sweep(ctx context.Context) error {
	names, err := filepath.Glob("/run/netns/" + namespacePrefix + "*")
	if err != nil {
		return err
	}
	for _, path := range names {
		name := filepath.Base(path)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, namespacePrefix), "-")
		if n, err := strconv.Atoi(pid); err != nil || syscall.Kill(n, 0) != syscall.ESRCH {
			continue
		}
		if err := endAll(ctx, name); err != nil {
			return err
		}
		if err := removeNamespace(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// endAll ends the processes in a namespace.
func endAll(ctx context.Context, name string) error {
	out, err := exec.CommandContext(ctx, "ip", "netns", "pids", name).Output()
	if err != nil {
		return fmt.Errorf("interop: ip netns pids %s: %w", name, err)
	}
	for field := range strings.FieldsSeq(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("interop: ip netns pids %s: %q", name, out)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("interop: end process %d: %w", pid, err)
		}
	}
	return nil
}
