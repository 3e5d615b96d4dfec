package fleet_test

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/fleet"
	"sallyport.dev/sallyport/services/fleet/fleettest"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func addr(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func pairName(id plan.PairID) string { return "pair/" + id.String() }

func saName(id plan.PairID, n uint32, way string) string {
	return "sa/" + fleettest.SAID(id.A(), id.B(), n).String() + "/" + way
}

// noNAT is where web-1's connection comes from: an address that it says it has.
const noNAT = "192.0.2.1:40000"

// hasAcks says whether just these acks are recorded.
func hasAcks(want plan.Acks) func(*controllerv1.GenerationPhase) bool {
	return func(r *controllerv1.GenerationPhase) bool { return plan.Acks(r.GetAcks()) == want }
}

// start is a fleet of web-1 and web-2 under one policy, web-1 (host A) connected.
func start(t *testing.T, options ...fleettest.Option) (*fleettest.Fleet, *agent, plan.PairID) {
	t.Helper()
	f := fleettest.New(t, options...)
	_, u1 := f.Host(1)
	_, u2 := f.Host(2)
	f.Policy("mesh")
	f.Put(store.EpochPrefix+"web-2", &controllerv1.Epoch{HostUid: u2[:], Epoch: bytes.Repeat([]byte{2}, 16), Stream: 1})
	a := connect(t, f, "web-1", opening{from: noNAT})
	return f, a, plan.PairOf(u1, u2)
}

func TestGenerationFromInboundToForgotten(t *testing.T) {
	f, a, id := start(t)
	config := a.take("config").GetConfig()
	if !slices.Equal(config.GetOverlayPrefixes(), []string{"100.64.0.0/16", "fd00:5a11::/64"}) || len(config.GetOverlayAddresses()) != 2 {
		t.Errorf("config = %v", config)
	}
	pair := a.take(pairName(id)).GetPair()
	if pair.GetRemoteHost() != "web-2" || pair.GetPolicy() != "mesh" || len(pair.GetLocal()) != 2 || len(pair.GetRemote()) != 2 {
		t.Errorf("pair = %v", pair)
	}
	f.Generation("web-1", "web-2", 1, plan.Inbound)
	in := a.take(saName(id, 1, "in")).GetSecurityAssociation()
	if in.GetDirection() != fleetv1.Direction_DIRECTION_INBOUND || !bytes.Equal(in.GetKey(), fleettest.Material(false, 1)) || in.GetSpi() != 0x01000201 {
		t.Errorf("A's inbound half has not B's key or SPI: SPI %#x", in.GetSpi())
	}
	if soft, hard := in.GetSoft().GetTime().AsDuration(), in.GetHard().GetTime().AsDuration(); soft <= 0 || soft > time.Hour || hard <= 7*time.Hour || hard > 8*time.Hour {
		t.Errorf("remaining lifetimes are %v and %v", soft, hard)
	}
	f.AwaitPhase(id, 1, "the inbound ack of A", hasAcks(plan.InA))
	a.quiet(store.SAPhaseKey(store.PairID(id), 1)) // no outbound half before both ends have the inbound one

	f.SetPhase(id, 1, plan.Outbound)
	out := a.take(saName(id, 1, "out")).GetSecurityAssociation()
	if out.GetDirection() != fleetv1.Direction_DIRECTION_OUTBOUND || !bytes.Equal(out.GetKey(), fleettest.Material(true, 1)) || out.GetSpi() != 0x01000101 {
		t.Errorf("A's outbound half has not A's key or B's SPI: SPI %#x", out.GetSpi())
	}
	f.AwaitPhase(id, 1, "both acks of A", hasAcks(plan.InA|plan.OutA))

	f.SetPhase(id, 1, plan.Draining)
	name := a.remove(saName(id, 1, "out"))
	f.AwaitPhase(id, 1, "no ack of what is still there", hasAcks(plan.InA|plan.OutA))
	a.ack(name.GetName(), name.GetVersion())
	f.AwaitPhase(id, 1, "the ack of the withdrawn outbound half", hasAcks(plan.InA|plan.OutA|plan.OutDeletedA))
	f.SetPhase(id, 1, plan.Deleting)
	a.drop(saName(id, 1, "in"))
	f.AwaitPhase(id, 1, "the ack of the tombstone", hasAcks(plan.InA|plan.OutA|plan.OutDeletedA|plan.DeletedA))

	f.RemovePolicy("mesh")
	f.Put(store.SpecPrefix+"policy/other", &operatorv1.Policy{
		Metadata: &operatorv1.Metadata{Name: "other"}, Spec: &operatorv1.PolicySpec{Hosts: "no=where", Proposal: "aes256gcm16"},
	})
	f.Advance(id, 1, func(r *controllerv1.GenerationPhase) { r.PhaseTime++ })
	a.quiet(store.SAPhaseKey(store.PairID(id), 1)) // the pair stays while it has a generation
	f.Forget(id, 1)
	a.drop(pairName(id))
	if m := f.Service.Metrics(); m.Keys != 2 || m.Removes != 3 {
		t.Errorf("metrics = %+v", m)
	}
}

func TestDeletionOrder(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))
	f.Generation("web-1", "web-2", 1, plan.Established)
	a.take(saName(id, 1, "in"))
	a.take(saName(id, 1, "out"))
	f.SetPhase(id, 1, plan.Deleting)
	a.drop(saName(id, 1, "out"))
	f.AwaitPhase(id, 1, "no early ack", func(r *controllerv1.GenerationPhase) bool { return r.GetAcks()&uint32(plan.DeletedA) == 0 })
	a.drop(saName(id, 1, "in"))
	f.AwaitPhase(id, 1, "the ack of the tombstone", hasAcks(plan.InA|plan.OutA|plan.DeletedA))
}

func TestDrainingOfWhatWasNeverSent(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))
	f.Generation("web-1", "web-2", 1, plan.Inbound)
	a.take(saName(id, 1, "in"))
	f.AwaitPhase(id, 1, "the inbound ack", hasAcks(plan.InA))
	f.SetPhase(id, 1, plan.Draining) // refused by the other end before this one was told to send
	f.AwaitPhase(id, 1, "no outbound half is there", hasAcks(plan.InA|plan.OutDeletedA))
	a.position()
}

func TestReconnectGetsOnlyTheDifference(t *testing.T) {
	f, a, id := start(t)
	config := a.take("config")
	pair := a.take(pairName(id))
	f.Generation("web-1", "web-2", 1, plan.Established)
	a.take(saName(id, 1, "in"))
	a.update(saName(id, 1, "out")) // installed, but the ack is lost
	f.AwaitPhase(id, 1, "the ack that was not lost", hasAcks(plan.InA))
	a.lost()

	held := map[string]uint64{
		"config": config.GetVersion(), pairName(id): pair.GetVersion(), saName(id, 1, "in"): 1, saName(id, 1, "out"): 1,
	}
	a = connect(t, f, "web-1", opening{from: noNAT, stream: 2, held: held})
	f.AwaitPhase(id, 1, "the lost ack, from the inventory", hasAcks(plan.InA|plan.OutA))
	a.position()

	a.lost()
	delete(held, saName(id, 1, "out"))
	a = connect(t, f, "web-1", opening{from: noNAT, stream: 3, held: held})
	a.take(saName(id, 1, "out")) // and nothing else
	a.position()
}

func TestNewEpochGetsNoOldKeys(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))
	f.Generation("web-1", "web-2", 1, plan.Established)
	a.take(saName(id, 1, "in"))
	f.AwaitPhase(id, 1, "the ack of the old epoch", hasAcks(plan.InA))
	a.lost()

	b := connect(t, f, "web-1", opening{from: noNAT, epoch: plan.Epoch{0: 9}})
	b.take("config")
	b.take(pairName(id))
	b.position()
	f.Generation("web-1", "web-2", 2, plan.Inbound) // the planner's answer to the new epoch
	b.take(saName(id, 2, "in"))
	f.AwaitPhase(id, 2, "the ack of the new epoch", hasAcks(plan.InA))
	f.AwaitPhase(id, 1, "no ack of the new epoch for the old generation", hasAcks(plan.InA))
}

func TestKeysOfAnotherIncarnationStay(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))
	a.position()
	f.Generation("web-1", "web-2", 1, plan.Deleting) // not yet to be delivered
	f.Advance(id, 1, func(r *controllerv1.GenerationPhase) { r.Phase, r.Incarnation = 1, r.GetIncarnation()-1 })
	f.Generation("web-1", "web-2", 2, plan.Inbound)
	a.take(saName(id, 2, "in"))
}

func TestNewestStreamRules(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))

	older := dialAgent(t, f, "web-1", opening{from: noNAT, stream: 1})
	older.refused(fleet.ReasonSuperseded)

	newer := connect(t, f, "web-1", opening{from: noNAT, stream: 2})
	a.refused(fleet.ReasonSuperseded)
	newer.take("config")

	// The same on another controller, which knows of the first only what the store says.
	other := fleettest.On(t, storetest.Another(t, f.Store))
	elsewhere := connect(t, other, "web-1", opening{from: noNAT, stream: 3})
	newer.refused(fleet.ReasonSuperseded)
	elsewhere.take("config")
	f.Await(store.LivePrefix+"web-1", "the live record of the newest stream", func(kv store.KV, exists bool) bool {
		var l controllerv1.Live
		return exists && store.Decode(kv, &l) == nil && l.GetStream() == 3
	})
}

func TestLiveRecordGoesWithTheStream(t *testing.T) {
	f, a, _ := start(t)
	f.Await(store.LivePrefix+"web-1", "the live record", func(kv store.KV, exists bool) bool { return exists && kv.Lease != 0 })
	a.hangUp()
	f.Await(store.LivePrefix+"web-1", "its end", func(_ store.KV, exists bool) bool { return !exists })
}

func TestControllerThatCannotWriteRefuses(t *testing.T) {
	s := storetest.New(t)
	linked, link := storetest.Linked(t, s)
	f := fleettest.On(t, linked)
	f.Host(1)
	connect(t, f, "web-1", opening{}).lost()
	link.Cut()
	defer link.Heal()
	a := dialAgent(t, f, "web-1", opening{from: noNAT, stream: 2})
	if err := a.ended(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("ended with %v, want unavailable", err)
	}
}

func TestThreeEpochsAreADuplicate(t *testing.T) {
	f, a, _ := start(t)
	for i := byte(2); i < 4; i++ {
		f.AwaitStatus("web-1", "no condition yet", func(s *operatorv1.HostStatus) bool { return len(s.GetConditions()) == 0 })
		a.lost()
		a = connect(t, f, "web-1", opening{from: noNAT, epoch: plan.Epoch{0: i}})
	}
	f.AwaitStatus("web-1", "the condition", func(s *operatorv1.HostStatus) bool {
		return len(s.GetConditions()) == 1 && s.GetConditions()[0].GetType() == "DuplicateIdentity"
	})
	if !f.Events.Has("web-1", "DuplicateIdentity") {
		t.Error("no event")
	}
	a.take("config") // it is served all the same
}

func TestAlternatingEpochsBackOff(t *testing.T) {
	f, a, _ := start(t)
	b := connect(t, f, "web-1", opening{from: noNAT, epoch: plan.Epoch{0: 2}})
	a.refused(fleet.ReasonSuperseded)
	back := dialAgent(t, f, "web-1", opening{from: noNAT, epoch: epochOne, stream: 2})
	back.refused(fleet.ReasonDuplicate)
	b.take("config") // was not disturbed
}

func TestNackBurnt(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))
	f.Generation("web-1", "web-2", 3, plan.Inbound)
	u := a.update(saName(id, 3, "in"))
	a.nack(u, fleetv1.NackReason_NACK_REASON_BURNT, 7)
	f.AwaitPhase(id, 3, "refused below 8", func(r *controllerv1.GenerationPhase) bool { return r.GetRefusedBelow() == 8 && r.GetAcks() == 0 })
	f.SetPhase(id, 3, plan.Deleting)
	f.AwaitPhase(id, 3, "the ack of a tombstone for what was never installed", hasAcks(plan.DeletedA))
	f.Generation("web-1", "web-2", 8, plan.Inbound)
	a.take(saName(id, 8, "in"))
	if m := f.Service.Metrics(); m.Nacks["burnt"] != 1 {
		t.Errorf("nacks = %v", m.Nacks)
	}
}

func TestExpire(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))
	f.Generation("web-1", "web-2", 1, plan.Established)
	a.take(saName(id, 1, "in"))
	a.take(saName(id, 1, "out"))
	a.expire(saName(id, 1, "out"), fleetv1.ExpireReason_EXPIRE_REASON_SOFT)
	f.AwaitPhase(id, 1, "a soft time that has come", func(r *controllerv1.GenerationPhase) bool {
		return int64(r.GetSoftTime()) <= time.Now().Unix() && r.GetRefusedBelow() == 0
	})
	a.expire(saName(id, 1, "in"), fleetv1.ExpireReason_EXPIRE_REASON_HARD)
	f.AwaitPhase(id, 1, "a half that is gone", func(r *controllerv1.GenerationPhase) bool { return r.GetRefusedBelow() == 2 })
}

func TestAgentActsOnItsOwnGenerationsOnly(t *testing.T) {
	f, a, id := start(t)
	_, u3 := f.Host(3)
	a.take("config")
	a.take(pairName(id))
	f.Put(store.EpochPrefix+"web-3", &controllerv1.Epoch{HostUid: u3[:], Epoch: bytes.Repeat([]byte{3}, 16), Stream: 1})
	foreign := f.Generation("web-2", "web-3", 1, plan.Inbound)
	a.take(pairName(plan.PairOf(plan.UID{7: 1}, u3)))
	a.ack(saName(foreign, 1, "in"), 1)
	a.nack(&fleetv1.Update{Name: saName(foreign, 1, "in"), Version: 1}, fleetv1.NackReason_NACK_REASON_BURNT, 99)
	a.expire(saName(foreign, 1, "in"), fleetv1.ExpireReason_EXPIRE_REASON_HARD)
	// What comes after them on the stream has been taken in: so have they.
	f.Generation("web-1", "web-2", 1, plan.Inbound)
	a.take(saName(id, 1, "in"))
	f.AwaitPhase(id, 1, "its own ack", hasAcks(plan.InA))
	f.AwaitPhase(foreign, 1, "an untouched record", func(r *controllerv1.GenerationPhase) bool {
		return r.GetAcks() == 0 && r.GetRefusedBelow() == 0 && int64(r.GetSoftTime()) > time.Now().Unix()
	})
}

func TestRemovedHost(t *testing.T) {
	f, a, _ := start(t)
	a.take("config")
	f.RemoveHost("web-1")
	for {
		m := a.next()
		if m.GetRemoved() != nil {
			break
		}
		if m.GetUpdate().GetSecurityAssociation() != nil {
			t.Fatal("a key for a removed host")
		}
	}
	a.refused(fleet.ReasonRemoved)
	dialAgent(t, f, "web-1", opening{from: noNAT, stream: 2}).refused(fleet.ReasonRemoved)
}

func TestRevokedKeyEndsTheStream(t *testing.T) {
	f, a, _ := start(t)
	a.take("config")
	f.Identity.Revoke("web-1")
	f.Put(store.HostIDPrefix+"web-1", &controllerv1.HostIdentity{PublicKeyHash: make([]byte, 32)})
	if err := a.ended(); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("ended with %v", err)
	}
}

func TestTrustBundleTravels(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))
	f.Identity.AddRoot(fleettest.NewRoot(t))
	f.Put(store.CAPrefix+"2", &controllerv1.CertificateAuthority{})
	if w := a.next().GetWelcome(); len(w.GetTrustBundle()) != 2 {
		t.Errorf("got %v, want a Welcome with two roots", w)
	}
}

func TestStatusIsWrittenOnChangeOnly(t *testing.T) {
	f := fleettest.New(t)
	f.Host(1)
	a := connect(t, f, "web-1", opening{from: "192.0.2.1:40000"})
	f.AwaitStatus("web-1", "the first report", func(s *operatorv1.HostStatus) bool {
		return s.GetObservedAddress() == "192.0.2.1" && !s.GetBehindNat() && s.GetEspPort() == 4500 && s.GetAgentVersion() == "v1" &&
			slices.Equal(s.GetUnderlayAddresses(), []string{"192.0.2.1"}) && s.GetTransitionTime() != nil && s.GetNumber() == 1
	})
	kv, _ := f.View.Get(store.StatusPrefix + "host/web-1")
	a.lost()
	f.AwaitStatus("web-1", "the end of the stream", func(*operatorv1.HostStatus) bool {
		now, _ := f.View.Get(store.StatusPrefix + "host/web-1")
		return now.ModRevision > kv.ModRevision
	})

	connect(t, f, "web-1", opening{stream: 2, from: "203.0.113.7:40000"})
	f.AwaitStatus("web-1", "NAT", func(s *operatorv1.HostStatus) bool {
		return s.GetObservedAddress() == "203.0.113.7" && s.GetBehindNat()
	})
}

func TestStoreOlderThanAnAgentHasSeen(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))
	seen := a.position()
	a.lost()

	// A host that lies is not served, and harms nobody else.
	liar := dialAgent(t, f, "web-1", opening{from: noNAT, stream: 2, seen: &typesv1.Position{
		Incarnation: seen.GetIncarnation(), Revision: seen.GetRevision() + 1<<40, Proof: seen.GetProof(),
	}})
	liar.refused(fleet.ReasonBehind)
	if h, halted := f.Service.Halted(); halted {
		t.Fatalf("an unproven claim stopped the fleet: %v", h)
	}
	b := connect(t, f, "web-2", opening{from: noNAT, stream: 2, epoch: plan.Epoch(bytes.Repeat([]byte{2}, 16))})
	b.take("config")
	b.take(pairName(id))
	b.position()

	// A position that a controller has proven comes from a store that is newer than this one.
	proof, err := f.Store.Seal("position", positionBytes(seen.GetIncarnation(), seen.GetRevision()+1<<40))
	if err != nil {
		t.Fatal(err)
	}
	truthful := dialAgent(t, f, "web-1", opening{from: noNAT, stream: 3, seen: &typesv1.Position{
		Incarnation: seen.GetIncarnation(), Revision: seen.GetRevision() + 1<<40, Proof: proof,
	}})
	err = truthful.ended()
	if fault.ReasonOf(err) != fleet.ReasonBehind || !strings.Contains(err.Error(), "sallyport restore") {
		t.Errorf("ended with %v", err)
	}
	if h, halted := f.Service.Halted(); !halted || h.Host != "web-1" || !f.Service.Metrics().Halted {
		t.Errorf("Halted = %v, %v", h, halted)
	}
	// Delivery has stopped for everybody, here and on the next controller.
	f.Generation("web-1", "web-2", 1, plan.Inbound)
	if err := f.Feed.WaitRevision(t.Context(), f.View.Revision()); err != nil {
		t.Fatal(err)
	}
	b.lost()
	_ = b.ended() // fails the test if a key comes first
	other := fleettest.On(t, storetest.Another(t, f.Store))
	dialAgent(t, other, "web-2", opening{from: noNAT, stream: 3, epoch: plan.Epoch(bytes.Repeat([]byte{2}, 16))}).refused(fleet.ReasonBehind)
}

func TestHelloIsChecked(t *testing.T) {
	f := fleettest.New(t)
	f.Host(1)
	conn := f.Dial("web-1", "")
	good := func() *fleetv1.Hello {
		return &fleetv1.Hello{Epoch: bytes.Repeat([]byte{1}, 16), Stream: 1, Report: report("192.0.2.1")}
	}
	cases := map[string]*fleetv1.SyncRequest{
		"no hello":    {Message: &fleetv1.SyncRequest_Ack{Ack: &fleetv1.Ack{Name: "config"}}},
		"short epoch": hello(good(), func(h *fleetv1.Hello) { h.Epoch = h.Epoch[:15] }),
		"zero epoch":  hello(good(), func(h *fleetv1.Hello) { h.Epoch = make([]byte, 16) }),
		"no report":   hello(good(), func(h *fleetv1.Hello) { h.Report = nil }),
		"no port":     hello(good(), func(h *fleetv1.Hello) { h.Report.EspPort = 0 }),
		"bad seen":    hello(good(), func(h *fleetv1.Hello) { h.Seen = &typesv1.Position{Revision: -1} }),
	}
	for name, m := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
			defer cancel()
			rpc, err := fleetv1.NewSyncServiceClient(conn).Sync(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_ = rpc.Send(m)
			if _, err := rpc.Recv(); fault.KindOf(fault.FromError(err)) != fault.InvalidArgument {
				t.Errorf("got %v", err)
			}
		})
	}
	if e := f.Epoch("web-1"); !e.IsZero() {
		t.Error("a refused Hello was recorded")
	}
}

func hello(h *fleetv1.Hello, change func(*fleetv1.Hello)) *fleetv1.SyncRequest {
	h = proto.CloneOf(h)
	change(h)
	return &fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Hello{Hello: h}}
}

func positionBytes(incarnation uint64, revision int64) []byte {
	b := make([]byte, 16)
	for i := range 8 {
		b[i], b[8+i] = byte(incarnation>>(56-8*i)), byte(revision>>(56-8*i))
	}
	return b
}

func TestSlowAgentBlocksNobody(t *testing.T) {
	const window, hosts = 4, 40
	f := fleettest.New(t, func(c *fleet.Config) { c.Window = window })
	for n := 1; n <= hosts; n++ {
		f.Host(n)
	}
	f.Policy("mesh")
	slow := connect(t, f, "web-1", opening{from: noNAT}) // never answers
	quick := connect(t, f, "web-2", opening{})
	for range hosts { // its configuration and 39 pairs, whatever web-1 does
		m := quick.next()
		quick.ack(m.GetUpdate().GetName(), m.GetUpdate().GetVersion())
	}
	for range window {
		slow.next()
	}
	if m := f.Service.Metrics(); m.Unanswered < window || m.Unanswered > 2*window || m.Queued < hosts-2*window || m.Lag <= 0 {
		t.Errorf("metrics = %+v", m)
	}
}

func TestInventoryIsBounded(t *testing.T) {
	f := fleettest.New(t)
	f.Host(1)
	cases := map[string][]*fleetv1.Inventory{
		"long part":  {{Entries: make([]*fleetv1.Inventory_Entry, 4097)}},
		"bad name":   {{Entries: []*fleetv1.Inventory_Entry{{Name: "sa/../in", Version: 1}}}},
		"no version": {{Entries: []*fleetv1.Inventory_Entry{{Name: "config"}}}},
		"after last": {{Last: true}, {Last: true}},
	}
	stream := uint64(0)
	for name, parts := range cases {
		t.Run(name, func(t *testing.T) {
			stream++
			ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
			defer cancel()
			rpc, err := fleetv1.NewSyncServiceClient(f.Dial("web-1", noNAT)).Sync(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_ = rpc.Send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Hello{Hello: &fleetv1.Hello{
				Epoch: epochOne[:], Stream: stream, Report: report("192.0.2.1"),
			}}})
			for _, part := range parts {
				_ = rpc.Send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Inventory{Inventory: part}})
			}
			for err == nil {
				_, err = rpc.Recv()
			}
			if fault.KindOf(fault.FromError(err)) != fault.InvalidArgument {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestLostKeyIsPlannedAgain(t *testing.T) {
	f, a, id := start(t)
	a.take("config")
	a.take(pairName(id))
	a.position()
	f.Generation("web-1", "web-2", 1, plan.Deleting)
	key := store.SAKey(store.PairID(id), 1)
	if _, err := f.Store.Commit(t.Context(), store.Txn{Puts: []store.Put{{Key: key, Value: []byte("damaged")}}}); err != nil {
		t.Fatal(err)
	}
	f.Advance(id, 1, func(r *controllerv1.GenerationPhase) { r.Phase, r.Acks = 1, 0 })
	f.AwaitPhase(id, 1, "a refusal in the agent's name", func(r *controllerv1.GenerationPhase) bool { return r.GetRefusedBelow() == 2 })
	if !f.Events.Has("web-1", "KeyLost") {
		t.Error("no event")
	}
}

func TestReportsChangeTheStatusRarely(t *testing.T) {
	var later atomic.Int64
	f := fleettest.New(t, func(c *fleet.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	})
	f.Host(1)
	a := connect(t, f, "web-1", opening{from: noNAT})
	key := store.StatusPrefix + "host/web-1"
	f.AwaitStatus("web-1", "the first report", func(s *operatorv1.HostStatus) bool { return s.GetEspPort() == 4500 })
	first, _ := f.View.Get(key)

	a.report(report("192.0.2.1")) // a heartbeat
	moved := report("192.0.2.1")
	moved.UnderlayAddresses = append(moved.UnderlayAddresses, addr("2001:db8::7"))
	a.report(moved) // too soon after the first
	a.take("config")
	a.position()
	if kv, _ := f.View.Get(key); kv.ModRevision != first.ModRevision {
		t.Error("the status was written within the pause")
	}
	later.Store(int64(time.Minute))
	a.report(moved)
	f.AwaitStatus("web-1", "the new address", func(s *operatorv1.HostStatus) bool { return len(s.GetUnderlayAddresses()) == 2 })

	second, _ := f.View.Get(key)
	for i := range 3 {
		later.Add(int64(time.Minute))
		a.report(moved)
		f.Put(store.StatusPrefix+"host/mark", &operatorv1.HostStatus{Number: uint32(i)})
	}
	later.Add(int64(time.Minute))
	bad := report("192.0.2.1")
	bad.EspPort = 0
	a.report(bad)
	if err := a.ended(); fault.KindOf(err) != fault.InvalidArgument {
		t.Errorf("ended with %v", err)
	}
	f.AwaitStatus("web-1", "the end of the stream", func(s *operatorv1.HostStatus) bool {
		now, _ := f.View.Get(key)
		return now.ModRevision > second.ModRevision
	})
	history, err := storetest.Client(t).Get(t.Context(), f.Store.Prefix()+key)
	if err != nil || len(history.Kvs) != 1 || history.Kvs[0].Version != 4 {
		t.Errorf("status written %d times, want 4: by the test, at open, once for the change, at close: %v", history.Kvs[0].Version, err)
	}
}
