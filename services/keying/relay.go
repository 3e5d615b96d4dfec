package keying

import (
	"bytes"
	"context"
	"net/netip"
	"sync"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/store"
)

// maxUnsent is how many datagrams may wait for one agent. More are dropped: IKE sends them again.
const maxUnsent = 512

// relays are the agents' streams, the newest of each host.
type relays struct {
	mu     sync.Mutex
	byHost map[string]*relay
	guard  *fleetv1.CookieGuard // what all were told; nil: nothing
}

// relay is one stream.
type relay struct {
	host   string
	number uint64
	epoch  []byte
	out    chan *fleetv1.RelayIKEResponse
	paths  paths
	over   context.CancelCauseFunc
}

var errNewerRelay = fault.New(fault.Conflict, "a newer stream of this agent has taken over").WithReason("SUPERSEDED")

// RelayIKE implements fleetv1.RelayServiceServer.
func (s *Service) RelayIKE(rpc fleetv1.RelayService_RelayIKEServer) error {
	who, ok := caller.FromContext(rpc.Context())
	if !ok || who.Role != caller.RoleAgent {
		return fault.New(fault.PermissionDenied, "only an agent relays IKE")
	}
	r, err := s.leading()
	if err != nil {
		return err
	}
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return fault.New(fault.InvalidArgument, "the first message is no RelayHello")
	}
	if err := r.admits(rpc.Context(), who.Name, hello); err != nil {
		return err
	}
	if err := rpc.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	return r.serve(rpc, who.Name, hello)
}

// admits refuses a stream of an epoch that is not the host's current one: its keys are not for it.
func (r *reign) admits(ctx context.Context, host string, hello *fleetv1.RelayHello) error {
	var e controllerv1.Epoch
	key, err := store.EpochKey(host)
	if err != nil {
		return err
	}
	if _, err := store.Load(ctx, r.config.Store, key, &e); err != nil {
		return err
	}
	if !bytes.Equal(e.GetEpoch(), hello.GetEpoch()) {
		return fault.New(fault.Conflict, "this epoch is not the host's current one").WithReason("OLD_EPOCH")
	}
	return nil
}

// serve carries datagrams both ways until the stream ends, a newer one takes over, or the reign is over.
func (r *reign) serve(rpc fleetv1.RelayService_RelayIKEServer, host string, hello *fleetv1.RelayHello) error {
	ctx, cancel := context.WithCancelCause(rpc.Context())
	defer cancel(nil)
	detach := context.AfterFunc(r.ctx, func() { cancel(store.ErrDeposed) })
	defer detach()
	l := &relay{
		host: host, number: hello.GetStream(), epoch: hello.GetEpoch(), out: make(chan *fleetv1.RelayIKEResponse, maxUnsent), over: cancel,
		paths: paths{known: make(map[netip.Addr]netip.Addr), told: make(chan struct{})},
	}
	if !r.relays.enter(l) {
		return errNewerRelay
	}
	defer r.relays.exit(l)
	received := make(chan error, 1)
	go func() { received <- r.receiveAll(rpc, l) }()
	r.config.Log.Info("agent relays IKE", "host", host)
	r.nudge()
	for {
		select {
		case m := <-l.out:
			if err := rpc.Send(m); err != nil {
				return err
			}
		case err := <-received:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// receiveAll takes in what the agent relays. It ends with the stream.
func (r *reign) receiveAll(rpc fleetv1.RelayService_RelayIKEServer, l *relay) error {
	for {
		m, err := rpc.Recv()
		if err != nil {
			return err
		}
		if d := m.GetDatagram(); d != nil {
			r.receive(l.host, pathOf(d), d.GetMessage())
		}
		if p := m.GetPath(); p != nil {
			l.paths.tell(p)
		}
	}
}

// pathOf is the way of a datagram that was checked by the API's rules.
func pathOf(d *fleetv1.IKEDatagram) ike.Path {
	local, _ := netip.AddrFromSlice(d.GetLocalAddress())
	remote, _ := netip.AddrFromSlice(d.GetRemoteAddress())
	return ike.Path{
		Local:  netip.AddrPortFrom(local.Unmap(), uint16(d.GetLocalPort())),
		Remote: netip.AddrPortFrom(remote.Unmap(), uint16(d.GetRemotePort())),
	}
}

// enter makes l the stream of its host, and ends an older one; false when there is a newer one.
func (s *relays) enter(l *relay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byHost[l.host]; old != nil {
		if bytes.Equal(old.epoch, l.epoch) && old.number > l.number {
			return false
		}
		old.over(errNewerRelay)
	}
	s.byHost[l.host] = l
	if s.guard.GetDemanded() {
		l.tellGuard(s.guard)
	}
	return true
}

// setGuard tells all agents how to treat first messages, when that is new.
func (s *relays) setGuard(g *fleetv1.CookieGuard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if proto.Equal(s.guard, g) || s.guard == nil && !g.GetDemanded() {
		return
	}
	s.guard = g
	for _, l := range s.byHost {
		l.tellGuard(g)
	}
}

// guarded reports whether agents demand cookies.
func (s *relays) guarded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.guard.GetDemanded()
}

// tellGuard tells one agent. What does not fit into its queue is told with the next secret.
func (l *relay) tellGuard(g *fleetv1.CookieGuard) {
	select {
	case l.out <- &fleetv1.RelayIKEResponse{Message: &fleetv1.RelayIKEResponse_Guard{Guard: g}}:
	default:
	}
}

func (s *relays) exit(l *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byHost[l.host] == l {
		delete(s.byHost, l.host)
	}
}

// has reports whether a host's agent relays.
func (s *relays) has(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byHost[host] != nil
}

// send gives datagrams to a host's agent. Those for which there is no room, or no agent, are lost.
func (s *relays) send(host string, path ike.Path, datagrams [][]byte) {
	s.mu.Lock()
	l := s.byHost[host]
	s.mu.Unlock()
	if l == nil {
		return
	}
	for _, d := range datagrams {
		m := &fleetv1.RelayIKEResponse{Message: &fleetv1.RelayIKEResponse_Datagram{Datagram: &fleetv1.IKEDatagram{
			LocalAddress: path.Local.Addr().AsSlice(), LocalPort: uint32(path.Local.Port()),
			RemoteAddress: path.Remote.Addr().AsSlice(), RemotePort: uint32(path.Remote.Port()), Message: d,
		}}}
		select {
		case l.out <- m:
		default:
		}
	}
}
