package netio_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/netio/nstest"
)

func prefixes(ss ...string) (out []netip.Prefix) {
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func addrs(ss ...string) (out []netip.Addr) {
	for _, s := range ss {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

var desired = netio.Desired{
	Addresses: addrs("10.99.0.1", "fd99::1"),
	Pools:     prefixes("10.99.0.0/16", "fd99::/64"),
	Subnets:   prefixes("192.168.5.0/24"),
	Remote:    prefixes("10.99.0.2/32", "fd99::2/128", "192.168.6.0/24", "192.168.6.128/25"),
	Uplink:    []netip.AddrPort{netip.MustParseAddrPort("192.0.2.10:7443")},
}

// applied gives a namespace in which desired is installed.
func applied(t *testing.T, d netio.Desired) (*nstest.Namespace, *netio.Network, netio.Config) {
	ns := nstest.New(t)
	network, config := appliedIn(t, ns, d)
	return ns, network, config
}

func appliedIn(t *testing.T, ns *nstest.Namespace, d netio.Desired) (*netio.Network, netio.Config) {
	config := netio.Config{StateDir: filepath.Join(t.TempDir(), "state")}
	var network *netio.Network
	var err error
	ns.Do(func() {
		var tun *netio.TUN
		if tun, err = netio.OpenTUN(netio.DefaultTUNName, netio.DefaultMTU); err != nil {
			return
		}
		t.Cleanup(func() { tun.Close() })
		if network, err = netio.NewNetwork(config); err != nil {
			return
		}
		t.Cleanup(network.Close)
		err = network.Apply(t.Context(), d)
	})
	if err != nil {
		t.Fatal(err)
	}
	return network, config
}

// TestApplyWhereIPv6IsDisabled: hosts on which an administrator has turned IPv6 off by sysctl.
func TestApplyWhereIPv6IsDisabled(t *testing.T) {
	ns := nstest.New(t)
	ns.Run("sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	appliedIn(t, ns, desired)
	if got := installedState(ns); !strings.Contains(got, "fd99::1/128") || !strings.Contains(got, "fd99::2 dev sally0") {
		t.Errorf("no IPv6 overlay:\n%s", got)
	}
	var err error
	ns.Do(func() {
		var v4, v6 *netio.UDPSocket
		if v4, v6, err = netio.ListenUDP(netio.UDPOptions{Port: 4500, Mark: netio.DefaultMark}); err == nil {
			v4.Close()
			if v6 != nil {
				v6.Close()
			}
		}
	})
	if err != nil {
		t.Errorf("sockets: %v", err)
	}
}

// installedState is what Apply installed, without counters and what the kernel adds by itself.
func installedState(ns *nstest.Namespace) string {
	var parts []string
	for _, f := range []string{"-4", "-6"} {
		parts = append(parts, ns.Run("ip", f, "rule", "show"))
		out, _ := ns.Output("ip", f, "route", "show", "table", "5350") // fails for an empty table
		parts = append(parts, out)
	}
	out, err := ns.Output("ip", "-br", "addr", "show", "dev", "sally0")
	if err != nil {
		out = "" // the device is gone
	}
	return strings.Join(append(parts, out, ns.Run("nft", "-s", "list", "ruleset")), "\n")
}

func TestApplyIsIdempotentAndCleanedUp(t *testing.T) {
	ns, network, config := applied(t, desired)
	first := installedState(ns)
	for _, want := range []string{
		"5350:\tnot from all fwmark 0x5a11 lookup 5350",
		"unreachable 10.99.0.0/16", "unreachable fd99::/64",
		"10.99.0.2 dev sally0", "192.168.6.0/24 dev sally0", "192.168.6.128/25 dev sally0",
		"throw 192.168.5.0/24", "src 10.99.0.1", "fd99::2 dev sally0", "src fd99::1",
		"10.99.0.1/32", "fd99::1/128", "table inet sallyport", "table arp sallyport",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("not installed: %q", want)
		}
	}
	if strings.Count(first, "fwmark 0x5a11") != 2 {
		t.Errorf("want one rule for each family")
	}
	var err error
	ns.Do(func() { err = network.Apply(t.Context(), desired) })
	if again := installedState(ns); err != nil || again != first {
		t.Fatalf("second Apply (%v) changed\n%s\nto\n%s", err, first, again)
	}
	// Another process that knows only the state directory.
	ns.Do(func() { err = netio.Cleanup(context.Background(), netio.Config{StateDir: config.StateDir}) })
	if err != nil {
		t.Fatal(err)
	}
	if left := installedState(ns); strings.Contains(left, "5350") || strings.Contains(left, "sallyport") || strings.Contains(left, "sally0") {
		t.Errorf("Cleanup left\n%s", left)
	}
	if got := strings.TrimSpace(ns.Run("cat", "/proc/sys/net/ipv4/conf/all/src_valid_mark")); got != "0" {
		t.Errorf("src_valid_mark after Cleanup is %s", got)
	}
	if _, err := os.Stat(filepath.Join(config.StateDir, "guard.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("saved guard after Cleanup: %v", err)
	}
	ns.Do(func() { err = netio.Cleanup(context.Background(), netio.Config{StateDir: config.StateDir}) })
	if err != nil {
		t.Errorf("second Cleanup: %v", err)
	}
}

func TestApplyChangesOnlyDifferences(t *testing.T) {
	ns, network, _ := applied(t, desired)
	changed := netio.Desired{
		Addresses: addrs("10.99.0.7"),
		Pools:     prefixes("10.99.0.0/16"),
		Remote:    prefixes("10.99.0.3/32", "10.99.0.0/16"), // the pool is routed as a whole now
	}
	var err error
	ns.Do(func() { err = network.Apply(t.Context(), changed) })
	if err != nil {
		t.Fatal(err)
	}
	got := installedState(ns)
	for _, gone := range []string{"unreachable 10.99", "unreachable fd99", "10.99.0.2", "192.168", "fd99::", "10.99.0.1/32", "src 10.99.0.1"} {
		if strings.Contains(got, gone) {
			t.Errorf("still there: %q in\n%s", gone, got)
		}
	}
	for _, want := range []string{"10.99.0.0/16 dev sally0", "10.99.0.3 dev sally0", "src 10.99.0.7"} {
		if !strings.Contains(got, want) {
			t.Errorf("missing %q in\n%s", want, got)
		}
	}
}

// TestApplyChangesSourceHints: the routes stay, the address that they name changes.
func TestApplyChangesSourceHints(t *testing.T) {
	ns, network, _ := applied(t, desired)
	changed := desired
	changed.Addresses = addrs("10.99.0.7", "fd99::7")
	changed.Remote = append(prefixes("fd99::/64", "10.99.0.0/16"), desired.Remote...) // from unreachable to routed
	var err error
	ns.Do(func() { err = network.Apply(t.Context(), changed) })
	if err != nil {
		t.Fatal(err)
	}
	got := installedState(ns)
	if n, v4, v6 := strings.Count(got, " dev sally0"), strings.Count(got, "src 10.99.0.7"), strings.Count(got, "src fd99::7"); n != 6 || v4 != 4 || v6 != 2 || strings.Contains(got, "unreachable 10.99") || strings.Contains(got, "unreachable fd99") {
		t.Errorf("%d routes, %d with the IPv4 and %d with the IPv6 source, want 6, 4, 2:\n%s", n, v4, v6, got)
	}
}

func TestApplyAfterAKill(t *testing.T) {
	ns, network, config := applied(t, desired)
	want := installedState(ns)
	// What a killed agent leaves: no TUN (it dies with the process), everything else.
	ns.Run("ip", "link", "del", "sally0")
	var err error
	ns.Do(func() {
		var tun *netio.TUN
		if tun, err = netio.OpenTUN("sally0", 1400); err != nil {
			return
		}
		t.Cleanup(func() { tun.Close() })
		network.Close()
		var second *netio.Network
		if second, err = netio.NewNetwork(config); err != nil {
			return
		}
		defer second.Close()
		err = second.Apply(t.Context(), desired)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := installedState(ns); got != want {
		t.Errorf("after a restart\n%s\nwant\n%s", got, want)
	}
	// The original value of the sysctl is still known.
	ns.Do(func() { err = netio.Cleanup(context.Background(), config) })
	if got := strings.TrimSpace(ns.Run("cat", "/proc/sys/net/ipv4/conf/all/src_valid_mark")); err != nil || got != "0" {
		t.Errorf("Cleanup: %v, src_valid_mark is %s", err, got)
	}
}

func TestRestoreGuard(t *testing.T) {
	ns, _, config := applied(t, desired)
	saved := ns.Run("nft", "-s", "list", "ruleset")
	boot := nstest.New(t) // a fresh kernel, as far as the network goes
	var err error
	boot.Do(func() { err = netio.RestoreGuard(t.Context(), config.StateDir) })
	if err != nil {
		t.Fatal(err)
	}
	if got := boot.Run("nft", "-s", "list", "ruleset"); got != saved {
		t.Errorf("restored\n%s\nwant\n%s", got, saved)
	}
}

func TestTUNNeedsPrivileges(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("runs as root: has the privileges")
	}
	if _, err := netio.OpenTUN("sallytest", 1400); err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") &&
		!strings.Contains(err.Error(), "modprobe") {
		t.Errorf("OpenTUN: %v", err)
	}
}

func TestUnderlayAddressesAreWatched(t *testing.T) {
	ns, network, _ := applied(t, desired)
	list := func() string {
		var out []netip.Addr
		var err error
		ns.Do(func() { out, err = network.UnderlayAddresses(desired.Pools) })
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(out)
	}
	if got := list(); got != "[]" {
		t.Errorf("at first %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var changes <-chan struct{}
	var err error
	ns.Do(func() { changes, err = netio.WatchAddresses(ctx) })
	if err != nil {
		t.Fatal(err)
	}
	peer := nstest.New(t)
	nstest.Connect(t, ns, "eth0", prefixes("192.0.2.1/24", "2001:db8::1/64"), peer, "eth0", nil)
	deadline := time.After(10 * time.Second)
	for list() != "[192.0.2.1 2001:db8::1]" {
		select {
		case <-changes:
		case <-deadline:
			t.Fatalf("no more changes are told, and there are %s", list())
		}
	}
	cancel()
	for range changes { // it is closed in the end
	}
}

func TestForwardingOff(t *testing.T) {
	ns := nstest.New(t)
	off := func(subnets ...string) (out []string) {
		ns.Do(func() { out = netio.ForwardingOff(prefixes(subnets...)) })
		return out
	}
	ns.Run("sysctl", "-q", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=1")
	if got := fmt.Sprint(off("192.168.5.0/24", "fd05::/64"), off("fd05::/64"), off()); got != "[net.ipv4.ip_forward] [] []" {
		t.Errorf("off: %s", got)
	}
}
