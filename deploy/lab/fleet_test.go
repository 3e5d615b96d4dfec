//go:build linux

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDemo is `make demo`.
func TestDemo(t *testing.T) {
	bin := binaries(t)
	var out bytes.Buffer
	err := Demo(t.Context(), fmt.Sprintf("demo%d", os.Getpid()), bin, &out)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
}

// TestFiftyRekeys moves traffic while the fleet's keys change fifty times. Nothing is lost.
func TestFiftyRekeys(t *testing.T) {
	const rekeys, load = 50, 50 * time.Second
	e := newE2E(t, Config{Hosts: 2})
	e.mesh()
	addrs, err := e.Overlay(e.ctx, 2)
	e.must(err)
	var pingers []*Pinger
	for _, addr := range addrs {
		p, err := e.StartPing(e.ctx, HostName(1), addr)
		e.must(err)
		pingers = append(pingers, p)
	}
	done := make(chan error, 1)
	go func() {
		transfer, err := e.TransferFor(e.ctx, HostName(1), HostName(2), addrs[0], load, 100)
		if err == nil {
			t.Logf("iperf3: %d MB, %.0f Mbit/s, %d retransmits", transfer.Bytes>>20, transfer.Megabits(), transfer.Retransmits)
		}
		done <- err
	}()
	// A rekey takes a second: rekey_before counts in seconds, as the records do.
	seen := map[uint32]bool{}
	for range rekeys {
		before := e.spis()
		_, err := e.CLI(e.ctx, "rekey", "--all", "--wait")
		e.must(err)
		after := e.spis()
		e.must(allNew(before, after))
		for spi := range maps.Values(after) {
			if seen[spi] {
				t.Errorf("SPI %#08x came back", spi)
			}
			seen[spi] = true
		}
	}
	e.must(<-done)
	for _, p := range pingers {
		pings, err := p.Stop()
		e.must(err)
		e.must(noneLost(pings))
		t.Logf("pings: %v", pings)
	}
	e.eventually(time.Minute, "old generations are gone", func() error {
		sas, err := e.SAs(e.ctx)
		if err == nil && len(sas) != 2 {
			err = fmt.Errorf("%d associations are left, want 2", len(sas))
		}
		return err
	})
}

// TestControllerCrash: traffic goes on without a controller, and the controller goes on with the same
// associations.
func TestControllerCrash(t *testing.T) {
	e := newE2E(t, Config{Hosts: 2})
	e.mesh()
	addrs, err := e.Overlay(e.ctx, 2)
	e.must(err)
	before := e.spis()
	pinger, err := e.StartPing(e.ctx, HostName(1), addrs[1])
	e.must(err)
	for range 3 {
		e.must(e.KillController(e.ctx))
		e.must(e.StartController(e.ctx))
		e.up()
	}
	pings, err := pinger.Stop()
	e.must(err)
	e.must(noneLost(pings))
	if after := e.spis(); !maps.Equal(before, after) {
		t.Errorf("associations changed: before %v, after %v", before, after)
	}
}

// TestAgentRestart: a new life of an agent has new associations in both directions, the old ones
// disappear from the other end, and what does not concern the host stays.
func TestAgentRestart(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "killed"}[crash], func(t *testing.T) {
			e := newE2E(t, Config{Hosts: 3})
			e.mesh()
			before := e.spis()
			if crash {
				e.must(e.KillAgent(e.ctx, 2))
			} else {
				e.must(e.StopAgent(e.ctx, 2))
			}
			addrs, err := e.Overlay(e.ctx, 1)
			e.must(err)
			for _, addr := range addrs {
				if p, err := e.Ping(e.ctx, HostName(2), addr, 5); err != nil || p.Received > 0 {
					t.Errorf("host-2 without an agent reached %v: %v, %v", addr, p, err)
				}
			}
			e.must(e.StartAgent(2, ""))
			e.eventually(30*time.Second, "new associations", func() error {
				after, err := e.SPIs(e.ctx)
				if err != nil {
					return err
				}
				for _, stays := range []string{"host-1>host-3", "host-3>host-1"} {
					if after[stays] != before[stays] {
						return fmt.Errorf("%s changed from %#08x to %#08x", stays, before[stays], after[stays])
					}
					delete(after, stays)
				}
				if len(after) != 4 {
					return fmt.Errorf("established: %v", after)
				}
				return allNew(before, after)
			})
			e.pingAll()
			e.eventually(time.Minute, "the old associations are gone", func() error {
				sas, err := e.SAs(e.ctx)
				if err == nil && len(sas) != 6 {
					err = fmt.Errorf("%d associations, want 6: %v", len(sas), sas)
				}
				return err
			})
		})
	}
}

// TestHostRemoved: a deleted host loses everything, everywhere, and cannot come back by itself.
func TestHostRemoved(t *testing.T) {
	e := newE2E(t, Config{Hosts: 3})
	e.mesh()
	gone, err := e.Overlay(e.ctx, 3)
	e.must(err)
	_, err = e.CLI(e.ctx, "delete", "host", HostName(3), "--yes")
	e.must(err)
	e.eventually(time.Minute, "tombstones did their work", func() error {
		sas, err := e.SAs(e.ctx)
		if err == nil && len(sas) != 2 {
			err = fmt.Errorf("%d associations, want 2: %v", len(sas), sas)
		}
		return err
	})
	for _, addr := range gone {
		if p, err := e.Ping(e.ctx, HostName(1), addr, 3); err != nil || p.Received > 0 {
			t.Errorf("the removed host still answers at %v: %v, %v", addr, p, err)
		}
	}
	e.eventually(30*time.Second, "the removed host's agent ends", func() error {
		if e.Process(HostName(3)).Alive() {
			return errors.New("it runs")
		}
		return nil
	})
	if log := e.LogTail(HostName(3)); !strings.Contains(log, "removed") {
		t.Errorf("the agent does not say why it ended:\n%s", log)
	}
	// Started again, it is told why it is not let in, and gets nothing.
	e.must(e.StartAgent(3, ""))
	e.eventually(30*time.Second, "the removed host is refused", func() error {
		if log := e.LogTail(HostName(3)); !strings.Contains(log, "sallyport-agent cleanup") {
			return fmt.Errorf("its agent says:\n%s", log)
		}
		return nil
	})
	if sas, err := e.SAs(e.ctx); err != nil || len(sas) != 2 {
		t.Errorf("%d associations, want 2: %v", len(sas), err)
	}
}

// TestPartition: cut off from the controller, a host goes on with what it has; healed, it catches up.
// Cut off from each other, two hosts come back without help.
func TestPartition(t *testing.T) {
	e := newE2E(t, Config{Hosts: 3})
	e.mesh()
	addrs, err := e.Overlay(e.ctx, 2)
	e.must(err)

	e.must(e.PartitionController(e.ctx, 1))
	pinger, err := e.StartPing(e.ctx, HostName(1), addrs[0])
	e.must(err)
	before := e.spis()
	_, err = e.CLI(e.ctx, "rekey", "--all")
	e.must(err)
	e.eventually(30*time.Second, "the others are rekeyed", func() error {
		after, err := e.SPIs(e.ctx)
		if err == nil && after["host-2>host-3"] == before["host-2>host-3"] {
			err = errors.New("host-2>host-3 is not rekeyed")
		}
		return err
	})
	e.must(e.Heal(e.ctx, 1))
	e.eventually(90*time.Second, "the healed host is rekeyed", func() error {
		after, err := e.SPIs(e.ctx)
		if err != nil {
			return err
		}
		return allNew(before, after)
	})
	pings, err := pinger.Stop()
	e.must(err)
	e.must(noneLost(pings))

	e.must(e.Partition(e.ctx, 1, 2))
	if p, err := e.Ping(e.ctx, HostName(1), addrs[0], 5); err != nil || p.Received > 0 {
		t.Errorf("the partition leaks: %v, %v", p, err)
	}
	e.must(e.Heal(e.ctx, 1))
	e.must(e.Heal(e.ctx, 2))
	e.pingAll()
}

// TestLoss: one packet in five is lost on the way to a host, and the fleet still comes up and rekeys.
func TestLoss(t *testing.T) {
	e := newE2E(t, Config{Hosts: 2})
	e.must(e.Loss(e.ctx, 1, 20))
	e.mesh()
	before := e.spis()
	_, err := e.CLI(e.ctx, "rekey", "--all", "--wait")
	e.must(err)
	e.must(allNew(before, e.spis()))
	e.must(e.Heal(e.ctx, 1))
	e.pingAll()
}

// TestNAT: a host behind NAT is reached through the mapping that it made; when the NAT forgets and
// maps anew, the path follows.
func TestNAT(t *testing.T) {
	e := newE2E(t, Config{Hosts: 3, NAT: []int{3}})
	e.mesh()
	e.pingAll()
	e.must(e.RebindNAT(e.ctx, 3))
	e.eventually(90*time.Second, "the path follows the NAT", func() error {
		_, err := e.PingAll(e.ctx, 1)
		return err
	})
	e.pingAll()
}

// TestBothBehindNAT: two hosts behind NAT cannot meet yet, and status says so in words.
func TestBothBehindNAT(t *testing.T) {
	e := newE2E(t, Config{Hosts: 3, NAT: []int{2, 3}})
	e.must(e.Join(e.ctx))
	_, err := e.Apply(e.ctx, "mesh", MeshPolicy)
	e.must(err)
	e.eventually(time.Minute, "status explains", func() error {
		out, err := e.CLI(e.ctx, "status")
		if err == nil {
			return errors.New("status says that all is up")
		}
		if !strings.Contains(out, "behind NAT") {
			return fmt.Errorf("status says: %s", out)
		}
		return nil
	})
	addrs, err := e.Overlay(e.ctx, 1)
	e.must(err)
	for i := 2; i <= 3; i++ {
		// A host that has just joined does not know the overlay yet: until then its pings are anybody's.
		e.eventually(30*time.Second, "the guard is loaded", func() error {
			_, err := e.Agent(e.ctx, i, "counters")
			return err
		})
		e.eventually(30*time.Second, "the pairs with host-1 work", func() error {
			p, err := e.Ping(e.ctx, HostName(i), addrs[0], 3)
			return errors.Join(err, noneLost(p))
		})
	}
}

// TestIPv6Underlay: the same fleet over an IPv6 underlay.
func TestIPv6Underlay(t *testing.T) {
	e := newE2E(t, Config{Hosts: 3, NAT: []int{3}, IPv6: true})
	e.mesh()
	e.pingAll()
	over6, err := e.capture.Count(e.ctx, "ip6 and udp port 4500")
	e.must(err)
	over4, err := e.capture.Count(e.ctx, "ip and udp port 4500")
	e.must(err)
	if over6 == 0 || over4 != 0 {
		t.Errorf("%d ESP packets over IPv6 and %d over IPv4, want all over IPv6", over6, over4)
	}
}

// TestSites: networks behind two hosts talk to each other through them, protected.
func TestSites(t *testing.T) {
	e := newE2E(t, Config{Hosts: 2, Sites: []int{1, 2}})
	e.must(e.Join(e.ctx))
	manifest := MeshPolicy
	for i := 1; i <= 2; i++ {
		manifest += fmt.Sprintf("---\nkind: Host\nmetadata: {name: %s}\nspec: {subnets: [%s]}\n", HostName(i), strings.Join(SiteSubnets(i), ", "))
	}
	_, err := e.Apply(e.ctx, "sites", manifest)
	e.must(err)
	e.up()
	for _, to := range SiteMachine(2) {
		e.eventually(30*time.Second, "the sites reach each other", func() error {
			p, err := e.Ping(e.ctx, siteName(1), to, 3)
			return errors.Join(err, noneLost(p))
		})
	}
	// Without agents nothing may cross, in clear least of all.
	e.must(e.KillAgent(e.ctx, 1))
	for _, to := range SiteMachine(2) {
		if p, err := e.Ping(e.ctx, siteName(1), to, 5); err != nil || p.Received > 0 {
			t.Errorf("a site reached %v without an agent: %v, %v", to, p, err)
		}
	}
}

// TestClearIsDropped: clear packets towards protected addresses are dropped, with an agent and after
// it was killed.
func TestClearIsDropped(t *testing.T) {
	e := newE2E(t, Config{Hosts: 2})
	e.mesh()
	addrs, err := e.Overlay(e.ctx, 1)
	e.must(err)
	inject := func(when string) {
		for _, addr := range addrs {
			before, err := e.GuardDrops(e.ctx, 1)
			e.must(err)
			p, err := e.InjectClear(e.ctx, 1, addr, 5)
			e.must(err)
			after, err := e.GuardDrops(e.ctx, 1)
			e.must(err)
			if p.Received > 0 {
				t.Errorf("%s: %v to %v", when, p, addr)
			}
			if e.Process(HostName(1)).Alive() && after < before+p.Sent {
				t.Errorf("%s: %v to %v, and the guard counted %d", when, p, addr, after-before)
			}
		}
	}
	inject("agent runs")
	e.must(e.KillAgent(e.ctx, 1))
	// Without its TUN the host does not have the address, and has nothing to give the packets to.
	inject("agent killed")
	_, err = e.Agent(e.ctx, 1, "cleanup", "--state-dir", e.Path(HostName(1), "state"))
	e.must(err)
	tables, err := e.Exec(e.ctx, HostName(1), "nft", "list", "tables")
	e.must(err)
	if strings.Contains(tables, "sallyport") {
		t.Errorf("cleanup left rules behind: %s", tables)
	}
	rules, err := e.Exec(e.ctx, HostName(1), "ip", "rule")
	e.must(err)
	if lines := strings.Count(rules, "\n"); lines != 3 {
		t.Errorf("cleanup left rules behind, want the kernel's three: %s", rules)
	}
}

// TestBackupRestore: a restore begins a new incarnation, and the fleet comes up in it with new keys.
func TestBackupRestore(t *testing.T) {
	e := newE2E(t, Config{Hosts: 2})
	e.mesh()
	before := e.spis()
	file := e.Path("backup")
	_, err := e.CLI(e.ctx, "backup", file)
	e.must(err)
	raw, err := os.ReadFile(file)
	e.must(err)
	_, err = e.CLI(e.ctx, "delete", "policy", "mesh", "--yes")
	e.must(err)
	e.eventually(time.Minute, "the policy's associations are gone", func() error {
		sas, err := e.SAs(e.ctx)
		if err == nil && len(sas) > 0 {
			err = fmt.Errorf("%d are left", len(sas))
		}
		return err
	})

	// A damaged backup is refused and changes nothing.
	damaged := slices.Clone(raw)
	damaged[len(damaged)/2] ^= 1
	e.must(os.WriteFile(file+".damaged", damaged, 0o600))
	if out, err := e.CLI(e.ctx, "restore", file+".damaged", "--yes"); err == nil {
		t.Errorf("a damaged backup was restored: %s", out)
	}

	_, err = e.CLI(e.ctx, "restore", file, "--yes")
	e.must(err)
	e.eventually(time.Minute, "the fleet is up in the new incarnation", func() error {
		if !e.Process(nodeCtl).Alive() {
			if err := e.StartController(e.ctx); err != nil {
				return err
			}
		}
		after, err := e.SPIs(e.ctx)
		if err != nil {
			return err
		}
		return allNew(before, after)
	})
	e.up()
	e.pingAll()
}
