package keying

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/plan"
)

// Waits between calls of a peer that does not answer.
const (
	firstCall = 2 * time.Second
	mostCall  = time.Minute
	// lookEvery is how often peers are looked at when nothing happens.
	lookEvery = time.Second
)

// calls says when each peer may be called again. It is safe for concurrent use.
type calls struct {
	mu sync.Mutex
	of map[string]call
}

type call struct {
	wait time.Duration
	next time.Time
}

func newCalls() *calls { return &calls{of: make(map[string]call)} }

// due reports whether a peer may be called.
func (c *calls) due(peer string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !now.Before(c.of[peer].next)
}

// ended notes that an IKE SA with a peer is over: in peace, or else the next call waits longer than the last one.
func (c *calls) ended(peer string, now time.Time, inPeace bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.of[peer]
	one.wait = min(max(2*one.wait, firstCall), mostCall)
	if inPeace {
		one.wait = firstCall
	}
	one.next = now.Add(one.wait)
	c.of[peer] = one
}

func (c *calls) succeeded(peer string) { c.forget(peer) }

func (c *calls) forget(peer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, peer)
}

// watchPeers calls those that are to be called, until the reign ends.
func (r *reign) watchPeers() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.nudged:
		case <-tick.C:
		case <-r.ctx.Done():
			return
		}
		r.guardAgents()
		r.eachPeer(func(name string, p *operatorv1.Peer) {
			uid, err := plan.ParseUID(p.GetMetadata().GetUid())
			if err == nil && p.GetSpec().GetStart() == "always" && r.wished(name, uid) && r.calls.due(name, r.now()) {
				if err := r.call(name, p.GetSpec()); err != nil {
					r.calls.ended(name, r.now(), false)
					r.records.fail(name, r.now(), "it cannot be called: "+err.Error())
				}
			}
		})
	}
}

var errNotCallable = errors.New("the peer has not just one address: it has to call")

var errChanged = errors.New("the peer has just been changed")

// call begins an IKE SA with a peer that has none, by the first of its hosts whose agent relays.
func (r *reign) call(name string, s *operatorv1.PeerSpec) error {
	if len(r.associations(func(a *association) bool { return a.peer() == name && a.live() })) > 0 {
		return nil
	}
	_, err := r.initiate(name, s, nil)
	return err
}

// initiate begins an IKE SA. It is nil, without an error, while no host of the peer relays.
func (r *reign) initiate(name string, s *operatorv1.PeerSpec, replaces *association) (*association, error) {
	remote := callable(s)
	if !remote.IsValid() {
		return nil, errNotCallable
	}
	for _, host := range s.GetHosts() {
		if !r.relays.has(host) {
			continue
		}
		local, err := r.outer(host, s, remote)
		if err != nil {
			return nil, err
		}
		now := r.candidate(name) // s may be older
		if len(now) == 0 || !serves(now[0].Spec, host) || callable(now[0].Spec) != remote {
			return nil, errChanged
		}
		policy, err := r.policy(now[0], host, local)
		if err != nil {
			return nil, err
		}
		path := ike.Path{Local: netip.AddrPortFrom(local, ike.Port), Remote: netip.AddrPortFrom(remote, ike.Port)}
		m, err := ike.Initiate(r.now(), r.machineConfig(policy), path)
		if err != nil {
			return nil, err
		}
		a := r.newAssociation(m, host)
		a.replaces = replaces
		a.setPeer(name)
		a.setRevision(now[0].revision)
		a.publish()
		r.start(a)
		return a, nil
	}
	return nil, nil
}

// outer is the host's address towards a peer: what the spec says, or what its routes do.
func (r *reign) outer(host string, s *operatorv1.PeerSpec, remote netip.Addr) (netip.Addr, error) {
	if text := s.GetLocalAddress(); text != "" {
		return netip.ParseAddr(text)
	}
	return r.relays.source(r.ctx, host, remote)
}

// replace makes a new IKE SA with the peer of an old one, which ends when the new one is there (RFC 7296 section 2.8.3).
func (r *reign) replace(old *association) {
	name := old.peer()
	_, spec, err := r.spec(name)
	if err == nil {
		_, err = r.initiate(name, spec, old)
	}
	if err != nil {
		r.records.fail(name, r.now(), "the peer cannot be authenticated anew: "+err.Error())
	}
}
