//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// etcdCluster is an etcd cluster of three members in the lab's ctl node, with TLS between members and
// towards clients:
//
//	ctl: sallyport-controller ── https, client certificate ──▶ etcd-1, etcd-2, etcd-3 on 127.0.0.1
type etcdCluster struct {
	*e2e
	binary string
	certs  certificates
}

const etcdMembers = 3

func memberName(i int) string { return fmt.Sprintf("etcd-%d", i) }
func clientURL(i int) string  { return fmt.Sprintf("https://127.0.0.1:%d", 23790+i) }
func peerURL(i int) string    { return fmt.Sprintf("https://127.0.0.1:%d", 23800+i) }

// etcdFlags make a controller use the cluster.
func etcdFlags(certs certificates) []string {
	var endpoints []string
	for i := 1; i <= etcdMembers; i++ {
		endpoints = append(endpoints, clientURL(i))
	}
	return []string{
		"--etcd-endpoints", strings.Join(endpoints, ","),
		"--etcd-cacert", certs.ca, "--etcd-cert", certs.cert, "--etcd-key", certs.key,
	}
}

// newEtcdCluster starts a lab with a cluster and no controller yet.
func newEtcdCluster(t *testing.T) *etcdCluster {
	t.Helper()
	binaries(t)
	binary := filepath.Join(binDir, "etcd")
	if out, err := exec.Command("go", "build", "-o", binary, "./etcd").CombinedOutput(); err != nil {
		t.Fatalf("build etcd: %v\n%s", err, out)
	}
	certs := makeCertificates(t)
	c := &etcdCluster{e2e: newEmptyE2E(t, Config{Hosts: 2, ControllerFlags: etcdFlags(certs)}), binary: binary, certs: certs}
	t.Cleanup(func() {
		for i := 1; i <= etcdMembers; i++ {
			if t.Failed() {
				t.Logf("--- log of %s\n%s", memberName(i), c.LogTail(memberName(i)))
			}
			// At once: a member that has lost its peers takes its time.
			if err := c.Process(memberName(i)).kill(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	for i := 1; i <= etcdMembers; i++ {
		c.startMember(i)
	}
	return c
}

// startMember starts a member, for the first time or again, and records it with the lab's daemons.
func (c *etcdCluster) startMember(i int) {
	c.t.Helper()
	var members []string
	for j := 1; j <= etcdMembers; j++ {
		members = append(members, memberName(j)+"="+peerURL(j))
	}
	p, err := spawn(c.state.Config.namespace(nodeCtl), c.Log(memberName(i)), nil, c.binary,
		"--name", memberName(i), "--data-dir", c.Path(memberName(i)),
		"--listen-client-urls", clientURL(i), "--advertise-client-urls", clientURL(i),
		"--listen-peer-urls", peerURL(i), "--initial-advertise-peer-urls", peerURL(i),
		"--initial-cluster", strings.Join(members, ","), "--initial-cluster-token", c.Config().Name,
		"--client-cert-auth", "--trusted-ca-file", c.certs.ca, "--cert-file", c.certs.cert, "--key-file", c.certs.key,
		"--peer-client-cert-auth", "--peer-trusted-ca-file", c.certs.ca, "--peer-cert-file", c.certs.cert, "--peer-key-file", c.certs.key,
		"--log-level", "warn",
	)
	c.must(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Processes[memberName(i)] = p
	c.must(c.state.save())
}

// TestExternalEtcd: with an etcd cluster of its own, the fleet survives the loss of each member in turn
// without a hitch, and the loss of all of them with the associations it has.
func TestExternalEtcd(t *testing.T) {
	c := newEtcdCluster(t)
	c.must(c.StartController(c.ctx))
	c.record()
	c.mesh()
	c.pingAll()
	addrs, err := c.Overlay(c.ctx, 2)
	c.must(err)
	pinger, err := c.StartPing(c.ctx, HostName(1), addrs[0])
	c.must(err)

	for i := 1; i <= etcdMembers; i++ { // one of them leads
		c.must(c.Process(memberName(i)).kill(c.ctx))
		before := c.spis()
		c.eventually(30*time.Second, "the others have a leader", func() error { return c.memberAnswers(i%etcdMembers + 1) })
		// A write that met the election may have failed, and may be repeated.
		c.eventually(30*time.Second, "rekey without "+memberName(i), func() error {
			_, err := c.CLI(c.ctx, "rekey", "--all", "--wait")
			return err
		})
		c.must(allNew(before, c.spis()))
		c.startMember(i)
		c.eventually(30*time.Second, "the member is back", func() error { return c.memberAnswers(i) })
	}

	before := c.spis()
	c.killMembers()
	c.statusSays("etcd does not answer", "nothing can be changed")
	c.must(c.refusesWrites())
	for i := 1; i <= etcdMembers; i++ {
		c.startMember(i)
	}
	c.up()
	pings, err := pinger.Stop()
	c.must(errors.Join(err, noneLost(pings)))
	t.Logf("pings: %v", pings)
	if after := c.spis(); !maps.Equal(before, after) {
		t.Errorf("associations changed: before %v, after %v", before, after)
	}
	before = c.spis()
	_, err = c.CLI(c.ctx, "rekey", "--all", "--wait")
	c.must(err)
	c.must(allNew(before, c.spis()))
	c.pingAll()

	// Asked to end while etcd is away, the controller does.
	c.killMembers()
	controller := c.Process(nodeCtl)
	c.must(controller.signal(syscall.SIGTERM))
	ctx, cancel := context.WithTimeout(c.ctx, 15*time.Second)
	defer cancel()
	c.must(controller.wait(ctx))
}

func (c *etcdCluster) killMembers() {
	c.t.Helper()
	for i := 1; i <= etcdMembers; i++ {
		c.must(c.Process(memberName(i)).kill(c.ctx))
	}
}

// memberAnswers asks a member over TLS for its health.
func (c *etcdCluster) memberAnswers(i int) error {
	return c.within(nodeCtl, func() error { return c.certs.getHealth(clientURL(i)) })
}

// statusSays asserts that status ends with a failure and says this.
func (c *etcdCluster) statusSays(words ...string) {
	c.t.Helper()
	var out string
	c.eventually(time.Minute, "status notices that etcd is away", func() error {
		var err error
		if out, err = c.CLI(c.ctx, "status"); err == nil {
			return fmt.Errorf("status is content: %s", out)
		}
		for _, word := range words {
			if !strings.Contains(out, word) {
				return fmt.Errorf("status lacks %q: %s", word, out)
			}
		}
		return nil
	})
	c.t.Logf("status without etcd:\n%s", out)
}

// refusesWrites: what cannot be stored is refused, with etcd named as the reason.
func (c *etcdCluster) refusesWrites() error {
	out, err := c.CLI(c.ctx, "join-token", "create", "--host", "host-9")
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		return fmt.Errorf("a join token was made without etcd: %w: %s", err, out)
	}
	if !strings.Contains(out, "etcd") {
		return fmt.Errorf("the refusal does not name etcd: %s", out)
	}
	return nil
}

// TestControllerWithoutEtcd: a start with etcd down ends soon, and says which endpoint did not answer, why,
// and what to do.
func TestControllerWithoutEtcd(t *testing.T) {
	certs := makeCertificates(t)
	e := newEmptyE2E(t, Config{Hosts: 1})
	ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
	defer cancel()
	cmd := e.Command(ctx, nodeCtl, append([]string{
		e.Config().Binaries.Controller, "run", "--name", "lab",
		"--data-dir", e.Path("data"), "--key-dir", e.Path("keys"), "--socket", e.Path("socket"), "--credential", e.Path("operator.yaml"),
	}, etcdFlags(certs)...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("the controller: %v: %s", err, &out)
	}
	for _, word := range []string{clientURL(1), clientURL(3), "connection refused", "--etcd-endpoints", "check that etcd runs"} {
		if !strings.Contains(out.String(), word) {
			t.Errorf("the error lacks %q:\n%s", word, &out)
		}
	}
}
