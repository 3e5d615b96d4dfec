package fleet_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/fleet/fleettest"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

func manualName(m *fleettest.Manual, n uint32, way string) string {
	return "sa/" + m.ID(n).String() + "/" + way
}

// startManual is web-1, connected, with the manual peer branch-1.
func startManual(t *testing.T, options ...fleettest.Option) (*fleettest.Fleet, *agent, *fleettest.Manual, plan.PairID) {
	t.Helper()
	f := fleettest.New(t, options...)
	name, uid := f.Host(1)
	m := f.Manual(1, name)
	m.Write(1, false)
	a := connect(t, f, name, opening{from: noNAT})
	a.take("config")
	return f, a, m, m.Pair(uid)
}

// install takes what a new generation begins with.
func install(a *agent, m *fleettest.Manual, n uint32) {
	a.t.Helper()
	a.take(manualName(m, n, "in"))
	a.take(manualName(m, n, "out"))
	installed(a, m, n)
}

func installed(a *agent, m *fleettest.Manual, n uint32) {
	a.t.Helper()
	m.Await("both acks", func(p *controllerv1.ManualPhase) bool {
		return p.GetGeneration() == n && p.GetAcks() == 3 && bytes.Equal(p.GetEpoch(), a.epoch[:])
	})
}

func TestManualPeerIsDelivered(t *testing.T) {
	f, a, m, id := startManual(t)
	pair := a.take(pairName(id)).GetPair()
	if pair.GetRemoteHost() != "branch-1" || !pair.GetManual() || pair.GetOrder() != 7 || pair.GetRemotePort() != 4501 ||
		!bytes.Equal(pair.GetRemoteAddress(), addr("192.0.2.99")) || len(pair.GetLocalAddress()) != 0 || pair.GetRemoteBehindNat() {
		t.Errorf("pair = %v", pair)
	}
	if r := pair.GetRemote(); len(r) != 1 || r[0].GetIpProtocol() != 6 || r[0].GetStartPort() != 80 || r[0].GetEndPort() != 90 ||
		!bytes.Equal(r[0].GetEndAddress(), addr("10.2.255.255")) {
		t.Errorf("remote selectors %v", r)
	}
	u := a.update(manualName(m, 1, "in"))
	in := u.GetSecurityAssociation()
	if in.GetDirection() != fleetv1.Direction_DIRECTION_INBOUND || !bytes.Equal(in.GetKey(), fleettest.ManualMaterial(true, 1)) || in.GetSpi() != 4097 ||
		!in.GetManual() || in.GetSoft() != nil || in.GetHard() != nil || in.GetReplayWindow() != 2048 || in.GetNoReplayWindow() ||
		in.GetGeneration() != 1 || !bytes.Equal(in.GetPair(), id[:]) || in.GetDf() != fleetv1.DontFragment_DONT_FRAGMENT_SET {
		t.Errorf("the inbound half has not its key or SPI: SPI %#x", in.GetSpi())
	}
	if tr := in.GetTransform(); tr.GetEncryption() != 12 || tr.GetKeyBits() != 256 || tr.GetIntegrity() != 12 || !tr.GetEsn() {
		t.Errorf("transform %v", tr)
	}
	a.quiet(m.PhaseKey()) // nothing is sent over it before the inbound half is there
	a.ack(u.GetName(), u.GetVersion())
	out := a.take(manualName(m, 1, "out")).GetSecurityAssociation()
	if out.GetDirection() != fleetv1.Direction_DIRECTION_OUTBOUND || !bytes.Equal(out.GetKey(), fleettest.ManualMaterial(false, 1)) || out.GetSpi() != 8193 {
		t.Errorf("the outbound half has not its key or SPI: SPI %#x", out.GetSpi())
	}
	installed(a, m, 1)
	if k := f.Service.Metrics().Keys; k != 2 {
		t.Errorf("%d keys were sent", k)
	}
	// The traffic is the pair's: no key is sent again.
	m.Spec.Remote = []string{"10.3.0.0/16"}
	m.Touch()
	a.take(pairName(id))
	a.quiet(m.PhaseKey())
}

func TestManualWords(t *testing.T) {
	f := fleettest.New(t)
	name, uid := f.Host(1)
	m := f.Manual(1, name)
	m.Spec.Protocol, m.Spec.Proposal, m.Spec.Mode, m.Spec.Encapsulation, m.Spec.Df = "ah", "sha256", "transport", "native", "clear"
	m.Spec.Esn, m.Spec.ReplayWindow, m.Spec.LocalAddress, m.Spec.RemoteAddress = proto.Bool(false), -1, "2001:db8::1", "2001:db8::9"
	m.Write(1, false)
	a := connect(t, f, name, opening{from: noNAT})
	a.take("config")
	pair := a.take(pairName(m.Pair(uid))).GetPair()
	if !bytes.Equal(pair.GetLocalAddress(), addr("2001:db8::1")) || !bytes.Equal(pair.GetRemoteAddress(), addr("2001:db8::9")) || pair.GetRemotePort() != 4500 {
		t.Errorf("pair %v", pair)
	}
	in := a.take(manualName(m, 1, "in")).GetSecurityAssociation()
	if in.GetProtocol() != fleetv1.Protocol_PROTOCOL_AH || in.GetMode() != fleetv1.Mode_MODE_TRANSPORT || !in.GetNoReplayWindow() ||
		in.GetEncapsulation() != fleetv1.Encapsulation_ENCAPSULATION_NATIVE || in.GetDf() != fleetv1.DontFragment_DONT_FRAGMENT_CLEAR ||
		in.GetTransform().GetEncryption() != 0 || in.GetTransform().GetIntegrity() != 12 || in.GetTransform().GetEsn() {
		in.Key = nil
		t.Errorf("AH in transport mode: %v", in)
	}
}

// TestManualPeerOfAnotherHost: a key goes to the host that serves the peer and to no other.
func TestManualPeerOfAnotherHost(t *testing.T) {
	f, a, m, id := startManual(t)
	name, uid := f.Host(2)
	other := connect(t, f, name, opening{from: noNAT, epoch: plan.Epoch{0: 2}})
	other.take("config")
	a.take(pairName(id))
	install(a, m, 1)
	m.Write(2, true)
	f.Policy("mesh") // the next thing that concerns the other host
	other.take(pairName(plan.PairOf(plan.UID{7: 1}, uid)))
}

// TestManualRekeyMakesBeforeItBreaks: the new inbound half first, the old one last.
func TestManualRekeyMakesBeforeItBreaks(t *testing.T) {
	_, a, m, id := startManual(t)
	a.take(pairName(id))
	install(a, m, 1)
	m.Spec.Inbound.Spi = 4098
	m.Write(2, false)
	a.take(manualName(m, 2, "in"))
	a.take(manualName(m, 2, "out"))
	gone := a.remove(manualName(m, 1, "out"))
	a.ack(gone.GetName(), gone.GetVersion())
	a.drop(manualName(m, 1, "in"))
	installed(a, m, 2)
	a.quiet(m.PhaseKey())
}

// TestManualRekeyUnderTheSameSPI: both cannot be installed at once, so the old ones go first.
func TestManualRekeyUnderTheSameSPI(t *testing.T) {
	_, a, m, id := startManual(t)
	a.take(pairName(id))
	install(a, m, 1)
	m.Write(2, true)
	a.drop(manualName(m, 1, "out"))
	a.drop(manualName(m, 1, "in"))
	install(a, m, 2)
	a.quiet(m.PhaseKey())
	// The same when only the agent knows of the clash.
	m.Write(3, false)
	a.nack(a.update(manualName(m, 3, "in")), fleetv1.NackReason_NACK_REASON_SPI_CLASH, 0)
	a.drop(manualName(m, 2, "out"))
	a.drop(manualName(m, 2, "in"))
	install(a, m, 3)
	a.quiet(m.PhaseKey())
}

// TestRefusedManualKeysReplaceAllTheSame: the old key may be known to others.
func TestRefusedManualKeysReplaceAllTheSame(t *testing.T) {
	_, a, m, id := startManual(t)
	a.take(pairName(id))
	install(a, m, 1)
	m.Spec.Inbound.Spi = 4098
	m.Write(2, false)
	a.nack(a.update(manualName(m, 2, "in")), fleetv1.NackReason_NACK_REASON_FAILED, 0)
	a.drop(manualName(m, 1, "out"))
	a.drop(manualName(m, 1, "in"))
	a.report(report("192.0.2.1")) // then it is tried again
	install(a, m, 2)
}

func TestManualTombstone(t *testing.T) {
	_, a, m, id := startManual(t)
	a.take(pairName(id))
	install(a, m, 1)
	m.Remove()
	out := a.remove(manualName(m, 1, "out"))
	a.drop(manualName(m, 1, "in"))
	if m.Stored() == nil {
		t.Error("the tombstone goes before the agent has acknowledged it")
	}
	a.ack(out.GetName(), out.GetVersion())
	a.drop(pairName(id))
	m.Await("the tombstone's end", func(p *controllerv1.ManualPhase) bool { return p == nil })
}

// TestManualTombstoneWaits: for an agent that is away. For another life of it there is nothing to do.
func TestManualTombstoneWaits(t *testing.T) {
	f, a, m, id := startManual(t)
	pair := a.take(pairName(id))
	install(a, m, 1)
	a.lost()
	m.Remove()
	held := map[string]uint64{"config": 1, pairName(id): pair.GetVersion(), manualName(m, 1, "in"): 1, manualName(m, 1, "out"): 1}
	a = connect(t, f, "web-1", opening{from: noNAT, stream: 2, held: held})
	a.take("config")
	a.drop(manualName(m, 1, "out"))
	a.drop(manualName(m, 1, "in"))
	a.drop(pairName(id))
	m.Await("the tombstone's end", func(p *controllerv1.ManualPhase) bool { return p == nil })

	m.Write(2, false)
	a.take(pairName(id))
	install(a, m, 2)
	a.lost()
	m.Remove()
	b := connect(t, f, "web-1", opening{from: noNAT, epoch: plan.Epoch{0: 9}})
	b.take("config")
	m.Await("the tombstone's end", func(p *controllerv1.ManualPhase) bool { return p == nil })
	b.position()
}

// TestManualKeysGoToTheNextEpoch: an operator's keys outlive the agent's process, and nobody makes others.
func TestManualKeysGoToTheNextEpoch(t *testing.T) {
	f, a, m, id := startManual(t)
	a.take(pairName(id))
	install(a, m, 1)
	a.lost()
	b := connect(t, f, "web-1", opening{from: noNAT, epoch: plan.Epoch{0: 9}})
	b.take("config")
	b.take(pairName(id))
	install(b, m, 1)
}

func TestManualReconnectGetsOnlyTheDifference(t *testing.T) {
	f, a, m, id := startManual(t)
	pair := a.take(pairName(id))
	a.take(manualName(m, 1, "in"))
	a.update(manualName(m, 1, "out")) // installed, but the ack is lost
	a.lost()
	held := map[string]uint64{pairName(id): pair.GetVersion(), manualName(m, 1, "in"): 1, manualName(m, 1, "out"): 1}
	a = connect(t, f, "web-1", opening{from: noNAT, stream: 2, held: held})
	a.take("config")
	installed(a, m, 1)
	a.quiet(m.PhaseKey())
}

// TestBurntManualGeneration: after a restore the agent may have had higher ones. The keys stay.
func TestBurntManualGeneration(t *testing.T) {
	f, a, m, id := startManual(t)
	pair := a.take(pairName(id))
	a.take(manualName(m, 1, "in"))
	a.lost()
	other := "sa/" + m.ID(99).String() // of what the backup did not know
	held := map[string]uint64{"config": 1, pairName(id): pair.GetVersion(), other + "/in": 1, other + "/out": 1}
	a = connect(t, f, "web-1", opening{from: noNAT, stream: 2, held: held})
	a.take("config")
	a.nack(a.update(manualName(m, 1, "in")), fleetv1.NackReason_NACK_REASON_BURNT, 40)
	a.drop(other + "/out")
	a.drop(other + "/in")
	m.Await("a higher generation", func(p *controllerv1.ManualPhase) bool { return p.GetGeneration() == 41 })
	now := m.Stored()
	var next plan.SAID
	copy(next[:], now.GetId())
	if next == m.ID(1) || !bytes.Equal(next[:8], m.UID[:]) || !bytes.Equal(now.GetKey(), m.Phase.GetKey()) {
		t.Errorf("the next generation: %v", now)
	}
	in := a.take("sa/" + next.String() + "/in").GetSecurityAssociation()
	if in.GetGeneration() != 41 || !bytes.Equal(in.GetKey(), fleettest.ManualMaterial(true, 1)) {
		t.Errorf("generation %d", in.GetGeneration())
	}
	a.take("sa/" + next.String() + "/out")
	installed(a, m, 41)
}

// TestManualKeyThatIsGone: the host is told nothing, and operators are.
func TestManualKeyThatIsGone(t *testing.T) {
	f := fleettest.New(t)
	name, uid := f.Host(1)
	m := f.Manual(1, name)
	m.Write(1, false)
	if _, err := f.Store.Commit(context.Background(), store.Txn{Deletes: []string{store.ManualKeyPrefix + m.Name}}); err != nil {
		t.Fatal(err)
	}
	a := connect(t, f, name, opening{from: noNAT})
	a.take("config")
	a.take(pairName(m.Pair(uid))) // what it protects is dropped, not sent in clear
	a.quiet(m.PhaseKey())
	for deadline := time.Now().Add(fleettest.Patience); !f.Events.Has(m.Name, "KeysLost"); {
		if time.Now().After(deadline) {
			t.Fatal("nobody is told that the keys are lost")
		}
		a.report(report("192.0.2.1"))
		a.position()
	}
	m.Write(2, false)
	install(a, m, 2)
}

// TestManualKeyOfAnotherPeer: a sealed key opens at its own place only.
func TestManualKeyOfAnotherPeer(t *testing.T) {
	f := fleettest.New(t)
	name, _ := f.Host(1)
	m, other := f.Manual(1, name), f.Manual(2, name)
	other.Spec.Inbound.Spi = 4099
	other.Write(1, false)
	m.Write(1, false)
	kv, err := f.Store.Get(context.Background(), store.ManualKeyPrefix+other.Name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Store.Commit(context.Background(), store.Txn{Puts: []store.Put{{Key: store.ManualKeyPrefix + m.Name, Value: kv.Value}}}); err != nil {
		t.Fatal(err)
	}
	a := connect(t, f, name, opening{from: noNAT})
	a.take("config")
	first := a.next().GetUpdate()
	a.ack(first.GetName(), first.GetVersion())
	for range 3 { // the other pair, and the other peer's halves
		u := a.next().GetUpdate()
		if u.GetName() == manualName(m, 1, "in") {
			t.Fatal("a key was delivered that is another peer's")
		}
		a.ack(u.GetName(), u.GetVersion())
	}
	installed(a, other, 1)
}

func TestManualExpire(t *testing.T) {
	f, a, m, id := startManual(t)
	a.take(pairName(id))
	install(a, m, 1)
	a.expire(manualName(m, 1, "out"), fleetv1.ExpireReason_EXPIRE_REASON_SOFT)
	a.expire(manualName(m, 1, "out"), fleetv1.ExpireReason_EXPIRE_REASON_HARD)
	m.Await("the outbound half is gone", func(p *controllerv1.ManualPhase) bool { return p.GetAcks() == 1 })
	if !f.Events.Has(m.Name, "KeyNearItsEnd") || !f.Events.Has(m.Name, "KeyUsedUp") {
		t.Error("nobody is told that the key ends")
	}
	a.report(report("192.0.2.1"))
	a.quiet(m.PhaseKey()) // a key that is used up does not come again
	m.Spec.Inbound.Spi = 4098
	m.Write(2, false)
	a.take(manualName(m, 2, "in"))
	a.take(manualName(m, 2, "out"))
	a.drop(manualName(m, 1, "in"))
	installed(a, m, 2)
}
