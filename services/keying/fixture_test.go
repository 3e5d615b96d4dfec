package keying

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
	"sallyport.dev/sallyport/services/world"
)

const (
	patience   = 20 * time.Second
	testSecret = "a secret of these tests only"
)

var (
	gateway = netip.MustParseAddr("192.0.2.1")    // of the host gw
	office  = netip.MustParseAddr("198.51.100.7") // of the peer
)

// fixture is a controller that keys, a host gw with an agent, and a peer office.
type fixture struct {
	t           *testing.T
	store       *store.Store
	view        *store.View
	feed        *world.Feed
	incarnation uint64
	service     *Service
	stop        func() // ends the service
	agent       *agent
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newFixture starts everything. change may change the peer's spec.
func newFixture(t *testing.T, change func(*operatorv1.PeerSpec)) *fixture {
	t.Helper()
	f := &fixture{t: t, store: storetest.New(t)}
	ctx, cancel := context.WithCancel(context.Background())
	incarnation, err := f.store.Begin(ctx)
	must(t, err)
	f.incarnation = incarnation.Number
	f.view, err = f.store.View(ctx)
	must(t, err)
	f.feed = world.New(world.Config{View: f.view, Incarnation: f.incarnation})
	var running sync.WaitGroup
	running.Go(func() { _ = f.feed.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); f.view.Close() })
	f.host("gw", 1)
	f.host("other", 2)
	f.credential(testSecret)
	f.peer(change)
	f.install(ctx, &running)
	f.start()
	f.agent = f.relay("gw", 1)
	return f
}

func (f *fixture) put(key string, m proto.Message) {
	f.t.Helper()
	put, err := store.PutRecord(key, m)
	must(f.t, err)
	revision, err := f.store.Commit(context.Background(), store.Txn{Puts: []store.Put{put}})
	must(f.t, err)
	must(f.t, f.feed.WaitRevision(context.Background(), revision))
}

// host writes a host whose agent is connected.
func (f *fixture) host(name string, n byte) {
	f.t.Helper()
	uid := plan.UID{7: n}
	f.put(store.SpecPrefix+"host/"+name, &operatorv1.Host{Metadata: &operatorv1.Metadata{Name: name, Uid: hex.EncodeToString(uid[:])}})
	f.put(store.EpochPrefix+name, &controllerv1.Epoch{HostUid: uid[:], Epoch: epoch(n), Stream: 1})
	f.put(store.LivePrefix+name, &controllerv1.Live{Epoch: epoch(n), Stream: 1, Controller: "c"})
}

func epoch(n byte) []byte { return append(make([]byte, 15), n) }

func (f *fixture) credential(secret string) {
	f.t.Helper()
	f.put(store.SpecPrefix+"credential/office-psk", &operatorv1.Credential{Spec: &operatorv1.CredentialSpec{Type: "psk"}})
	plain, err := store.Encode(&controllerv1.CredentialSecret{Id: make([]byte, 16), Secret: []byte(secret)})
	must(f.t, err)
	key := store.CredentialPrefix + "office-psk"
	sealed, err := f.store.Seal(key, plain)
	must(f.t, err)
	revision, err := f.store.Commit(context.Background(), store.Txn{Puts: []store.Put{{Key: key, Value: sealed}}})
	must(f.t, err)
	must(f.t, f.feed.WaitRevision(context.Background(), revision))
}

// peerUID is that of the peer office.
func peerUID() plan.UID { return plan.UID{0: 0xe0} }

// peer writes the peer office, whose identity is its address.
func (f *fixture) peer(change func(*operatorv1.PeerSpec)) {
	f.t.Helper()
	s := &operatorv1.PeerSpec{
		Hosts: []string{"gw"}, RemoteAddresses: []string{office.String()}, Start: "never", Lost: "clear",
		Local:     &operatorv1.PeerAuthentication{Method: "psk", Credential: "office-psk"},
		Remote:    &operatorv1.PeerAuthentication{Method: "psk", Credential: "office-psk"},
		Proposals: []string{"aes256gcm16-prfsha256-x25519"},
		Children: []*operatorv1.PeerChild{{
			Name: "net", Local: []string{"10.1.0.0/16"}, Remote: []string{"10.2.0.0/16"}, Proposals: []string{"aes256gcm16-x25519-noesn"},
		}},
	}
	if change != nil {
		change(s)
	}
	uid := peerUID()
	f.put(store.SpecPrefix+"peer/office", &operatorv1.Peer{Metadata: &operatorv1.Metadata{Name: "office", Uid: hex.EncodeToString(uid[:])}, Spec: s})
}

// install stands in for the fleet service and the agents: what is recorded is acknowledged.
func (f *fixture) install(ctx context.Context, running *sync.WaitGroup) {
	sub := f.view.Subscribe(store.IKEChildPrefix)
	running.Go(func() {
		defer sub.Close()
		for {
			batch, err := sub.Next(ctx)
			if err != nil {
				return
			}
			for _, c := range batch.Changes {
				f.acknowledge(ctx, c)
			}
		}
	})
}

func (f *fixture) acknowledge(ctx context.Context, c store.Change) {
	var child controllerv1.IKEChild
	host, id, err := store.ParseIKEChildKey(c.Key)
	if err != nil || c.New == nil || store.Decode(*c.New, &child) != nil {
		return
	}
	acks := &controllerv1.IKEChildAcks{Epoch: child.GetEpoch(), Acks: world.PeerInbound}
	switch {
	case child.GetDeleting():
		acks.Acks, acks.Gone = 0, true
	case child.GetOutboundGeneration() != 0 && !child.GetDraining():
		acks.Acks |= world.PeerOutbound
	}
	put, err := store.PutRecord(store.IKEAcksPrefix+host+"/"+id, acks)
	if err == nil {
		_, _ = f.store.Commit(ctx, store.Txn{Puts: []store.Put{put}}) // at the end of the test the store is gone
	}
}

// start starts the service, and stop ends it.
func (f *fixture) start() {
	f.t.Helper()
	var err error
	f.service, err = New(Config{
		Store: f.store, View: f.view, World: f.feed, Incarnation: f.incarnation, Controller: "c",
		Authenticator: PSK{Store: f.store, View: f.view}, Log: slog.New(slog.NewTextHandler(f.t.Output(), nil)),
	})
	must(f.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = f.service.Run(ctx) }()
	f.stop = func() { cancel(); <-ended }
	f.t.Cleanup(func() { f.stop() })
	f.eventually("the service leads", func() bool { _, err := f.service.leading(); return err == nil })
}

func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			f.t.Fatalf("waited in vain: %s", what)
		}
		wait := time.NewTimer(5 * time.Millisecond)
		<-wait.C
	}
}

// children lists the child SAs that are recorded for the host gw.
func (f *fixture) children() (all []*controllerv1.IKEChild) {
	f.view.Range(store.IKEChildPrefix+"gw/", func(kv store.KV) bool {
		c := &controllerv1.IKEChild{}
		must(f.t, store.Decode(kv, c))
		all = append(all, c)
		return true
	})
	return all
}

// count is how many keys there are under a prefix.
func (f *fixture) count(prefix string) (n int) {
	f.view.Range(prefix, func(store.KV) bool { n++; return true })
	return n
}
