package keying

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
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

// agent is the agent's end of a RelayIKE stream.
type agent struct {
	grpc.ServerStream
	ctx  context.Context
	end  context.CancelFunc
	up   chan *fleetv1.RelayIKERequest
	down chan *fleetv1.RelayIKEResponse
	over chan error
	// guard is what the controller has said of cookies.
	guard atomic.Pointer[fleetv1.CookieGuard]
}

func (a *agent) Context() context.Context     { return a.ctx }
func (a *agent) SendHeader(metadata.MD) error { return nil }

func (a *agent) Recv() (*fleetv1.RelayIKERequest, error) {
	select {
	case m := <-a.up:
		return m, nil
	case <-a.ctx.Done():
		return nil, io.EOF
	}
}

func (a *agent) Send(m *fleetv1.RelayIKEResponse) error {
	if find := m.GetFindPath(); find != nil {
		a.up <- &fleetv1.RelayIKERequest{Message: &fleetv1.RelayIKERequest_Path{Path: &fleetv1.HostPath{
			RemoteAddress: find.GetRemoteAddress(), LocalAddress: gateway.AsSlice(),
		}}}
		return nil
	}
	if g := m.GetGuard(); g != nil {
		a.guard.Store(g)
		return nil
	}
	select {
	case a.down <- m:
		return nil
	case <-a.ctx.Done():
		return errors.New("gone")
	}
}

// relay opens a stream of a host, with the epoch of that number.
func (f *fixture) relay(host string, n byte) *agent {
	f.t.Helper()
	ctx, cancel := context.WithCancel(caller.NewContext(context.Background(), caller.Caller{Role: caller.RoleAgent, Name: host}))
	a := &agent{ctx: ctx, end: cancel, up: make(chan *fleetv1.RelayIKERequest, 64), down: make(chan *fleetv1.RelayIKEResponse, 64), over: make(chan error, 1)}
	a.up <- &fleetv1.RelayIKERequest{Message: &fleetv1.RelayIKERequest_Hello{Hello: &fleetv1.RelayHello{Epoch: epoch(n), Stream: 1}}}
	service := f.service
	go func() { a.over <- service.RelayIKE(a) }()
	f.t.Cleanup(cancel)
	f.eventually("the stream is open", func() bool {
		r, err := service.leading()
		return err == nil && r.relays.has(host) || len(a.over) > 0
	})
	return a
}

// remote is the peer: a machine of its own behind the agent's network.
type remote struct {
	f         *fixture
	agent     *agent
	machine   *ike.Machine
	secret    string
	opens     []byte // key of its newest inbound half
	seals     []byte // and of its outbound one
	sent      [][]byte
	installed map[uint64]bool
	removed   int
	up        bool
	closed    *ike.Closed
}

// remotePolicy is the mirror of the peer's spec.
func remotePolicy() ike.Policy {
	s := &operatorv1.PeerSpec{Children: []*operatorv1.PeerChild{{
		Name: "net", Local: []string{"10.2.0.0/16"}, Remote: []string{"10.1.0.0/16"}, Proposals: []string{"aes256gcm16-x25519-noesn"},
	}}, Proposals: []string{"aes256gcm16-prfsha256-x25519"}, Remote: &operatorv1.PeerAuthentication{Id: gateway.String()}}
	r := &reign{config: Config{Authenticator: PSK{}}}
	p, err := r.policy(Candidate{Spec: s}, "", office)
	if err != nil {
		panic(err)
	}
	return p
}

func (f *fixture) remote() *remote {
	return &remote{f: f, agent: f.agent, secret: testSecret, installed: make(map[uint64]bool)}
}

func (r *remote) config() ike.Config {
	return ike.Config{
		Random: rand.Reader, Token: 1, Policy: remotePolicy(),
		NewIKESPI: func() (s ikewire.IKESPI, err error) { rand.Read(s[:]); s[0] |= 1; return s, nil },
		NewChildSPI: func() (uint32, error) {
			var b [3]byte
			rand.Read(b[:])
			return 0xc0000000 | uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), nil
		},
	}
}

// call begins, and until runs the machine until something holds.
func (r *remote) call() {
	r.f.t.Helper()
	var err error
	path := ike.Path{Local: netip.AddrPortFrom(office, 500), Remote: netip.AddrPortFrom(gateway, 500)}
	r.machine, err = ike.Initiate(time.Now(), r.config(), path)
	must(r.f.t, err)
	r.act()
}

// until runs the machine until ok holds.
func (r *remote) until(what string, ok func() bool) {
	r.f.t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	for !ok() {
		tick := time.NewTimer(20 * time.Millisecond)
		select {
		case m := <-r.agent.down:
			r.take(m.GetDatagram())
		case <-tick.C:
			if at, some := r.deadline(); some && !time.Now().Before(at) {
				must(r.f.t, r.machine.HandleTimeout(time.Now()))
				r.act()
			}
		case <-end.C:
			r.f.t.Fatalf("waited in vain: %s", what)
		}
		tick.Stop()
	}
}

func (r *remote) deadline() (time.Time, bool) {
	if r.machine == nil {
		return time.Time{}, false
	}
	return r.machine.Deadline()
}

// take is a datagram that has come from the controller.
func (r *remote) take(d *fleetv1.IKEDatagram) {
	at := pathOf(d)
	path := ike.Path{Local: at.Remote, Remote: at.Local}
	if r.machine == nil {
		m, _, err := ike.Respond(time.Now(), r.config(), path, d.GetMessage())
		must(r.f.t, err)
		r.machine = m
	} else if err := r.machine.HandlePacket(time.Now(), path, d.GetMessage()); err != nil {
		if _, rejected := errors.AsType[*ike.Rejection](err); !rejected && !errors.Is(err, ike.ErrClosed) {
			r.f.t.Error(err)
		}
	}
	r.act()
}

// command gives the machine an order.
func (r *remote) command(c ike.Command) {
	r.f.t.Helper()
	must(r.f.t, r.machine.HandleCommand(time.Now(), c))
	r.act()
}

func (r *remote) act() {
	for actions := r.machine.Actions(); len(actions) > 0; actions = r.machine.Actions() {
		r.do(actions[0])
		r.machine.Done(1)
	}
}

func (r *remote) do(action ike.Action) {
	psk := func(prf uint16, octets []byte) []byte {
		data, err := proveWith([]byte(r.secret), prf, octets)
		must(r.f.t, err)
		return data
	}
	switch x := action.(type) {
	case ike.Send:
		for _, d := range x.Datagrams {
			r.send(x.Path, d)
		}
	case ike.InstallInbound:
		r.installed[x.Child.ID], r.opens = true, x.Keymat
	case ike.InstallOutbound:
		r.seals = x.Keymat
	case ike.RemoveChild:
		delete(r.installed, x.ID)
		r.removed++
	case ike.VerifyPeer:
		ok := string(psk(x.PRF, x.SignedOctets)) == string(x.AUTH.Data)
		r.later(ike.PeerVerified{ID: x.ID, Accepted: ok})
	case ike.SignAUTH:
		r.later(ike.AUTHSigned{ID: x.ID, AUTH: ikewire.AUTH{Method: ikewire.AuthSharedKey, Data: psk(x.PRF, x.SignedOctets)}})
	case ike.Established:
		r.up = true
	case ike.Closed:
		r.closed = &x
	}
}

// later gives an answer: the machine allows it within the step that asked.
func (r *remote) later(c ike.Command) { must(r.f.t, r.machine.HandleCommand(time.Now(), c)) }

// send hands a datagram to the controller.
func (r *remote) send(p ike.Path, d []byte) {
	r.sent = append(r.sent, d)
	r.agent.up <- &fleetv1.RelayIKERequest{Message: &fleetv1.RelayIKERequest_Datagram{Datagram: &fleetv1.IKEDatagram{
		LocalAddress: p.Remote.Addr().AsSlice(), LocalPort: uint32(p.Remote.Port()),
		RemoteAddress: p.Local.Addr().AsSlice(), RemotePort: uint32(p.Local.Port()), Message: d,
	}}}
}
