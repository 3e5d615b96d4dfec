//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"no name":     {Hosts: 1},
		"long name":   {Name: strings.Repeat("a", 21), Hosts: 1},
		"path":        {Name: "../x", Hosts: 1},
		"no host":     {Name: "a"},
		"many hosts":  {Name: "a", Hosts: 201},
		"foreign NAT": {Name: "a", Hosts: 2, NAT: []int{3}},
		"zero site":   {Name: "a", Hosts: 2, Sites: []int{0}},
	} {
		if err := c.validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := (Config{Name: "a-1", Hosts: 200, NAT: []int{200}}).validate(); err != nil {
		t.Error(err)
	}
}

func TestAddressesDiffer(t *testing.T) {
	seen := map[netip.Addr]string{}
	note := func(what string, a addresses) {
		for _, p := range a.list() {
			if old, ok := seen[p.Addr()]; ok {
				t.Errorf("%s and %s are both %s", what, old, p.Addr())
			}
			seen[p.Addr()] = what
		}
	}
	note("ctl", underlay(stationCtl))
	note("router", underlay(stationRouter))
	for i := 1; i <= maxHosts; i++ {
		note(HostName(i), underlay(stationHost(i)))
		note(natName(i), behindNAT(i, 1))
		note("inside "+natName(i), behindNAT(i, 2))
		note(siteName(i), site(i, 1))
		note("machine "+siteName(i), site(i, 2))
	}
}

func TestProcessKnowsItself(t *testing.T) {
	self, err := Self()
	if err != nil || !self.Alive() {
		t.Fatalf("Self: %+v, %v", self, err)
	}
	reused := Process{PID: self.PID, Start: self.Start - 1}
	if reused.Alive() {
		t.Error("a pid with another start time counts as the same process")
	}
	if (Process{}).Alive() {
		t.Error("the zero process is alive")
	}
	if err := reused.signal(9); err != nil {
		t.Error(err)
	}
}

// TestKilledLabIsSwept: a lab whose owner was killed is removed by the next start of any lab.
func TestKilledLabIsSwept(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	t.Setenv("SALLYPORT_LAB_DIR", t.TempDir())
	ctx := t.Context()
	sleeper := exec.Command("sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	owner, err := identify(sleeper.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("k%d", os.Getpid())
	killed, err := Up(ctx, Config{Name: name, Hosts: 1, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.start(HostName(1), nil, "sleep", "600"); err != nil {
		t.Fatal(err)
	}
	daemon := killed.Process(HostName(1))
	if err := sleeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = sleeper.Wait()

	next, err := Up(ctx, Config{Name: name + "-x", Hosts: 1})
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(netnsDir + "/sp-" + name + "-host-1"); len(left) > 0 || daemon.Alive() {
		t.Errorf("left behind: %v, daemon alive: %v", left, daemon.Alive())
	}
	if _, err := os.Stat(killed.Dir()); !os.IsNotExist(err) {
		t.Errorf("left behind: %s", killed.Dir())
	}
	if left, _ := filepath.Glob(netnsDir + "/sp-" + name + "-x-host-1"); len(left) != 1 {
		t.Error("the next lab's own namespace is missing")
	}
	if err := next.Down(ctx); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(netnsDir + "/sp-" + name + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestFaultsBite: the lab's own tools do what they say, without any fleet.
func TestFaultsBite(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces, nftables")
	}
	owner, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Up(t.Context(), Config{Name: fmt.Sprintf("f%d", os.Getpid()), Hosts: 3, NAT: []int{3}, Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Down(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	lost := func(from string, to netip.Addr) bool {
		p, err := l.Ping(t.Context(), from, to, 2)
		if err != nil {
			t.Fatal(err)
		}
		return p.Received == 0
	}
	for _, a := range HostAddress(1) {
		for _, from := range []string{HostName(2), HostName(3), nodeCtl} {
			if lost(from, a) {
				t.Errorf("%s does not reach %s", from, a)
			}
		}
	}
	if err := l.Partition(t.Context(), 1, 3); err != nil {
		t.Fatal(err)
	}
	if a := HostAddress(1)[1]; !lost(HostName(3), a) || lost(HostName(2), a) {
		t.Error("the partition cuts too little or too much")
	}
	for i := range 3 {
		if err := l.Heal(t.Context(), i+1); err != nil {
			t.Fatal(err)
		}
	}
	if lost(HostName(3), HostAddress(1)[0]) {
		t.Error("healed, and still cut off")
	}
	if err := l.Loss(t.Context(), 1, 100); err != nil {
		t.Fatal(err)
	}
	if !lost(HostName(2), HostAddress(1)[0]) {
		t.Error("everything is lost, and still it answers")
	}
	// Clear traffic must be seen by the capture, or the capture proves nothing.
	if err := l.Heal(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c, err := l.Capture(t.Context(), "control")
	if err != nil {
		t.Fatal(err)
	}
	if lost(HostName(2), HostAddress(1)[0]) {
		t.Error("healed, and still lossy")
	}
	deadline := time.Now().Add(5 * time.Second)
	for n := 0; n == 0 && time.Now().Before(deadline); {
		n, _ = c.Count(t.Context(), "icmp")
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AssertNoClear(t.Context()); err == nil {
		t.Error("clear pings on the underlay went unnoticed")
	}
}
