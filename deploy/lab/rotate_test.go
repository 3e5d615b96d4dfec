//go:build linux

package lab

import (
	"strings"
	"testing"
	"time"
)

// TestRotateCA: a new root signs while the old one is still trusted. Hosts that joined before stay, hosts
// join after, and the old root cannot be dropped under those that need it.
func TestRotateCA(t *testing.T) {
	e := newE2E(t, Config{Hosts: 3})
	for i := 1; i <= 2; i++ {
		e.must(e.JoinHost(e.ctx, i))
		e.eventually(30*time.Second, HostName(i)+" joins", func() error { _, err := e.Overlay(e.ctx, i); return err })
	}
	early := e.token("--host", HostName(3)) // it names the old root
	_, err := e.CLI(e.ctx, "ca", "rotate", "--step", "prepare")
	e.must(err)
	_, err = e.CLI(e.ctx, "ca", "rotate", "--step", "activate")
	e.must(err)

	// The controller comes back with a certificate of the new root; so do agents that restart.
	e.must(e.StopController(e.ctx))
	e.must(e.StartController(e.ctx))
	e.must(e.StopAgent(e.ctx, 1))
	e.must(e.StartAgent(1, ""))
	e.must(e.StartAgent(3, early))
	_, err = e.Apply(e.ctx, "mesh", MeshPolicy)
	e.must(err)
	e.up()
	e.pingAll()

	out, err := e.CLI(e.ctx, "ca", "rotate", "--step", "finish")
	if err == nil || !strings.Contains(out, "force") {
		t.Errorf("the old root was dropped under hosts that need it: %v, %s", err, out)
	}
	e.pingAll()
}
