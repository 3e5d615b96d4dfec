//go:build linux

package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// binDir is where the binaries under test go.
var binDir string

func TestMain(m *testing.M) { os.Exit(runMain(m)) }

func runMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sallyport-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binDir = dir
	return m.Run()
}

// build makes the binaries, once, with the hook that exports keys for a packet dissector.
var build = sync.OnceValues(func() (Binaries, error) {
	b := Binaries{
		Controller: filepath.Join(binDir, "sallyport-controller"),
		Agent:      filepath.Join(binDir, "sallyport-agent"),
		CLI:        filepath.Join(binDir, "sallyport"),
	}
	for out, pkg := range map[string]string{b.Controller: "./controller", b.Agent: "./agent", b.CLI: "./controller/sallyport"} {
		cmd := exec.Command("go", "build", "-tags", "sallyport_testkeys", "-o", out, pkg)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("build %s: %w\n%s", pkg, err, said)
		}
	}
	return b, nil
})

// binaries are those under test. A test that needs them needs root, too.
func binaries(t *testing.T) Binaries {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces, TUN devices, nftables")
	}
	b, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var labNumber atomic.Int32

// e2e is a lab under test.
type e2e struct {
	*Lab
	t       *testing.T
	ctx     context.Context
	capture *Capture
}

// newE2E starts a lab with a controller and a capture of the underlay. At the end of the test nothing
// in clear may have crossed it.
func newE2E(t *testing.T, cfg Config) *e2e {
	t.Helper()
	e := newEmptyE2E(t, cfg)
	e.must(e.StartController(e.ctx))
	e.record()
	return e
}

// record begins the capture of the underlay.
func (e *e2e) record() {
	e.t.Helper()
	var err error
	e.capture, err = e.CaptureHeaders(e.ctx, "underlay")
	e.must(err)
}

// newEmptyE2E starts a lab without a daemon.
func newEmptyE2E(t *testing.T, cfg Config) *e2e {
	t.Helper()
	bin := binaries(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	owner, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Name = fmt.Sprintf("t%d-%d", os.Getpid(), labNumber.Add(1))
	cfg.Owner, cfg.Binaries = owner, bin
	l, err := Up(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	e := &e2e{Lab: l, t: t, ctx: ctx}
	t.Cleanup(e.finish)
	return e
}

// finish checks the capture, shows the logs of a failure, and removes the lab.
func (e *e2e) finish() {
	ctx := context.Background()
	e.endCapture()
	if e.t.Failed() {
		for i := 1; i <= e.Config().Hosts; i++ {
			if counters, err := e.Agent(ctx, i, "counters"); err == nil {
				e.t.Logf("--- counters of %s\n%s", HostName(i), counters)
			}
		}
		for _, node := range e.Config().nodes() {
			if _, err := os.Stat(e.Log(node)); err == nil {
				e.t.Logf("--- log of %s\n%s", node, e.LogTail(node))
			}
		}
	}
	if err := e.Down(ctx); err != nil {
		e.t.Error(err)
	}
}

// endCapture ends the capture of the underlay, if it runs, and checks it.
func (e *e2e) endCapture() {
	if e.capture == nil {
		return
	}
	if err := e.capture.Stop(); err != nil {
		e.t.Error(err)
	} else if esp, err := e.capture.AssertNoClear(context.Background()); err != nil {
		e.t.Error(err)
	} else {
		e.t.Logf("underlay: %d ESP packets, nothing in clear", esp)
	}
	e.capture = nil
}

func (e *e2e) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// mesh joins every host and waits until all pairs are up.
func (e *e2e) mesh() {
	e.t.Helper()
	e.must(e.Join(e.ctx))
	_, err := e.Apply(e.ctx, "mesh", MeshPolicy)
	e.must(err)
	e.up()
}

// up waits until every host has joined and all pairs are up.
func (e *e2e) up() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
	defer cancel()
	e.must(e.AwaitHosts(ctx))
}

// pingAll asserts that every pair answers over both families.
func (e *e2e) pingAll() {
	e.t.Helper()
	_, err := e.PingAll(e.ctx, 3)
	e.must(err)
}

func (e *e2e) spis() map[string]uint32 {
	e.t.Helper()
	spis, err := e.SPIs(e.ctx)
	e.must(err)
	return spis
}

// eventually waits for a condition, and fails with its last error.
func (e *e2e) eventually(limit time.Duration, what string, try func() error) {
	e.t.Helper()
	if err := retry(e.ctx, limit, try); err != nil {
		e.t.Fatalf("%s: not within %v: %v", what, limit, err)
	}
}
