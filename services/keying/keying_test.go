package keying

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// up is a fixture whose peer has called.
func up(t *testing.T) (*fixture, *remote) {
	t.Helper()
	f := newFixture(t, nil)
	r := f.remote()
	r.call()
	r.until("the peer is authenticated", func() bool { return r.up })
	f.eventually("the child SA carries traffic", f.carries)
	return f, r
}

// carries reports whether the host has one child SA, with both halves.
func (f *fixture) carries() bool {
	live := 0
	for _, c := range f.children() {
		if !c.GetDeleting() && !c.GetDraining() && c.GetOutboundGeneration() != 0 {
			live++
		}
	}
	return live == 1
}

func TestPeerCalls(t *testing.T) {
	f, r := up(t)
	c := f.children()[0]
	theirs := r.machine.Status().Children[0]
	if c.GetInboundSpi() != theirs.Outbound || c.GetOutboundSpi() != theirs.Inbound || c.GetPeer() != "office" || c.GetChild() != "net" ||
		!bytes.Equal(c.GetEpoch(), epoch(1)) || c.GetUdp() || c.GetRemotePort() != 4500 || c.GetInboundSpi()>>24 != FirstShard {
		t.Errorf("recorded: %v", c)
	}
	if len(c.GetIkeSpi()) != 8 || c.GetIkeSpi()[0] != FirstShard {
		t.Errorf("IKE SPI %x is not of the shard", c.GetIkeSpi())
	}
	f.view.Range("ike/", func(kv store.KV) bool {
		if strings.Contains(kv.Key, "/key/") || strings.HasPrefix(kv.Key, store.IKESAPrefix) {
			if !bytes.HasPrefix(kv.Value, []byte("SPS")) {
				t.Errorf("%s is not sealed", kv.Key)
			}
		}
		return true
	})
	var state controllerv1.IKEState
	f.view.Range(store.IKEStatePrefix, func(kv store.KV) bool { must(t, store.Decode(kv, &state)); return true })
	if state.GetPeer() != "office" || state.GetHost() != "gw" || state.GetRemoteId() != office.String() || state.GetState() != "established" {
		t.Errorf("state: %v", &state)
	}
}

// TestKeysAreTheSame compares what is delivered with what the peer has.
func TestKeysAreTheSame(t *testing.T) {
	f, r := up(t)
	var in, out ike.Secret
	f.view.Range(store.IKEKeyPrefix, func(kv store.KV) bool {
		plain, err := f.store.UnsealTraffic(kv.Key, kv.Value)
		must(t, err)
		var k controllerv1.IKEChildKey
		must(t, proto.Unmarshal(plain, &k))
		if strings.HasSuffix(kv.Key, ".in") {
			in = k.GetKey()
		} else {
			out = k.GetKey()
		}
		return true
	})
	if len(in) != 36 || len(out) != 36 || !bytes.Equal(in, r.seals) || !bytes.Equal(out, r.opens) {
		t.Errorf("keys of %d and %d bytes are not those of the peer", len(in), len(out))
	}
}

func TestWeCall(t *testing.T) {
	f := newFixture(t, nil)
	r := f.remote()
	if _, err := f.service.UpPeer(context.Background(), &operatorv1.UpPeerRequest{Name: "office"}); err != nil {
		t.Fatal(err)
	}
	r.until("the peer is authenticated", func() bool { return r.up })
	f.eventually("the child SA carries traffic", f.carries)
	response, err := f.service.UpPeer(context.Background(), &operatorv1.UpPeerRequest{Name: "office"})
	if err != nil || len(response.GetUp()) != 1 || len(response.GetChildren()) != 0 {
		t.Errorf("up again: %v, %v", response, err)
	}
}

func TestPeerThatIsAlwaysCalled(t *testing.T) {
	f := newFixture(t, func(s *operatorv1.PeerSpec) { s.Start, s.Lost = "always", "restart" })
	r := f.remote()
	r.until("it is called", func() bool { return r.up })
	f.eventually("the child SA carries traffic", f.carries)
}

func TestWrongSecretLeavesNothing(t *testing.T) {
	f := newFixture(t, nil)
	r := f.remote()
	r.secret = "another one"
	r.call()
	r.until("it is refused", func() bool { return r.closed != nil })
	if n := f.count(store.IKESAPrefix) + f.count(store.IKEStatePrefix) + f.count(store.IKEChildPrefix); n != 0 || r.up {
		t.Errorf("%d records are left", n)
	}
	why, err := f.service.ExplainPeer(context.Background(), &operatorv1.ExplainPeerRequest{Name: "office"})
	if err != nil || !strings.Contains(why.GetSummary(), "secret") {
		t.Errorf("why: %v, %v", why.GetSummary(), err)
	}
}

// TestOtherHostsDatagramsAreDropped: an IKE SA belongs to the host that relayed its first message.
func TestOtherHostsDatagramsAreDropped(t *testing.T) {
	f, r := up(t)
	other := f.relay("other", 2)
	r.agent = other
	r.command(ike.DeleteIKE{Why: "the test"})
	r.agent = f.agent
	r.command(ike.DeleteIKE{Why: "the test"})
	before := f.count(store.IKEStatePrefix)
	if before != 1 || len(other.down) != 0 {
		t.Errorf("%d IKE SAs are left, %d datagrams went to the other host", before, len(other.down))
	}
	r.until("it is gone by its own host", func() bool { return r.closed != nil })
}

func TestStrangersAreNotAnswered(t *testing.T) {
	f := newFixture(t, nil)
	r := f.remote()
	path := ike.Path{Local: netip.MustParseAddrPort("203.0.113.99:500"), Remote: netip.AddrPortFrom(gateway, 500)}
	m, err := ike.Initiate(f.service.config.Now(), r.config(), path)
	must(t, err)
	r.machine = m
	r.act()
	// A peer that is known is answered afterwards: by then the stranger's message has been looked at.
	known := f.remote()
	known.call()
	known.until("the peer is authenticated", func() bool { return known.up })
	if r.up || f.count(store.IKEStatePrefix) != 1 {
		t.Error("a stranger was answered")
	}
}

func TestControllerGoesOnAfterARestart(t *testing.T) {
	f, r := up(t)
	before := f.children()[0]
	f.stop()
	f.start()
	f.agent = f.relay("gw", 1)
	r.agent = f.agent
	r.until("it is asked for a sign of life", func() bool { return len(r.sent) > 2 })
	r.command(ike.RekeyChild{ID: r.machine.Status().Children[0].ID})
	r.until("the child is rekeyed", func() bool { return r.removed > 0 })
	f.eventually("the new child SA carries traffic", func() bool {
		all := f.children()
		return f.carries() && all[len(all)-1].GetInboundSpi() != before.GetInboundSpi() || len(all) == 1 && all[0].GetInboundSpi() != before.GetInboundSpi()
	})
	if r.closed != nil {
		t.Errorf("the peer has had to begin again: %v", r.closed)
	}
}

// TestNewEpochGetsNewKeys: no key goes to two lives of an agent.
func TestNewEpochGetsNewKeys(t *testing.T) {
	f, r := up(t)
	uid := plan.UID{7: 1}
	f.put(store.LivePrefix+"gw", &controllerv1.Live{Epoch: epoch(9), Stream: 1, Controller: "c"})
	f.put(store.EpochPrefix+"gw", &controllerv1.Epoch{HostUid: uid[:], Epoch: epoch(9), Stream: 1})
	r.until("the child is rekeyed", func() bool { return r.removed > 0 })
	f.eventually("the new child SA is of the new epoch", func() bool {
		for _, c := range f.children() {
			if bytes.Equal(c.GetEpoch(), epoch(9)) && c.GetOutboundGeneration() != 0 {
				return true
			}
		}
		return false
	})
}

func TestRecordsGoWithTheIKESA(t *testing.T) {
	f, r := up(t)
	if _, err := f.service.DownPeer(context.Background(), &operatorv1.DownPeerRequest{Name: "office"}); err != nil {
		t.Fatal(err)
	}
	r.until("the peer is told", func() bool { return r.closed != nil || r.machine.Status().Phase == "closing" })
	f.eventually("nothing is left", func() bool {
		return f.count(store.IKESAPrefix)+f.count(store.IKEStatePrefix)+f.count(store.IKEChildPrefix)+f.count(store.IKEKeyPrefix)+f.count(store.IKEAcksPrefix) == 0
	})
	var wish controllerv1.PeerWish
	kv, ok := f.view.Get(store.PeerWishPrefix + "office")
	if !ok || store.Decode(kv, &wish) != nil || !wish.GetDown() {
		t.Error("nobody remembers that the peer was taken down")
	}
}

func TestDeletedPeerEnds(t *testing.T) {
	f, r := up(t)
	_, err := f.store.Commit(context.Background(), store.Txn{Deletes: []string{store.SpecPrefix + "peer/office"}})
	must(t, err)
	r.until("the peer is told", func() bool { return r.closed != nil || r.machine.Status().Phase == "closing" })
}

func TestRefusedChildEnds(t *testing.T) {
	f, r := up(t)
	uid := world.ChildUID(peerUID(), "net")
	var id string
	f.view.Range(store.IKEChildPrefix+"gw/"+uid.String(), func(kv store.KV) bool { id = kv.Key[len(store.IKEChildPrefix):]; return true })
	f.put(store.IKEAcksPrefix+id, &controllerv1.IKEChildAcks{Acks: world.PeerInbound, Hard: true, Soft: true, Epoch: epoch(1)})
	r.until("the peer is told", func() bool { return r.removed > 0 })
}

func TestCookiesUnderLoad(t *testing.T) {
	f := newFixture(t, func(s *operatorv1.PeerSpec) { s.RemoteAddresses, s.Remote.Id = []string{"any"}, office.String() })
	reign, err := f.service.leading()
	must(t, err)
	a := netip.MustParseAddr("10.0.0.1")
	for range cookiesFrom + 8 {
		flood := f.remote()
		m, err := ike.Initiate(f.service.config.Now(), flood.config(), ike.Path{Local: netip.AddrPortFrom(a, 500), Remote: netip.AddrPortFrom(gateway, 500)})
		must(t, err)
		flood.machine = m
		flood.act()
		a = a.Next()
		select { // whoever is answered has a name that nobody reads
		case <-f.agent.down:
		default:
		}
	}
	f.eventually("the flood has arrived", func() bool {
		for len(f.agent.down) > 0 {
			<-f.agent.down
		}
		reign.mu.Lock()
		defer reign.mu.Unlock()
		return len(reign.begun) >= cookiesFrom && len(f.agent.up) == 0
	})
	reign.mu.Lock()
	begun := len(reign.begun)
	reign.mu.Unlock()
	if begun > cookiesFrom {
		t.Errorf("%d IKE SAs were begun without a cookie", begun)
	}
	f.eventually("the agents are to demand cookies", func() bool { return f.agent.guard.Load().GetDemanded() })
	if g := f.agent.guard.Load(); len(g.GetSecret()) != 32 {
		t.Errorf("a secret of %d bytes", len(g.GetSecret()))
	}
	r := f.remote()
	r.call()
	r.until("the peer, which brings its cookie, is authenticated", func() bool { return r.up })
}
