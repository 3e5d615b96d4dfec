package uplink

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	rpcstatus "google.golang.org/grpc/status"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/relay"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
)

// IKERelay has the sockets of IKE, as relay.Relay has.
type IKERelay interface {
	// Attach says whether there is a controller.
	Attach(there bool)
	// Next waits for a datagram for the controller.
	Next(ctx context.Context) (relay.Datagram, error)
	// Send sends one of the controller's.
	Send(d relay.Datagram) error
	// SetGuard says how first messages are treated.
	SetGuard(g relay.Guard)
	// Source is the host's own address on the way to another one; invalid when there is no way.
	Source(remote netip.Addr) netip.Addr
}

// relays keeps a RelayIKE stream open beside a Sync stream that was welcomed, until ctx ends.
func (u *Uplink) relays(ctx context.Context, conn grpc.ClientConnInterface, welcomed <-chan struct{}) {
	select {
	case <-welcomed:
	case <-ctx.Done():
		return
	}
	var retry backoff
	for number := uint64(1); ; number++ {
		opened, err := u.relay(ctx, conn, number)
		if ctx.Err() != nil {
			return
		}
		if rpcstatus.Code(err) == codes.Unimplemented {
			u.log.Debug("this controller speaks no IKE", "err", err)
			return
		}
		if opened {
			retry.reset()
		}
		wait := retry.next()
		u.log.Warn("no stream for IKE; peers are not answered, what is installed stays", "err", err, "retry_in", wait)
		if !pause(ctx, wait) {
			return
		}
	}
}

// relay carries datagrams both ways until the stream ends. opened says whether the controller took it.
func (u *Uplink) relay(ctx context.Context, conn grpc.ClientConnInterface, number uint64) (opened bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rpc, err := fleetv1.NewRelayServiceClient(conn).RelayIKE(ctx, grpc.MaxCallRecvMsgSize(maxMessage))
	if err != nil {
		return false, err
	}
	hello := &fleetv1.RelayHello{Epoch: u.epoch[:], Stream: number + u.streams<<32}
	if err := rpc.Send(&fleetv1.RelayIKERequest{Message: &fleetv1.RelayIKERequest_Hello{Hello: hello}}); err != nil {
		return false, err
	}
	// The header says that the controller has taken the stream.
	if _, err := rpc.Header(); err != nil {
		return false, err
	}
	u.config.IKE.Attach(true)
	defer u.config.IKE.Attach(false)
	s, sent := &relayStream{rpc: rpc}, make(chan struct{})
	go func() {
		defer close(sent)
		u.relayUp(ctx, s)
	}()
	defer func() { cancel(); <-sent }()
	for {
		m, err := rpc.Recv()
		if err != nil {
			return true, err
		}
		if find := m.GetFindPath(); find != nil {
			if answer := u.findPath(find.GetRemoteAddress()); answer != nil {
				s.send(answer)
			}
			continue
		}
		if g := m.GetGuard(); g != nil {
			u.config.IKE.SetGuard(guard(g))
			continue
		}
		u.relayDown(m)
	}
}

// guard translates the controller's word about cookies.
func guard(g *fleetv1.CookieGuard) relay.Guard {
	return relay.Guard{
		Demanded: g.GetDemanded() && len(g.GetSecret()) > 0,
		Now:      ike.CookieSecret{Version: uint8(g.GetVersion()), Key: g.GetSecret()},
		Last:     ike.CookieSecret{Version: uint8(g.GetVersion() - 1), Key: g.GetLastSecret()},
	}
}

// relayStream is one stream; both its goroutines send.
type relayStream struct {
	rpc     grpc.BidiStreamingClient[fleetv1.RelayIKERequest, fleetv1.RelayIKEResponse]
	sending sync.Mutex
}

// send sends one message. A broken stream shows where it is received from.
func (s *relayStream) send(m *fleetv1.RelayIKERequest) {
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.rpc.Send(m)
}

// findPath answers a FindPath; nil when it makes no sense.
func (u *Uplink) findPath(remote []byte) *fleetv1.RelayIKERequest {
	to, err := address(remote)
	if err != nil {
		return nil
	}
	return &fleetv1.RelayIKERequest{Message: &fleetv1.RelayIKERequest_Path{Path: &fleetv1.HostPath{
		RemoteAddress: remote, LocalAddress: u.config.IKE.Source(to).AsSlice(),
	}}}
}

// relayUp hands datagrams to the controller.
func (u *Uplink) relayUp(ctx context.Context, s *relayStream) {
	for {
		d, err := u.config.IKE.Next(ctx)
		if err != nil {
			return
		}
		s.send(&fleetv1.RelayIKERequest{Message: &fleetv1.RelayIKERequest_Datagram{Datagram: &fleetv1.IKEDatagram{
			LocalAddress: d.Local.AsSlice(), LocalPort: uint32(d.Port),
			RemoteAddress: d.Remote.Addr().AsSlice(), RemotePort: uint32(d.Remote.Port()), Message: d.Message,
		}}})
	}
}

// relayDown sends a datagram of the controller's. What cannot be sent is lost, as in any network.
func (u *Uplink) relayDown(m *fleetv1.RelayIKEResponse) {
	r := m.GetDatagram()
	if r == nil {
		return
	}
	d, err := ikeDatagram(r)
	if err == nil {
		err = u.config.IKE.Send(d)
	}
	if err != nil {
		u.log.Debug("an IKE datagram was not sent", "remote", d.Remote, "err", err)
	}
}

func ikeDatagram(r *fleetv1.IKEDatagram) (relay.Datagram, error) {
	remote, err := address(r.GetRemoteAddress())
	if err != nil {
		return relay.Datagram{}, fmt.Errorf("remote %w", err)
	}
	var local netip.Addr
	if b := r.GetLocalAddress(); len(b) > 0 {
		if local, err = address(b); err != nil {
			return relay.Datagram{}, fmt.Errorf("local %w", err)
		}
	}
	if r.GetLocalPort() > 65535 || r.GetRemotePort() < 1 || r.GetRemotePort() > 65535 {
		return relay.Datagram{}, fmt.Errorf("ports %d and %d are none", r.GetLocalPort(), r.GetRemotePort())
	}
	return relay.Datagram{
		Local: local, Port: uint16(r.GetLocalPort()), Remote: netip.AddrPortFrom(remote, uint16(r.GetRemotePort())), Message: r.GetMessage(),
	}, nil
}

// acquire says that a packet wants an association.
func acquire(e datapath.Event) *fleetv1.SyncRequest {
	return &fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Acquire{Acquire: &fleetv1.Acquire{
		Pair: e.Pair[:], Local: selectorMessage(e.Local), Remote: selectorMessage(e.Remote),
	}}}
}

// selectorMessage is the inverse of selector.
func selectorMessage(s datapath.Selector) *typesv1.TrafficSelector {
	return &typesv1.TrafficSelector{
		StartAddress: s.First.AsSlice(), EndAddress: s.Last.AsSlice(), IpProtocol: uint32(s.Proto),
		StartPort: uint32(s.Ports.First), EndPort: uint32(s.Ports.Last),
	}
}
