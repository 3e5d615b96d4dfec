package keying

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
)

// pathTimeout is how long an agent may take to say from which address it sends.
const pathTimeout = 3 * time.Second

// maxPaths bounds what is kept of one agent.
const maxPaths = 1024

// paths are the addresses from which a host sends to peers.
type paths struct {
	mu    sync.Mutex
	known map[netip.Addr]netip.Addr // by the peer's; invalid: there is no way
	told  chan struct{}             // closed when something was told, and made anew
}

// tell takes in what the agent says.
func (p *paths) tell(m *fleetv1.HostPath) {
	remote, _ := netip.AddrFromSlice(m.GetRemoteAddress())
	local, _ := netip.AddrFromSlice(m.GetLocalAddress())
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxPaths {
		clear(p.known)
	}
	p.known[remote] = local
	close(p.told)
	p.told = make(chan struct{})
}

func (p *paths) get(remote netip.Addr) (local netip.Addr, known bool, told <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	local, known = p.known[remote]
	return local, known, p.told
}

// forget makes the next question be asked again.
func (p *paths) forget(remote netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, remote)
}

// source asks a host's agent from which address it sends to a peer.
func (s *relays) source(ctx context.Context, host string, remote netip.Addr) (netip.Addr, error) {
	s.mu.Lock()
	l := s.byHost[host]
	s.mu.Unlock()
	if l == nil {
		return netip.Addr{}, fmt.Errorf("%w: %s", errNoHost, host)
	}
	l.paths.forget(remote)
	select {
	case l.out <- &fleetv1.RelayIKEResponse{Message: &fleetv1.RelayIKEResponse_FindPath{FindPath: &fleetv1.FindPath{RemoteAddress: remote.AsSlice()}}}:
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, pathTimeout)
	defer cancel()
	for {
		local, known, told := l.paths.get(remote)
		switch {
		case known && !local.IsValid():
			return netip.Addr{}, fmt.Errorf("host %s has no route to %v", host, remote)
		case known:
			return local, nil
		}
		select {
		case <-told:
		case <-ctx.Done():
			return netip.Addr{}, fmt.Errorf("host %s does not say from which address it sends to %v", host, remote)
		}
	}
}
