package datapath

import (
	"net/netip"
	"time"
)

const (
	maxOutstanding = 4               // probes of one path
	probeRepeat    = 1 * time.Second // until the request is sent again
	probeTries     = 3
	probeLife      = 3 * time.Second // after the last request
	greetFirst     = 1 * time.Second
)

// pathControl is what control keeps for a path. Nobody else touches it.
type pathControl struct {
	outstanding [maxOutstanding]outstanding

	// An end behind NAT greets until it hears something: the first dummies may get lost, and
	// before one arrives the other end does not know where this end is.
	greetSince, greetNext, greetEvery time.Duration
}

// outstanding is a request that has not been answered. The zero value is free.
type outstanding struct {
	to    ends
	pair  *pair
	nonce nonce
	sent  time.Duration // last time, or when it was first wanted
	tries int
}

func (o *outstanding) free() bool { return o.pair == nil }

// installed sends the dummy that makes a NAT mapping, and the requests that waited for an SA.
func (c *control) installed(now time.Duration, p *pair) {
	path := p.path.Load()
	if path.spec.Load().Foreign {
		return
	}
	if to := path.ends(); to.remote.IsValid() {
		c.dummy(now, p, c.payload(), to)
	}
	path.control.greetSince, path.control.greetEvery = now, greetFirst
	path.control.greetNext = now + greetFirst
	for i := range path.control.outstanding {
		if o := &path.control.outstanding[i]; !o.free() && o.tries == 0 {
			c.request(now, o)
		}
	}
}

// candidate begins to probe an address from which an authenticated packet came, or that was told.
func (c *control) candidate(now time.Duration, p *pair, came ends) {
	if path := p.path.Load(); path.elsewhere(came) {
		c.probe(now, path, p, came)
	}
}

// probe asks for an answer from to, if it is not asked already. At most maxOutstanding addresses are
// asked at a time: more candidates have to wait.
func (c *control) probe(now time.Duration, path *hostPath, p *pair, to ends) {
	var slot *outstanding
	for i := range path.control.outstanding {
		o := &path.control.outstanding[i]
		if !o.free() && o.to == to {
			return // timers ask again
		}
		if o.free() && slot == nil {
			slot = o
		}
	}
	if slot == nil {
		c.tally.Dropped[ProbeLimited]++
		return
	}
	if nonce, ok := c.newNonce(); ok {
		*slot = outstanding{to: to, pair: p, nonce: nonce, sent: now}
		c.request(now, slot)
	}
}

func (c *control) request(now time.Duration, o *outstanding) {
	o.sent = now
	if c.dummy(now, o.pair, appendProbe(c.payload(), probeRequest, o.nonce), o.to) {
		o.tries++
	}
}

// answered moves the path if the answer is to an outstanding request and came from where that was sent.
func (c *control) answered(now time.Duration, p *pair, came ends, n nonce) {
	path := p.path.Load()
	for i := range path.control.outstanding {
		o := &path.control.outstanding[i]
		if o.free() || o.tries == 0 || o.nonce != n || o.to.remote != came.remote {
			continue
		}
		*o = outstanding{}
		c.move(path, p, came)
		return
	}
	c.tally.Dropped[ProbeStale]++
}

// move makes to the path's proven ends.
func (c *control) move(path *hostPath, p *pair, to ends) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	if !path.spec.Load().mobile() {
		return // it was a greeting, or the spec has changed meanwhile
	}
	old := path.endpoint.Swap(&endpoint{ends: to, proven: true})
	if old != nil && old.remote == to.remote {
		return
	}
	path.control.outstanding = [maxOutstanding]outstanding{}
	c.d.ask(path)
	c.d.remeasure(c.d.tables.Load(), path)
	c.tell(Event{Kind: PathChanged, Pair: p.id, RemoteHost: path.host, Addr: to.remote})
}

// tell queues a path event; of one path only the last is of interest.
func (c *control) tell(e Event) {
	for i, old := range c.pending {
		if old.Kind == PathChanged && old.RemoteHost == e.RemoteHost && (e.RemoteHost != "" || old.Pair == e.Pair) {
			c.pending[i] = e
			return
		}
	}
	c.pending = append(c.pending, e)
}

// timers repeats requests, and does what an end behind NAT has to.
func (c *control) timers() {
	now := c.d.config.Clock()
	t := c.d.tables.Load()
	for _, path := range t.paths {
		for i := range path.control.outstanding {
			if o := &path.control.outstanding[i]; !o.free() {
				c.repeat(now, o)
			}
		}
		if spec := path.spec.Load(); spec.LocalBehindNAT {
			c.hold(now, t, path, spec)
		}
		c.pretend(now, t, path)
	}
}

// pretend sends the dummies that hide how much is said, where an SA asks for them.
func (c *control) pretend(now time.Duration, t *tables, path *hostPath) {
	for _, p := range t.pairsOf[path] {
		sa, ok := t.outbound.Outbound(p.id)
		if !ok || sa.outer.DummyInterval == 0 || now-time.Duration(path.sent.Load()) < sa.outer.DummyInterval {
			continue
		}
		if to := sa.ends(netip.Addr{}, netip.Addr{}); to.remote.IsValid() {
			c.dummy(now, p, c.payload(), to)
		}
	}
}

func (c *control) repeat(now time.Duration, o *outstanding) {
	switch {
	case o.tries == 0 && now-o.sent >= probeLife, o.tries >= probeTries && now-o.sent >= probeLife:
		*o = outstanding{}
	case o.tries > 0 && o.tries < probeTries && now-o.sent >= probeRepeat:
		c.request(now, o)
	}
}

// hold keeps the NAT mapping: greetings until the other end is heard, then keepalives when idle. A
// keepalive has no SA, so it tells the other end nothing of a mapping that has changed; if that has been
// silent for three intervals, a request does.
func (c *control) hold(now time.Duration, t *tables, path *hostPath, spec *PathSpec) {
	to := path.ends()
	p := sendingPair(t, path)
	if !to.remote.IsValid() || p == nil {
		return
	}
	k := &path.control
	every := spec.keepalive()
	received, sent := time.Duration(path.received.Load()), time.Duration(path.sent.Load())
	switch {
	case received < k.greetSince && now >= k.greetNext && !spec.Foreign:
		k.greetEvery = min(2*k.greetEvery, every)
		k.greetNext = now + k.greetEvery
		c.probe(now, path, p, to)
	case now-sent < every:
	case now-received >= 3*every && !spec.Foreign:
		c.probe(now, path, p, to)
		touch(&path.sent, now) // also if it was asked already
	default:
		c.keepalive(to)
		touch(&path.sent, now)
	}
}

// sendingPair is a pair of the path that has an outbound SA.
func sendingPair(t *tables, path *hostPath) *pair {
	for _, p := range t.pairsOf[path] {
		if _, ok := t.outbound.Outbound(p.id); ok {
			return p
		}
	}
	return nil
}
