package uplink_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/relay"
	"sallyport.dev/sallyport/agent/uplink"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// relays is the controller's end of RelayIKE: each stream that opens is handed to the test.
type relays struct {
	fleetv1.UnimplementedRelayServiceServer
	streams chan fleetv1.RelayService_RelayIKEServer
	over    chan struct{}
}

func (r *relays) RelayIKE(rpc fleetv1.RelayService_RelayIKEServer) error {
	if err := rpc.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	select {
	case r.streams <- rpc:
	case <-rpc.Context().Done():
	}
	select {
	case <-r.over:
	case <-rpc.Context().Done():
	}
	return rpc.Context().Err()
}

// wire is a socket of IKE.
type wire struct{ sent chan datagram.Packet }

func (w *wire) Send(ps []datagram.Packet) (int, error) {
	for _, p := range ps {
		w.sent <- p
	}
	return len(ps), nil
}

var peerAddress = netip.MustParseAddrPort("198.51.100.7:500")

// bench is an agent whose streams are open.
type bench struct {
	controller *controller
	life       *life
	sync       *session
	relay      *relay.Relay
	wire       *wire
	rpc        fleetv1.RelayService_RelayIKEServer // the controller's end
}

func startRelay(t *testing.T) *bench {
	t.Helper()
	c := newController(t)
	w := &wire{sent: make(chan datagram.Packet, 8)}
	r := relay.New(relay.Config{
		ESPPort: 4500, IKE: relay.Sockets{IPv4: w},
		PathTo: func(netip.Addr) (netip.Addr, int, error) { return netip.MustParseAddr("192.0.2.1"), 1500, nil },
	})
	l := live(t, t.TempDir(), c.dialer(), newDevice(), func(config *uplink.Config) { config.IKE = r })
	s := c.welcomed(5)
	return &bench{c, l, s, r, w, c.relays.next(t)}
}

// next is the next stream that opens.
func (r *relays) next(t *testing.T) fleetv1.RelayService_RelayIKEServer {
	t.Helper()
	select {
	case rpc := <-r.streams:
		return rpc
	case <-time.After(patience):
		t.Fatal("no stream for IKE opens")
	}
	return nil
}

// beginning is the first message of a peer.
func beginning(t *testing.T) []byte {
	t.Helper()
	m := &ikewire.Message{Header: ikewire.Header{InitiatorSPI: ikewire.IKESPI{1}, Exchange: ikewire.IKESAInit, Flags: ikewire.FlagInitiator}}
	b, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIKEIsRelayed(t *testing.T) {
	b := startRelay(t)
	s, r, w, rpc := b.sync, b.relay, b.wire, b.rpc
	hello, err := rpc.Recv()
	if err != nil || !bytes.Equal(hello.GetHello().GetEpoch(), s.hello.GetEpoch()) {
		t.Fatalf("hello %v, %v", hello, err)
	}
	m := beginning(t)
	for r.Counters().Taken == 0 { // the agent attaches its relay when it has heard that the stream is taken
		r.Take(&datagram.Packet{Data: m, Remote: peerAddress, Local: netip.MustParseAddr("192.0.2.1")}, 500)
		<-time.After(time.Millisecond)
	}
	up, err := rpc.Recv()
	d := up.GetDatagram()
	if err != nil || !bytes.Equal(d.GetMessage(), m) || d.GetLocalPort() != 500 || d.GetRemotePort() != 500 ||
		!bytes.Equal(d.GetRemoteAddress(), peerAddress.Addr().AsSlice()) || !bytes.Equal(d.GetLocalAddress(), []byte{192, 0, 2, 1}) {
		t.Fatalf("%v, %v", up, err)
	}
	if err := rpc.Send(&fleetv1.RelayIKEResponse{Message: &fleetv1.RelayIKEResponse_Datagram{Datagram: d}}); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-w.sent:
		if !bytes.Equal(p.Data, m) || p.Remote != peerAddress {
			t.Errorf("sent %+v", p)
		}
	case <-time.After(patience):
		t.Fatal("nothing is sent")
	}
}

func TestPathIsFound(t *testing.T) {
	rpc := startRelay(t).rpc
	if _, err := rpc.Recv(); err != nil {
		t.Fatal(err)
	}
	find := &fleetv1.FindPath{RemoteAddress: peerAddress.Addr().AsSlice()}
	if err := rpc.Send(&fleetv1.RelayIKEResponse{Message: &fleetv1.RelayIKEResponse_FindPath{FindPath: find}}); err != nil {
		t.Fatal(err)
	}
	answer, err := rpc.Recv()
	if p := answer.GetPath(); err != nil || !bytes.Equal(p.GetLocalAddress(), []byte{192, 0, 2, 1}) || !bytes.Equal(p.GetRemoteAddress(), find.GetRemoteAddress()) {
		t.Errorf("%v, %v", answer, err)
	}
}

// TestRelayOpensAgain: a stream for IKE that ends comes back, and the stream of Sync stays.
func TestRelayOpensAgain(t *testing.T) {
	b := startRelay(t)
	b.controller.relays.over <- struct{}{}
	first, err := b.controller.relays.next(t).Recv()
	if err != nil || first.GetHello().GetStream()&0xffffffff != 2 {
		t.Errorf("%v, %v", first, err)
	}
	b.sync.update(configUpdate(11))
	b.sync.acked("config", 11)
}

func TestAcquireIsTold(t *testing.T) {
	b := startRelay(t)
	at := func(text string) spd.Selector {
		a := netip.MustParseAddr(text)
		return spd.Selector{First: a, Last: a, Proto: 6, Ports: spd.Ports{First: 80, Last: 80}}
	}
	b.life.events <- datapath.Event{Kind: datapath.Acquire, Pair: datapath.PairID(pairID(3)), Local: at("10.1.0.1"), Remote: at("10.2.0.1")}
	a := b.sync.answer().GetAcquire()
	if !bytes.Equal(a.GetPair(), pairID(3)) || a.GetLocal().GetIpProtocol() != 6 || a.GetRemote().GetStartPort() != 80 ||
		!bytes.Equal(a.GetRemote().GetEndAddress(), []byte{10, 2, 0, 1}) {
		t.Errorf("%v", a)
	}
}
