package uplink_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/uplink"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/fault"
)

// controller is a scripted controller: each stream that opens is handed to the test.
type controller struct {
	fleetv1.UnimplementedSyncServiceServer
	fleetv1.UnimplementedEnrolmentServiceServer
	t       *testing.T
	ca      *authority
	lis     *bufconn.Listener
	streams chan *session
	relays  *relays

	mu     sync.Mutex
	key    crypto.Signer // of the host, as enrolled
	renews int
	bundle [][]byte
}

// session is one stream, seen from the controller.
type session struct {
	t     *testing.T
	rpc   fleetv1.SyncService_SyncServer
	hello *fleetv1.Hello
	held  map[string]uint64
	over  chan error
}

func newController(t *testing.T) *controller {
	t.Helper()
	c := &controller{t: t, ca: newAuthority(t), lis: bufconn.Listen(1 << 20), streams: make(chan *session)}
	c.relays = &relays{streams: make(chan fleetv1.RelayService_RelayIKEServer), over: make(chan struct{})}
	c.bundle = [][]byte{c.ca.root}
	server := grpc.NewServer()
	fleetv1.RegisterSyncServiceServer(server, c)
	fleetv1.RegisterEnrolmentServiceServer(server, c)
	fleetv1.RegisterRelayServiceServer(server, c.relays)
	go func() { _ = server.Serve(c.lis) }()
	t.Cleanup(server.Stop)
	return c
}

func (c *controller) dialer() *dialer {
	return &dialer{
		enrol: func(key *uplink.Key) (*fleetv1.Identity, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.key = key.Signer()
			return c.ca.issue("web-1", c.key.Public()), nil
		},
		dial: func() (*grpc.ClientConn, error) {
			return grpc.NewClient("passthrough:///scripted", grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.lis.DialContext(ctx) }))
		},
	}
}

func (c *controller) Renew(context.Context, *fleetv1.RenewRequest) (*fleetv1.RenewResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renews++
	c.ca.life = max(c.ca.life, time.Hour)
	return &fleetv1.RenewResponse{Identity: c.ca.issue("web-1", c.key.Public())}, nil
}

// Sync hands the stream to the test after Hello and the inventory.
func (c *controller) Sync(rpc fleetv1.SyncService_SyncServer) error {
	s := &session{t: c.t, rpc: rpc, held: map[string]uint64{}, over: make(chan error, 1)}
	for last := false; !last; {
		m, err := rpc.Recv()
		if err != nil {
			return err
		}
		if h := m.GetHello(); h != nil {
			s.hello = h
		}
		for _, e := range m.GetInventory().GetEntries() {
			s.held[e.GetName()] = e.GetVersion()
		}
		last = m.GetInventory().GetLast()
	}
	select {
	case c.streams <- s:
	case <-rpc.Context().Done():
		return rpc.Context().Err()
	}
	select {
	case err := <-s.over:
		return err
	case <-rpc.Context().Done():
		return rpc.Context().Err()
	}
}

// next is the next stream that opens.
func (c *controller) next() *session {
	c.t.Helper()
	select {
	case s := <-c.streams:
		return s
	case <-time.After(patience):
		c.t.Fatal("no stream opens")
		return nil
	}
}

// welcomed is the next stream, welcomed at a revision.
func (c *controller) welcomed(revision int64) *session {
	c.t.Helper()
	s := c.next()
	s.welcome(revision, c.bundle)
	return s
}

func (s *session) welcome(revision int64, bundle [][]byte) {
	s.send(&fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Welcome{Welcome: &fleetv1.Welcome{
		Position: at(revision), ReportInterval: durationpb.New(time.Hour), TrustBundle: bundle,
	}}})
}

func at(revision int64) *typesv1.Position {
	return &typesv1.Position{Incarnation: 1, Revision: revision, Proof: []byte{byte(revision)}}
}

func (s *session) send(m *fleetv1.SyncResponse) {
	s.t.Helper()
	if err := s.rpc.Send(m); err != nil {
		s.t.Fatalf("send: %v", err)
	}
}

func (s *session) update(u *fleetv1.Update) {
	s.t.Helper()
	s.send(&fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Update{Update: u}})
}

func (s *session) remove(name string, version uint64) {
	s.t.Helper()
	s.send(&fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Remove{Remove: &fleetv1.Remove{Name: name, Version: version}}})
}

// answer receives an Ack or Nack.
func (s *session) answer() *fleetv1.SyncRequest {
	s.t.Helper()
	for {
		m, err := s.rpc.Recv()
		if err != nil {
			s.t.Fatalf("no answer: %v", err)
		}
		if m.GetReport() == nil {
			return m
		}
	}
}

func (s *session) acked(name string, version uint64) {
	s.t.Helper()
	if m := s.answer(); m.GetAck().GetName() != name || m.GetAck().GetVersion() != version {
		s.t.Fatalf("got %v, want an Ack of %s version %d", m, name, version)
	}
}

func (s *session) nacked(name string, reason fleetv1.NackReason) *fleetv1.Nack {
	s.t.Helper()
	m := s.answer()
	if m.GetNack().GetName() != name || m.GetNack().GetReason() != reason {
		s.t.Fatalf("got %v, want a Nack of %s with %v", m, name, reason)
	}
	return m.GetNack()
}

func (s *session) end(err error) { s.over <- err }

// Resources of a scripted fleet: pair n, and association n of it.

func pairID(n byte) []byte       { return bytes.Repeat([]byte{n}, 16) }
func pairOf(n byte) string       { return fmt.Sprintf("pair/%x", pairID(n)) }
func said(n byte) []byte         { return bytes.Repeat([]byte{0xa0 | n}, 16) }
func sa(n byte, w string) string { return fmt.Sprintf("sa/%x/%s", said(n), w) }

func pairUpdate(n byte, version uint64) *fleetv1.Update {
	one := []*typesv1.TrafficSelector{{StartAddress: []byte{10, 0, 0, n}, EndAddress: []byte{10, 0, 0, n}, EndPort: 65535}}
	return &fleetv1.Update{Name: pairOf(n), Version: version, Resource: &fleetv1.Update_Pair{Pair: &fleetv1.Pair{
		Id: pairID(n), RemoteHost: fmt.Sprintf("web-%d", n), Policy: "mesh", Local: one, Remote: one,
	}}}
}

func saUpdate(n byte, inbound bool) *fleetv1.Update {
	way, direction := "out", fleetv1.Direction_DIRECTION_OUTBOUND
	if inbound {
		way, direction = "in", fleetv1.Direction_DIRECTION_INBOUND
	}
	return &fleetv1.Update{Name: sa(n, way), Version: 1, Resource: &fleetv1.Update_SecurityAssociation{SecurityAssociation: &fleetv1.SecurityAssociation{
		Id: said(n), Pair: pairID(n), Generation: 1, Direction: direction, Spi: 0x1000 + uint32(n), Key: bytes.Repeat([]byte{n}, 36),
		Transform: &typesv1.Transform{Encryption: 20, KeyBits: 256, Esn: true}, ReplayWindow: 2048,
		Soft: &fleetv1.Lifetime{Time: durationpb.New(time.Hour)}, Hard: &fleetv1.Lifetime{Time: durationpb.New(2 * time.Hour)},
	}}}
}

func configUpdate(version uint64) *fleetv1.Update {
	return &fleetv1.Update{Name: "config", Version: version, Resource: &fleetv1.Update_Config{Config: &fleetv1.HostConfig{
		OverlayAddresses: [][]byte{{100, 64, 0, 1}}, OverlayPrefixes: []string{"100.64.0.0/16"}, Mtu: 1350,
	}}}
}

func TestInventoryTellsWhatIsHeld(t *testing.T) {
	c, d := newController(t), newDevice()
	live(t, t.TempDir(), c.dialer(), d)
	s := c.welcomed(5)
	if len(s.held) != 0 || s.hello.GetStream() != 1 || len(s.hello.GetEpoch()) != 16 || s.hello.GetSeen() != nil {
		t.Errorf("first hello %v, inventory %v", s.hello, s.held)
	}
	s.update(configUpdate(11))
	s.acked("config", 11)
	s.update(pairUpdate(1, 21))
	s.acked(pairOf(1), 21)
	s.update(saUpdate(1, true))
	s.acked(sa(1, "in"), 1)
	s.update(saUpdate(1, false))
	s.acked(sa(1, "out"), 1)
	s.remove(sa(1, "out"), 2)
	s.acked(sa(1, "out"), 2)
	s.remove(sa(9, "out"), 2) // never held: gone all the same
	s.acked(sa(9, "out"), 2)
	s.end(nil)

	s2 := c.welcomed(5)
	want := map[string]uint64{"config": 11, pairOf(1): 21, sa(1, "in"): 1}
	if fmt.Sprint(s2.held) != fmt.Sprint(want) {
		t.Errorf("inventory %v, want %v", s2.held, want)
	}
	if s2.hello.GetStream() != 2 || !bytes.Equal(s2.hello.GetEpoch(), s.hello.GetEpoch()) {
		t.Errorf("second hello %v", s2.hello)
	}
	if p := s2.hello.GetSeen(); p.GetRevision() != 5 || !bytes.Equal(p.GetProof(), []byte{5}) {
		t.Errorf("seen %v", p)
	}
}

func TestNacks(t *testing.T) {
	c, d := newController(t), newDevice()
	live(t, t.TempDir(), c.dialer(), d)
	s := c.welcomed(1)
	s.update(saUpdate(1, true))
	s.nacked(sa(1, "in"), fleetv1.NackReason_NACK_REASON_FAILED) // no pair yet
	s.update(pairUpdate(1, 1))
	s.acked(pairOf(1), 1)
	s.update(saUpdate(1, true))
	s.acked(sa(1, "in"), 1)

	s.remove(pairOf(1), 9) // would delete an association that no tombstone has named
	s.nacked(pairOf(1), fleetv1.NackReason_NACK_REASON_FAILED)
	s.remove("config", 1)
	s.nacked("config", fleetv1.NackReason_NACK_REASON_INVALID)
	wrong := saUpdate(2, true)
	wrong.GetSecurityAssociation().Hard = nil
	s.update(wrong)
	s.nacked(sa(2, "in"), fleetv1.NackReason_NACK_REASON_INVALID)
	mixed := saUpdate(2, true)
	mixed.Name = pairOf(2)
	s.update(mixed)
	s.nacked(pairOf(2), fleetv1.NackReason_NACK_REASON_INVALID)

	s.remove(sa(1, "in"), 2)
	s.acked(sa(1, "in"), 2)
	s.update(saUpdate(1, true))
	if n := s.nacked(sa(1, "in"), fleetv1.NackReason_NACK_REASON_BURNT); n.GetHighestGeneration() != 1 {
		t.Errorf("burnt: %v", n)
	}
	s.remove(pairOf(1), 9)
	s.acked(pairOf(1), 9)
}

func TestBadPairSpoilsNoOther(t *testing.T) {
	c, d := newController(t), newDevice()
	live(t, t.TempDir(), c.dialer(), d)
	s := c.welcomed(1)
	bad := pairUpdate(2, 1)
	bad.GetPair().RemoteHost = ""
	s.update(pairUpdate(1, 1))
	s.update(bad)
	s.update(pairUpdate(3, 1))
	s.update(saUpdate(3, true))
	s.acked(pairOf(1), 1)
	s.nacked(pairOf(2), fleetv1.NackReason_NACK_REASON_INVALID)
	s.acked(pairOf(3), 1)
	s.acked(sa(3, "in"), 1) // nothing after the pairs was lost
}

// TestRefusedPairKeepsTheOldGuard: what the agent could not take may be what the last life guarded.
func TestRefusedPairKeepsTheOldGuard(t *testing.T) {
	c, d := newController(t), newDevice()
	l := live(t, t.TempDir(), c.dialer(), d)
	s := c.welcomed(1)
	bad := pairUpdate(1, 1)
	bad.GetPair().Remote = nil
	s.update(bad)
	s.nacked(pairOf(1), fleetv1.NackReason_NACK_REASON_INVALID)
	position := &fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Position{Position: at(2)}}
	s.send(position)
	l.await("the position", func(s uplink.Status) bool { return s.Revision == 2 })
	s.end(nil)
	s = c.welcomed(2)
	d.mu.Lock()
	if d.synced != 0 {
		t.Error("the guard of the last life was taken away")
	}
	d.mu.Unlock()
	s.send(position)
	d.await(t, "the end of the last life's guard", func(d *device) bool { return d.synced == 1 })
}

// TestMessagesAreBounded: hundreds of messages may wait, so none may be large.
func TestMessagesAreBounded(t *testing.T) {
	c, d := newController(t), newDevice()
	l := live(t, t.TempDir(), c.dialer(), d)
	s := c.welcomed(1)
	large := pairUpdate(1, 1)
	large.GetPair().Policy = strings.Repeat("x", 300<<10)
	s.update(large)
	c.next()
	if text := l.uplink.Status().LastError; !strings.Contains(text, "larger than max") {
		t.Errorf("the stream ended with %q", text)
	}
}

// TestChangesAreToldOnce: on a router something changes all the time, and mostly not the host's addresses.
func TestChangesAreToldOnce(t *testing.T) {
	c, d := newController(t), newDevice()
	changes := make(chan struct{}, 1)
	var last atomic.Uint32
	live(t, t.TempDir(), c.dialer(), d, func(config *uplink.Config) {
		config.AddressesChanged = changes
		config.Addresses = func() []netip.Addr { return []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(last.Load())})} }
	})
	s := c.welcomed(1)
	reports := make(chan byte, 100)
	go func() {
		defer close(reports)
		for m, err := s.rpc.Recv(); err == nil; m, err = s.rpc.Recv() {
			if a := m.GetReport().GetUnderlayAddresses(); len(a) == 1 {
				reports <- a[0][3]
			}
		}
	}()
	var got []byte
	for n := byte(1); n <= 2; n++ {
		last.Store(uint32(n))
		for deadline := time.After(patience); len(got) < int(n); {
			select {
			case changes <- struct{}{}:
			case a := <-reports:
				got = append(got, a)
			case <-deadline:
				t.Fatalf("told %v", got)
			}
		}
	}
	if !bytes.Equal(got, []byte{1, 2}) {
		t.Errorf("told %v, want each address once", got)
	}
}

func TestStaleControllerIsNotObeyed(t *testing.T) {
	c, d := newController(t), newDevice()
	l := live(t, t.TempDir(), c.dialer(), d)
	s := c.welcomed(10)
	s.update(pairUpdate(1, 1))
	s.acked(pairOf(1), 1)
	s.end(nil)
	c.welcomed(9) // an older copy of the store
	s = c.next()
	if text := l.uplink.Status().LastError; !strings.Contains(text, "older than what this host has seen") {
		t.Errorf("status says %q", text)
	}
	s.welcome(10, c.bundle)
	s.remove(pairOf(1), 9)
	s.acked(pairOf(1), 9)
}

func TestFirstMessageMustBeWelcome(t *testing.T) {
	c, d := newController(t), newDevice()
	live(t, t.TempDir(), c.dialer(), d)
	c.next().update(pairUpdate(1, 1))
	c.welcomed(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pairs) != 0 {
		t.Error("obeyed before Welcome")
	}
}

func TestRemovedIsHeardBehindOtherMessages(t *testing.T) {
	c, d := newController(t), newDevice()
	l := live(t, t.TempDir(), c.dialer(), d)
	s := c.welcomed(1)
	for n := byte(1); n < 8; n++ {
		s.update(pairUpdate(n, 1))
		s.update(saUpdate(n, true))
	}
	s.send(&fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Removed{Removed: &fleetv1.Removed{Reason: "by an operator"}}})
	s.end(errors.New("gone"))
	if err := l.result(); !errors.Is(err, uplink.ErrRemoved) || !strings.Contains(err.Error(), "by an operator") {
		t.Errorf("ended with %v", err)
	}
	d.awaitHeld(t)
}

func TestControllerAwayChangesNothing(t *testing.T) {
	c, d := newController(t), newDevice()
	l := live(t, t.TempDir(), c.dialer(), d)
	s := c.welcomed(1)
	s.update(pairUpdate(1, 1))
	s.update(saUpdate(1, true))
	s.acked(pairOf(1), 1)
	s.acked(sa(1, "in"), 1)
	s.end(errors.New("crash"))
	s = c.next()
	d.awaitHeld(t, "in 1")
	l.await("a reason", func(s uplink.Status) bool { return !s.Connected && s.LastError != "" })
	s.welcome(1, c.bundle)
}

func TestSoftLimitsAreToldAgain(t *testing.T) {
	c, d := newController(t), newDevice()
	l := live(t, t.TempDir(), c.dialer(), d)
	s := c.welcomed(1)
	s.update(pairUpdate(1, 1))
	s.update(saUpdate(1, true))
	s.acked(pairOf(1), 1)
	s.acked(sa(1, "in"), 1)
	l.events <- datapath.Event{Kind: datapath.SoftLifetime, SA: datapath.SAID(said(1)), Inbound: true}
	expired := func(s *session) {
		t.Helper()
		if m := s.answer(); m.GetExpire().GetName() != sa(1, "in") || m.GetExpire().GetReason() != fleetv1.ExpireReason_EXPIRE_REASON_SOFT {
			t.Fatalf("got %v, want Expire", m)
		}
	}
	expired(s)
	s.end(nil)
	expired(c.welcomed(1))
}

func TestTrustBundleIsKept(t *testing.T) {
	c, d := newController(t), newDevice()
	dir := t.TempDir()
	l := live(t, dir, c.dialer(), d)
	s := c.next()
	second := newAuthority(t).root
	s.welcome(1, [][]byte{c.ca.root, second})
	s.update(configUpdate(1))
	s.acked("config", 1)
	l.end()
	text, err := os.ReadFile(filepath.Join(dir, "trust.pem"))
	if err != nil || bytes.Count(text, []byte("BEGIN CERTIFICATE")) != 2 {
		t.Errorf("trust.pem: %v\n%s", err, text)
	}
}

func TestUnusableTrustBundleIsRefused(t *testing.T) {
	c, d := newController(t), newDevice()
	live(t, t.TempDir(), c.dialer(), d)
	c.next().welcome(1, [][]byte{{1, 2, 3}})
	c.next().welcome(1, nil)
	c.welcomed(1)
}

func TestLastConfigurationIsThereAtOnce(t *testing.T) {
	c, dir := newController(t), t.TempDir()
	l := live(t, dir, c.dialer(), newDevice())
	s := c.welcomed(7)
	s.update(configUpdate(1))
	s.acked("config", 1)
	l.end()

	d := newDevice()
	live(t, dir, c.dialer(), d)
	s = c.next() // nothing has been said yet
	d.await(t, "the configuration of the last life", func(d *device) bool { return d.config.MTU == 1350 })
	if len(s.held) != 0 {
		t.Errorf("inventory of a new process: %v", s.held)
	}
	if s.hello.GetSeen().GetRevision() != 7 {
		t.Errorf("seen %v", s.hello.GetSeen())
	}
}

// TestDamagedConfigurationIsNoEnd: the controller sends it again.
func TestDamagedConfigurationIsNoEnd(t *testing.T) {
	c, dir := newController(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDevice()
	live(t, dir, c.dialer(), d)
	s := c.welcomed(1)
	s.update(configUpdate(1))
	s.acked("config", 1)
}

func TestLostEnrolmentReplyIsRepeatedWithTheSameKey(t *testing.T) {
	c, d := newController(t), newDevice()
	dialer := c.dialer()
	enrol := dialer.enrol
	var keys []crypto.PublicKey
	dialer.enrol = func(key *uplink.Key) (*fleetv1.Identity, error) {
		keys = append(keys, key.Signer().Public())
		if len(keys) < 3 {
			return nil, fault.New(fault.Unavailable, "the reply was lost")
		}
		return enrol(key)
	}
	live(t, t.TempDir(), dialer, d)
	c.welcomed(1)
	type equal interface{ Equal(crypto.PublicKey) bool }
	if len(keys) != 3 || !keys[0].(equal).Equal(keys[1]) || !keys[0].(equal).Equal(keys[2]) {
		t.Errorf("%d enrolments, keys differ", len(keys))
	}
}

func TestRefusedTokenEnds(t *testing.T) {
	for name, refusal := range map[string]error{
		"refused":     fault.New(fault.PermissionDenied, "the join token is used up").WithReason("TOKEN_REFUSED"),
		"not a fleet": fmt.Errorf("x: %w", dial.ErrNotTheFleet),
	} {
		t.Run(name, func(t *testing.T) {
			d := &dialer{enrol: func(*uplink.Key) (*fleetv1.Identity, error) { return nil, refusal }}
			l := live(t, t.TempDir(), d, newDevice())
			if err := l.result(); !errors.Is(err, uplink.ErrJoinRefused) || !errors.Is(err, refusal) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestNoTokenEnds(t *testing.T) {
	l := live(t, t.TempDir(), &dialer{}, newDevice(), func(c *uplink.Config) { c.JoinToken = nil })
	if err := l.result(); !errors.Is(err, uplink.ErrNoToken) {
		t.Errorf("ended with %v", err)
	}
}

func TestIdentityForAnotherKeyIsRefused(t *testing.T) {
	c := newController(t)
	d := &dialer{enrol: func(*uplink.Key) (*fleetv1.Identity, error) { return c.ca.issue("web-1", c.ca.key.Public()), nil }}
	l := live(t, t.TempDir(), d, newDevice())
	if err := l.result(); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("ended with %v", err)
	}
}

func TestRenewal(t *testing.T) {
	c, dir := newController(t), t.TempDir()
	c.ca.life = 2 * time.Second // half of it is over in a second
	l := live(t, dir, c.dialer(), newDevice())
	c.welcomed(1)
	l.await("a longer certificate", func(s uplink.Status) bool { return s.CertificateNotAfter.After(time.Now().Add(time.Minute)) })
}

func TestExpiredCertificateIsRenewedFirst(t *testing.T) {
	c, dir := newController(t), t.TempDir()
	l := live(t, dir, c.dialer(), newDevice())
	c.welcomed(1)
	l.end()
	later := func(cfg *uplink.Config) { // a weekend offline
		cfg.Now = func() time.Time { return time.Now().Add(time.Hour + time.Minute) }
	}
	c.ca.life = 3 * time.Hour
	live(t, dir, c.dialer(), newDevice(), later)
	c.welcomed(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.renews == 0 {
		t.Error("the stream was opened with an expired certificate")
	}
}

func TestRefusedAsExpiredRenews(t *testing.T) {
	c := newController(t)
	live(t, t.TempDir(), c.dialer(), newDevice())
	s := c.next()
	st, err := status.New(codes.Unauthenticated, "expired").WithDetails(&errdetails.ErrorInfo{Domain: fault.Domain, Reason: "CERTIFICATE_EXPIRED"})
	if err != nil {
		t.Fatal(err)
	}
	s.end(st.Err())
	c.welcomed(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.renews == 0 {
		t.Error("the certificate that the controller takes for expired was not renewed")
	}
}
