//go:build linux

// Package nstest makes network namespaces for tests. They have no name: the kernel removes them with
// the last file descriptor, however the test ends.
package nstest

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace of its own, with loopback up.
type Namespace struct {
	t    testing.TB
	file *os.File
}

// New makes a namespace that lives as long as the test. The test is skipped when not root.
func New(t testing.TB) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	n := &Namespace{t: t}
	var err error
	onOwnThread(func() { n.file, err = unshare() })
	if err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
	t.Cleanup(func() { n.file.Close() })
	n.Run("ip", "link", "set", "lo", "up")
	return n
}

func unshare() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	return os.Open("/proc/thread-self/ns/net")
}

// onOwnThread runs f on a thread that nothing else uses before or after: it dies with the goroutine.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// Do runs f inside the namespace. Sockets, devices and processes that f makes belong to it and go on
// working after f. f must not call t.Fatal or start goroutines that need the namespace.
func (n *Namespace) Do(f func()) {
	n.t.Helper()
	var err error
	onOwnThread(func() {
		if err = unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err == nil {
			f()
		}
	})
	if err != nil {
		n.t.Fatalf("enter network namespace: %v", err)
	}
}

// Output runs a command inside the namespace and returns what it prints.
func (n *Namespace) Output(name string, args ...string) (string, error) {
	n.t.Helper()
	var out []byte
	var err error
	n.Do(func() { out, err = exec.Command(name, args...).CombinedOutput() })
	if err != nil {
		return string(out), fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return string(out), nil
}

// Run is Output for a command that must succeed.
func (n *Namespace) Run(name string, args ...string) string {
	n.t.Helper()
	out, err := n.Output(name, args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// Connect joins two namespaces by a veth pair of the given names and gives the ends their addresses.
func Connect(t testing.TB, a *Namespace, aName string, aAddrs []netip.Prefix, b *Namespace, bName string, bAddrs []netip.Prefix) {
	t.Helper()
	var err error
	a.Do(func() {
		err = netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: aName, MTU: 1500, TxQLen: 1000},
			PeerName: bName, PeerNamespace: netlink.NsFd(int(b.file.Fd()))})
	})
	if err != nil {
		t.Fatalf("veth %s: %v", aName, err)
	}
	a.configure(aName, aAddrs)
	b.configure(bName, bAddrs)
}

func (n *Namespace) configure(link string, addrs []netip.Prefix) {
	n.t.Helper()
	for _, a := range addrs {
		args := []string{"addr", "add", a.String(), "dev", link}
		if a.Addr().Is6() {
			args = append(args, "nodad")
		}
		n.Run("ip", args...)
	}
	n.Run("ip", "link", "set", link, "up")
}
