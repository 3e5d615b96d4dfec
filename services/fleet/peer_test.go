package fleet_test

import (
	"bytes"
	"testing"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/fleet/fleettest"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

func peerName(p *fleettest.Peer, n uint32, way string) string {
	return "sa/" + p.ID(n).String() + "/" + way
}

// startPeer is web-1, connected, with the peer office, whose entry it has.
func startPeer(t *testing.T) (*fleettest.Fleet, *agent, *fleettest.Peer, plan.PairID) {
	t.Helper()
	f := fleettest.New(t)
	name, uid := f.Host(1)
	p := f.Peer(name)
	a := connect(t, f, name, opening{from: noNAT})
	a.take("config")
	id := plan.PairOf(uid, p.UID)
	pair := a.take(pairName(id)).GetPair()
	if pair.GetRemoteHost() != "office" || !pair.GetPeer() || pair.GetOrder() != 5 || pair.GetRemotePort() != 4500 ||
		!bytes.Equal(pair.GetRemoteAddress(), addr("192.0.2.50")) {
		t.Errorf("pair = %v", pair)
	}
	return f, a, p, id
}

// outbound lets the other half of child SA n be installed.
func outbound(r *controllerv1.IKEChild) { r.OutboundGeneration = r.InboundGeneration }

func TestPeersChildIsDelivered(t *testing.T) {
	_, a, p, id := startPeer(t)
	p.Child(1, nil)
	pair := a.take(pairName(id)).GetPair() // the peer is where its child SA has it
	if !bytes.Equal(pair.GetRemoteAddress(), addr("192.0.2.51")) || pair.GetRemotePort() != 61000 || !pair.GetRemoteBehindNat() {
		t.Errorf("pair = %v", pair)
	}
	in := a.take(peerName(p, 1, "in")).GetSecurityAssociation()
	if in.GetDirection() != fleetv1.Direction_DIRECTION_INBOUND || !bytes.Equal(in.GetKey(), fleettest.PeerMaterial(true, 1)) ||
		in.GetSpi() != 0x81000101 || in.GetManual() || in.GetHard() == nil || in.GetReplayWindow() != 2048 || !bytes.Equal(in.GetPair(), id[:]) ||
		in.GetEncapsulation() != fleetv1.Encapsulation_ENCAPSULATION_UDP {
		t.Errorf("inbound half: SPI %#x, %v", in.GetSpi(), in.GetEncapsulation())
	}
	p.AwaitAcks(1, "the inbound ack", func(r *controllerv1.IKEChildAcks) bool { return r.GetAcks() == 1 })
	a.quiet(p.ChildKey(1)) // nothing is sent before the peer is known to have it
	p.Child(1, outbound)
	out := a.take(peerName(p, 1, "out")).GetSecurityAssociation()
	if !bytes.Equal(out.GetKey(), fleettest.PeerMaterial(false, 1)) || out.GetSpi() != 0xc0000101 || out.GetGeneration() != 1 {
		t.Errorf("outbound half: SPI %#x", out.GetSpi())
	}
	p.AwaitAcks(1, "both acks", func(r *controllerv1.IKEChildAcks) bool { return r.GetAcks() == 3 && !r.GetGone() })
}

func TestPeersChildGoesInOrder(t *testing.T) {
	_, a, p, id := startPeer(t)
	p.Child(1, outbound)
	for _, name := range []string{pairName(id), peerName(p, 1, "in"), peerName(p, 1, "out")} {
		a.take(name)
	}
	p.Child(1, func(r *controllerv1.IKEChild) { outbound(r); r.Draining = true })
	a.drop(peerName(p, 1, "out"))
	p.AwaitAcks(1, "only the inbound half", func(r *controllerv1.IKEChildAcks) bool { return r.GetAcks() == 1 })
	p.Child(1, func(r *controllerv1.IKEChild) { outbound(r); r.Deleting = true })
	a.drop(peerName(p, 1, "in"))
	p.AwaitAcks(1, "nothing left", func(r *controllerv1.IKEChildAcks) bool { return r.GetGone() && r.GetAcks() == 0 })
}

// TestPeersChildIsOfOneEpoch: keys go to no other life of the agent than the one they were made for.
func TestPeersChildIsOfOneEpoch(t *testing.T) {
	_, a, p, id := startPeer(t)
	p.Child(1, func(r *controllerv1.IKEChild) { r.Epoch = bytes.Repeat([]byte{7}, 16) })
	a.take(pairName(id))
	a.quiet(p.ChildKey(1))
}

func TestPeersChildIsRefused(t *testing.T) {
	_, a, p, id := startPeer(t)
	p.Child(1, nil)
	a.take(pairName(id))
	a.nack(a.update(peerName(p, 1, "in")), fleetv1.NackReason_NACK_REASON_SPI_CLASH, 0)
	p.AwaitAcks(1, "the refusal", func(r *controllerv1.IKEChildAcks) bool { return r.GetRefused() == 1 && r.GetAcks() == 0 })
	a.quiet(p.ChildKey(1)) // it is not sent again
}

func TestPeersChildAtItsLimits(t *testing.T) {
	_, a, p, id := startPeer(t)
	p.Child(1, outbound)
	for _, name := range []string{pairName(id), peerName(p, 1, "in"), peerName(p, 1, "out")} {
		a.take(name)
	}
	a.expire(peerName(p, 1, "out"), fleetv1.ExpireReason_EXPIRE_REASON_SOFT)
	p.AwaitAcks(1, "the soft limit", func(r *controllerv1.IKEChildAcks) bool { return r.GetSoft() && !r.GetHard() && r.GetAcks() == 3 })
	a.expire(peerName(p, 1, "out"), fleetv1.ExpireReason_EXPIRE_REASON_HARD)
	p.AwaitAcks(1, "the hard limit", func(r *controllerv1.IKEChildAcks) bool { return r.GetHard() && r.GetAcks() == 1 })
}

func TestPeersEntryGoesWithAllUnderIt(t *testing.T) {
	f, a, p, id := startPeer(t)
	p.Child(1, outbound)
	for _, name := range []string{pairName(id), peerName(p, 1, "in"), peerName(p, 1, "out")} {
		a.take(name)
	}
	f.Put(p.EntryKey(), &controllerv1.PeerEntry{Peer: p.Name, PeerUid: p.Peer[:], Child: "net", Deleting: true})
	a.drop(peerName(p, 1, "out"))
	a.drop(peerName(p, 1, "in"))
	a.drop(pairName(id))
	f.Await(p.EntryKey(), "the end of the tombstone", func(_ store.KV, exists bool) bool { return !exists })
}
