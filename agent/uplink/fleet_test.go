package uplink_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/uplink"
	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/fleet/fleettest"
	"sallyport.dev/sallyport/services/protocol/plan"
)

// These tests join a real uplink and a real fleet service on a real store; the planner's part is played
// by the test.
//
//	store ── fleet.Service ══ memory ══ uplink.Uplink ── device
type joint struct {
	t  *testing.T
	f  *fleettest.Fleet
	ca *authority
}

func newJoint(t *testing.T) *joint {
	t.Helper()
	j := &joint{t: t, f: fleettest.New(t), ca: newAuthority(t)}
	j.f.Host(1)
	j.f.Host(2)
	j.f.Policy("mesh")
	return j
}

func (j *joint) dialer(host string) *dialer {
	return &dialer{
		enrol: func(key *uplink.Key) (*fleetv1.Identity, error) { return j.ca.issue(host, key.Signer().Public()), nil },
		dial:  func() (*grpc.ClientConn, error) { return j.f.Dial(host, "192.0.2.1:4711"), nil },
	}
}

// start starts the agent of a host and waits until it has its pair.
func (j *joint) start(host, dir string) (*life, *device) {
	j.t.Helper()
	d := newDevice()
	l := live(j.t, dir, j.dialer(host), d)
	d.await(j.t, "the pair", func(d *device) bool { return len(d.pairs) == 1 && d.config.MTU == 1400 })
	return l, d
}

// establish brings a generation up, as the planner would, from acks alone.
func (j *joint) establish(n uint32) plan.PairID {
	j.t.Helper()
	id := j.f.Generation("web-1", "web-2", n, plan.Inbound)
	j.f.AwaitPhase(id, n, "both inbound acks", acks(plan.InA|plan.InB))
	j.f.SetPhase(id, n, plan.Outbound)
	j.f.AwaitPhase(id, n, "all acks", acks(plan.InA|plan.InB|plan.OutA|plan.OutB))
	j.f.SetPhase(id, n, plan.Established)
	return id
}

func acks(want plan.Acks) func(*controllerv1.GenerationPhase) bool {
	return func(r *controllerv1.GenerationPhase) bool { return plan.Acks(r.GetAcks()) == want }
}

func TestTwoAgentsGetOnePairOfKeys(t *testing.T) {
	j := newJoint(t)
	_, a := j.start("web-1", t.TempDir())
	_, b := j.start("web-2", t.TempDir())
	id := j.establish(1)
	a.awaitHeld(t, "in 1", "out 1")
	b.awaitHeld(t, "in 1", "out 1")
	said := datapath.SAID(fleettest.SAID(id.A(), id.B(), 1))
	aToB, bToA := string(fleettest.Material(true, 1)), string(fleettest.Material(false, 1))
	if a.copyOf()[said] != "in"+bToA+"out"+aToB || b.copyOf()[said] != "in"+aToB+"out"+bToA {
		t.Error("the ends do not hold each other's keys")
	}
	a.mu.Lock()
	sa := a.in[said]
	a.mu.Unlock()
	if sa.Hard.Time <= 0 || sa.Hard.Packets != 1<<41 || sa.Soft.Packets != 1<<40 || !sa.ESN || sa.ReplayWindow != 2048 {
		t.Errorf("installed %+v", sa)
	}
}

func TestRekeyAndDrain(t *testing.T) {
	j := newJoint(t)
	_, a := j.start("web-1", t.TempDir())
	_, b := j.start("web-2", t.TempDir())
	id := j.establish(1)
	j.establish(2)
	a.awaitHeld(t, "in 1", "in 2", "out 1", "out 2")
	j.f.SetPhase(id, 1, plan.Draining)
	a.awaitHeld(t, "in 1", "in 2", "out 2")
	j.f.SetPhase(id, 1, plan.Deleting)
	j.f.AwaitPhase(id, 1, "both deletions", func(r *controllerv1.GenerationPhase) bool {
		return plan.Acks(r.GetAcks()).Has(plan.DeletedA | plan.DeletedB)
	})
	a.awaitHeld(t, "in 2", "out 2")
	b.awaitHeld(t, "in 2", "out 2")
}

func TestReconnectInstallsNothingTwice(t *testing.T) {
	j := newJoint(t)
	dir := t.TempDir()
	d := newDevice()
	conns := make(chan *grpc.ClientConn, 16)
	dial := j.dialer("web-1")
	dial.dial = func() (*grpc.ClientConn, error) {
		conn := j.f.Dial("web-1", "192.0.2.1:4711")
		conns <- conn
		return conn, nil
	}
	l := live(t, dir, dial, d)
	_, b := j.start("web-2", t.TempDir())
	d.await(t, "the pair", func(d *device) bool { return len(d.pairs) == 1 })
	id := j.establish(1)
	b.awaitHeld(t, "in 1", "out 1")
	installs := 0
	d.await(t, "rest", func(d *device) bool { installs = d.installs; return installs == 2 })
	(<-conns).Close()
	<-conns
	l.await("a second stream", func(s uplink.Status) bool { return s.Connected && s.Streams == 2 })
	// What changes after the reconnection comes.
	j.f.SetPhase(id, 1, plan.Deleting)
	d.awaitHeld(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.installs != installs {
		t.Errorf("%d installations, want %d: something was sent twice", d.installs, installs)
	}
}

func TestNewProcessGetsNoOldKey(t *testing.T) {
	j := newJoint(t)
	dir := t.TempDir()
	l, a := j.start("web-1", dir)
	_, b := j.start("web-2", t.TempDir())
	id := j.establish(1)
	a.awaitHeld(t, "in 1", "out 1")
	old := j.f.Epoch("web-1")
	l.end()

	_, again := j.start("web-1", dir)
	if now := j.f.Epoch("web-1"); now == old {
		t.Fatal("the new process has the old epoch")
	}
	again.await(t, "step", func(d *device) bool { return d.synced > 0 })
	again.awaitHeld(t)
	j.establish(2)
	again.awaitHeld(t, "in 2", "out 2")
	b.awaitHeld(t, "in 1", "in 2", "out 1", "out 2")
	said := datapath.SAID(fleettest.SAID(id.A(), id.B(), 1))
	if _, leaked := again.copyOf()[said]; leaked {
		t.Error("a key of the old epoch reached the new process")
	}
}

func TestBurntGenerationIsReported(t *testing.T) {
	j := newJoint(t)
	_, a := j.start("web-1", t.TempDir())
	_, _ = j.start("web-2", t.TempDir())
	id := plan.PairOf(plan.UID{7: 1}, plan.UID{7: 2})
	a.mu.Lock()
	a.highest["in"+datapath.PairID(id).String()] = 41
	a.mu.Unlock()
	j.f.Generation("web-1", "web-2", 7, plan.Inbound)
	j.f.AwaitPhase(id, 7, "what may follow", func(r *controllerv1.GenerationPhase) bool { return r.GetRefusedBelow() == 42 })
	j.f.SetPhase(id, 7, plan.Deleting)
	j.establish(42)
	a.awaitHeld(t, "in 42", "out 42")
}

func TestSPIClashIsReported(t *testing.T) {
	j := newJoint(t)
	_, a := j.start("web-1", t.TempDir())
	_, _ = j.start("web-2", t.TempDir())
	a.mu.Lock()
	a.clash = true
	a.mu.Unlock()
	id := j.f.Generation("web-1", "web-2", 1, plan.Inbound)
	j.f.AwaitPhase(id, 1, "what may follow", func(r *controllerv1.GenerationPhase) bool { return r.GetRefusedBelow() == 2 })
}

func TestEndOfAnAssociationIsReported(t *testing.T) {
	j := newJoint(t)
	l, a := j.start("web-1", t.TempDir())
	_, _ = j.start("web-2", t.TempDir())
	id := j.establish(1)
	said := datapath.SAID(fleettest.SAID(id.A(), id.B(), 1))
	l.events <- datapath.Event{Kind: datapath.SoftLifetime, SA: said, Inbound: false}
	j.f.AwaitPhase(id, 1, "a soft time that has come", func(r *controllerv1.GenerationPhase) bool {
		return r.GetSoftTime() < r.GetHardTime()-6*3600 && r.GetSoftTime() < r.GetCreateTime()+600
	})
	a.lose(said, true)
	l.events <- datapath.Event{Kind: datapath.HardLifetime, SA: said, Inbound: true}
	j.f.AwaitPhase(id, 1, "the end", func(r *controllerv1.GenerationPhase) bool { return r.GetRefusedBelow() == 2 })
}

func TestRemovedHostEnds(t *testing.T) {
	j := newJoint(t)
	l, a := j.start("web-1", t.TempDir())
	_, _ = j.start("web-2", t.TempDir())
	j.establish(1)
	a.awaitHeld(t, "in 1", "out 1")
	j.f.RemoveHost("web-1")
	if err := l.result(); !errors.Is(err, uplink.ErrRemoved) || !strings.Contains(err.Error(), "web-1") {
		t.Errorf("ended with %v", err)
	}
	a.awaitHeld(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pairs) != 1 {
		t.Errorf("%d pairs: what the one protected is guarded no more", len(a.pairs))
	}
	if a.config.MTU == 0 || len(a.config.Pools) == 0 {
		t.Error("the configuration, and with it the guard, is gone")
	}
}

func TestPairGoesWithItsPolicy(t *testing.T) {
	j := newJoint(t)
	_, a := j.start("web-1", t.TempDir())
	_, b := j.start("web-2", t.TempDir())
	id := j.establish(1)
	j.f.RemovePolicy("mesh")
	j.f.SetPhase(id, 1, plan.Deleting)
	j.f.AwaitPhase(id, 1, "both deletions", func(r *controllerv1.GenerationPhase) bool {
		return plan.Acks(r.GetAcks()).Has(plan.DeletedA | plan.DeletedB)
	})
	j.f.Forget(id, 1)
	for _, d := range []*device{a, b} {
		d.await(t, "no pair", func(d *device) bool { return len(d.pairs) == 0 })
	}
}

func TestTwoProcessesWithOneIdentity(t *testing.T) {
	j := newJoint(t)
	l, a := j.start("web-1", t.TempDir())
	a.await(t, "step", func(d *device) bool { return d.synced > 0 })
	_, b := j.start("web-1", t.TempDir()) // its own directory, so no lock holds it
	b.await(t, "step", func(d *device) bool { return d.synced > 0 })
	// The first one comes back, is told why not, and waits; the operator is told.
	deadline := time.After(patience)
	for !j.f.Events.Has("web-1", "DuplicateIdentity") {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatal("no event")
		}
	}
	l.await("the end of its stream", func(s uplink.Status) bool { return !s.Connected })
}
