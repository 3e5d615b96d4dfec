package datapath

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// hostPath is where the packets for one other end go. All pairs with that end share it.
//
//	          told by SetPair                 request sent, answer came
//	unknown ────────────────▶ told ──────┐    back from that address
//	   │                        │        ├──▶ proven at A ───▶ proven at B …
//	   └── packet from A ───────┴────────┘
//
// Only a mobile path goes beyond "told": the other end is behind NAT and this one is not.
type hostPath struct {
	host     string
	spec     atomic.Pointer[PathSpec]
	endpoint atomic.Pointer[endpoint] // nil: unknown; changed under Datapath.mu

	route atomic.Pointer[route] // never nil

	// Times of the last packet sent to, and authenticated from, the other end; 0 is never.
	sent, received atomic.Int64

	candidates limiter // packets from a new source that control is told of
	probes     limiter // probes from the other end

	asked   netip.AddrPort // spec's remote end when the route was asked for; guarded by Datapath.mu
	control pathControl    // control's own
}

type endpoint struct {
	ends
	proven bool // it has answered a probe
}

// ends are the two ends of a path. A host may have several addresses, and a NAT in front of the other end
// lets in only what comes from the one that was sent to: so a path that was learned keeps its local end too.
// Where local is invalid the kernel chooses.
type ends struct {
	remote netip.AddrPort
	local  netip.Addr
}

func newHostPath(host string, spec PathSpec) *hostPath {
	p := &hostPath{host: host}
	p.spec.Store(&spec)
	p.route.Store(&noRoute)
	if spec.Remote.IsValid() {
		p.endpoint.Store(&endpoint{ends: ends{remote: spec.Remote, local: spec.Local}})
	}
	return p
}

// set takes a new spec. A proven address is not given up for one that is only told: that one is returned
// as a candidate to probe. The caller holds Datapath.mu.
func (p *hostPath) set(spec PathSpec) (candidate netip.AddrPort, ok bool) {
	old := p.spec.Swap(&spec)
	now := p.endpoint.Load()
	switch {
	case old.Remote == spec.Remote && old.Local == spec.Local && old.mobile() == spec.mobile():
		// What was learned stays.
	case spec.mobile() && now != nil && now.proven:
		return spec.Remote, spec.Remote.IsValid() && spec.Remote != now.remote
	case spec.Remote.IsValid():
		p.endpoint.Store(&endpoint{ends: ends{remote: spec.Remote, local: spec.Local}})
	default:
		p.endpoint.Store(nil)
	}
	return netip.AddrPort{}, false
}

// mobile says whether the path follows the other end's source address. A foreign end answers no probe.
func (s *PathSpec) mobile() bool { return s.RemoteBehindNAT && !s.LocalBehindNAT && !s.Foreign }

func (s *PathSpec) keepalive() time.Duration {
	if s.KeepaliveInterval == 0 {
		return DefaultKeepalive
	}
	return s.KeepaliveInterval
}

// ends is where to send, and from where; the remote end is invalid while it is unknown.
func (p *hostPath) ends() ends {
	if e := p.endpoint.Load(); e != nil {
		return e.ends
	}
	return ends{}
}

// remote is the remote end; invalid while unknown.
func (p *hostPath) remote() netip.AddrPort { return p.ends().remote }

// elsewhere reports whether a packet came on a path that this one might follow to.
func (p *hostPath) elsewhere(came ends) bool {
	e := p.endpoint.Load()
	return (e == nil || e.ends != came) && p.spec.Load().mobile()
}

// touch stores a time that many packets of a batch share.
func touch(t *atomic.Int64, now time.Duration) {
	if t.Load() != int64(now) {
		t.Store(int64(now))
	}
}
