//go:build linux

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTwoLabs runs two fleets side by side, with the same names of hosts and the same underlay addresses,
// and takes one away.
//
//	lab A: ctl, host-1, host-2        lab B: ctl, host-1, host-2
func TestTwoLabs(t *testing.T) {
	labs := []*e2e{newE2E(t, Config{Hosts: 2}), newE2E(t, Config{Hosts: 2})}
	both := func(do func(*e2e) error) {
		t.Helper()
		done := make(chan error, len(labs))
		for _, l := range labs {
			go func() { done <- do(l) }()
		}
		for range labs {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	both(func(l *e2e) error {
		if err := l.Join(l.ctx); err != nil {
			return err
		}
		if _, err := l.Apply(l.ctx, "mesh", MeshPolicy); err != nil {
			return err
		}
		return l.AwaitHosts(l.ctx)
	})
	both(func(l *e2e) error { _, err := l.PingAll(l.ctx, 10); return err })

	// Each controller has its own two hosts and associations, and no other.
	var seen []string
	for _, l := range labs {
		hosts, err := l.CLI(l.ctx, "get", "hosts", "-o", "name")
		l.must(err)
		if len(strings.Fields(hosts)) != 2 {
			t.Errorf("%s has the hosts %q", l.Config().Name, hosts)
		}
		for pair, spi := range l.spis() {
			seen = append(seen, fmt.Sprintf("%s %#08x", pair, spi))
		}
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != 4 {
		t.Errorf("associations of both labs: %v", seen)
	}
	// Each fleet has its own IPv6 prefix, so an address says whose it is. That of the other fleet is
	// nothing that the own one protects: it leaves in clear, and finds nobody.
	for _, l := range labs {
		l.endCapture()
	}
	for i, l := range labs {
		other := labs[1-i]
		for j := 1; j <= 2; j++ {
			addrs, err := other.Overlay(other.ctx, j)
			l.must(err)
			if p := l.pingBriefly(HostName(1), addrs[1]); p.Received > 0 {
				t.Errorf("host-1 of %s reaches %s of %s: %v", l.Config().Name, HostName(j), other.Config().Name, p)
			}
		}
	}

	// The end of one is nothing to the other.
	gone, stays := labs[0], labs[1]
	addrs, err := stays.Overlay(stays.ctx, 2)
	stays.must(err)
	pinger, err := stays.StartPing(stays.ctx, HostName(1), addrs[0])
	stays.must(err)
	stays.must(gone.Down(gone.ctx))
	if left, _ := filepath.Glob(filepath.Join(netnsDir, gone.Config().namespace("*"))); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	stays.pingAll()
	pings, err := pinger.Stop()
	stays.must(errors.Join(err, noneLost(pings)))
}

// pingBriefly is Ping for an address that should not answer.
func (e *e2e) pingBriefly(node string, to netip.Addr) Pings {
	e.t.Helper()
	p, err := e.Ping(e.ctx, node, to, 2)
	if err != nil && !strings.Contains(err.Error(), "unreachable") {
		e.must(err)
	}
	return p
}

// TestKilledDemoIsSwept: a demonstration is killed while its fleet, a capture and a transfer run. The next
// start of any lab takes all of it away.
func TestKilledDemoIsSwept(t *testing.T) {
	bin := binaries(t)
	t.Setenv("SALLYPORT_LAB_DIR", t.TempDir())
	name := fmt.Sprintf("d%d", os.Getpid())
	var out bytes.Buffer
	demo := exec.Command(bin.CLI, "lab", "demo", "--name", name)
	demo.Stdout, demo.Stderr = &out, &out
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- demo.Wait() }()
	namespaces := func() []string {
		found, err := filepath.Glob(filepath.Join(netnsDir, "sp-"+name+"-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	// Killed in the middle of the traffic.
	var running []Process
	err := retry(t.Context(), time.Minute, func() error {
		running = nil
		for _, ns := range namespaces() {
			residents, err := residentsOf(t.Context(), filepath.Base(ns))
			if err != nil {
				return err
			}
			running = append(running, residents...)
		}
		return lacks(running, "sallyport-controller", "sallyport-agent", "tcpdump", "iperf3")
	})
	if killErr := demo.Process.Kill(); killErr != nil {
		t.Error(killErr)
	}
	<-ended
	if err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if len(namespaces()) == 0 {
		t.Error("the killed demonstration left no namespace: this test proves nothing")
	}

	next, err := Up(t.Context(), Config{Name: name + "-next", Hosts: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := next.Down(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for _, p := range running {
		if p.Alive() {
			t.Errorf("%s (%d) still runs", commandOf(p), p.PID)
		}
	}
	for _, ns := range namespaces() {
		if !strings.HasPrefix(filepath.Base(ns), "sp-"+name+"-next-") {
			t.Errorf("left behind: %s", ns)
		}
	}
	if _, err := os.Stat(dirOf(name)); !os.IsNotExist(err) {
		t.Errorf("left behind: %s", dirOf(name))
	}
}

// lacks says which of these commands is not among the processes.
func lacks(running []Process, commands ...string) error {
	for _, command := range commands {
		if !slices.ContainsFunc(running, func(p Process) bool { return commandOf(p) == command }) {
			return fmt.Errorf("no %s among %d processes", command, len(running))
		}
	}
	return nil
}

// commandOf is the name of a process's executable.
func commandOf(p Process) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
	if err != nil {
		return ""
	}
	argv0, _, _ := strings.Cut(string(line), "\x00")
	return filepath.Base(argv0)
}
