package netio_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/netio/nstest"
)

// repaired is what Repair puts back, in words.
func repaired(t *testing.T, ns *nstest.Namespace, n *netio.Network) string {
	t.Helper()
	var what []string
	var err error
	ns.Do(func() { what, err = n.Repair(t.Context()) })
	if err != nil {
		t.Fatalf("Repair: %v", err)
	}
	return strings.Join(what, ", ")
}

func TestRepair(t *testing.T) {
	ns, network, _ := applied(t, desired)
	if got := repaired(t, ns, network); got != "" {
		t.Fatalf("nothing is broken, and Repair mended %s", got)
	}
	for _, c := range []struct{ command, want string }{
		{"nft flush ruleset", "guard"},
		{"nft flush chain inet sallyport leave", "guard"},
		{"nft delete table arp sallyport", "guard"},
		{"ip link set sally0 down", "TUN sally0, route table 5350"},
		{"ip addr flush dev sally0", "TUN sally0, route table 5350"}, // its source address goes with it
		{"ip route flush table 5350", "route table 5350"},
		{"ip -6 route flush table 5350", "route table 5350"},
		{"ip route replace table 5350 blackhole 192.168.6.0/24", "route table 5350"},
		{"ip rule del pref 5350", "rule 5350"},
		{"ip -6 rule del pref 5350", "rule 5350"},
	} {
		t.Run(c.command, func(t *testing.T) {
			mends(t, ns, network, installedState, c.command, c.want)
		})
	}
}

// mends breaks by command what is installed, and asserts that a repair says want, that state is then as before, and that
// nothing is left to mend.
func mends(t *testing.T, ns *nstest.Namespace, network *netio.Network, state func(*nstest.Namespace) string, command, want string) {
	t.Helper()
	before := state(ns)
	ns.Run("sh", "-c", command)
	if state(ns) == before {
		t.Fatal("nothing was broken")
	}
	if got := repaired(t, ns, network); got != want {
		t.Errorf("mended %q, want %q", got, want)
	}
	if got := state(ns); got != before {
		t.Errorf("after the repair\n%s\nwant\n%s", got, before)
	}
	if got := repaired(t, ns, network); got != "" {
		t.Errorf("mended again: %q", got)
	}
}

// TestRepairLeavesOthersAlone: other tools change their own tables as they like, and two agents in one
// namespace do not set each other off.
func TestRepairLeavesOthersAlone(t *testing.T) {
	ns, network, _ := applied(t, desired)
	ns.Run("nft", "add table inet firewall")
	ns.Run("ip", "route", "add", "table", "99", "unreachable", "203.0.113.0/24")
	for i := range 3 {
		if got := repaired(t, ns, network); got != "" {
			t.Errorf("round %d: mended %s", i, got)
		}
		ns.Run("nft", fmt.Sprintf("add chain inet firewall c%d", i))
	}
}

// TestCountersAreTheGuards: others may have counters of the same names.
func TestCountersAreTheGuards(t *testing.T) {
	ns, _, config := applied(t, desired)
	ns.Run("nft", "add table inet other; add counter inet other clear_in { packets 7 bytes 7 }; add table ip sallyport; add counter ip sallyport spoofed { packets 7 bytes 7 }; add quota inet sallyport q 5 bytes")
	read := func() (c map[string]uint64, err error) {
		ns.Do(func() { c, err = netio.GuardCounters(t.Context(), config) })
		return c, err
	}
	if got, err := read(); err != nil || fmt.Sprint(got) != "map[clear_in:0 clear_out:0 discarded:0 spoofed:0]" {
		t.Errorf("counted %v, %v", got, err)
	}
	ns.Run("nft", "delete table inet sallyport")
	if got, err := read(); !errors.Is(err, netio.ErrNoGuard) {
		t.Errorf("without the guard: %v, %v", got, err)
	}
}

// TestGuardIsBackAfterAFlush: the worst of both, a flushed firewall and a TUN that is down.
func TestGuardIsBackAfterAFlush(t *testing.T) {
	l := newGuardLab(t)
	l.gateway.Run("nft", "flush", "ruleset")
	repaired(t, l.gateway, l.network)
	l.gateway.Run("ip", "link", "set", "sally0", "down")
	l.dropped(netio.CounterClearOut, func() error { return l.send(l.gateway, "172.16.0.1:1", "192.168.6.5:9") })
	repaired(t, l.gateway, l.network)
	if got := l.gateway.Run("ip", "route", "get", "192.168.6.5"); !strings.Contains(got, "sally0") {
		t.Errorf("protected traffic goes %s", got)
	}
}

// TestGuardStaysWhenHostsComeAndGo: a fleet has thousands of hosts in one pool, and nft takes its time.
func TestGuardStaysWhenHostsComeAndGo(t *testing.T) {
	ns, network, _ := applied(t, desired)
	handles := func() string { return ns.Run("nft", "-a", "list", "ruleset") } // a new rule has a new handle
	before := handles()
	apply := func(d netio.Desired) {
		var err error
		ns.Do(func() { err = network.Apply(t.Context(), d) })
		if err != nil {
			t.Fatal(err)
		}
	}
	more := desired
	more.Remote = append(prefixes("10.99.0.3/32", "fd99::3/128"), desired.Remote...)
	apply(more)
	if got := handles(); got != before {
		t.Errorf("a host came, and the guard changed to\n%s", got)
	}
	more.Remote = append(prefixes("192.168.9.0/24"), more.Remote...)
	apply(more)
	if got := handles(); got == before || !strings.Contains(got, "192.168.9.0/24") {
		t.Errorf("a subnet came, and the guard is\n%s", got)
	}
	ns.Run("nft", "flush", "ruleset")
	apply(more)
	if got := handles(); !strings.Contains(got, "192.168.9.0/24") {
		t.Errorf("flushed and applied, and the guard is\n%s", got)
	}
}
