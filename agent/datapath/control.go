package datapath

import (
	"context"
	"io"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/sad"
	"sallyport.dev/sallyport/services/protocol/spd"
)

const (
	// tick is how often lifetimes and timers are looked at. Packets check hard limits themselves, so
	// it bounds only how late an event is.
	tick = 250 * time.Millisecond

	maxNotices     = 256
	noticeInterval = 100 * time.Millisecond // of each kind, for each path
	acquireEvery   = time.Second            // for each pair
	noticeBurst    = 8
)

// notice is work for control.
type notice struct {
	kind  noticeKind
	pair  *pair
	came  ends
	nonce nonce

	entry *spd.Entry // noticeAcquire
	flow  ipwire.Flow

	quoted [quotedLen]byte // noticePathError: the quoted packet from its SPI on
	mtu    int
}

type noticeKind uint8

const (
	noticeInstalled noticeKind = iota // the pair has a new outbound SA
	noticeCandidate                   // the other end may be where it came from
	noticeRequest                     // a probe to answer to where it came from
	noticeAnswer                      // the answer to a probe
	noticeAcquire                     // a flow has no SA
	noticePathError                   // somebody says that a packet was too big
	noticeShrunk                      // the kernel refused a packet as too big
)

// control is the goroutine of all that has to do with time. It sends only dummies and keepalives.
type control struct {
	d         *Datapath
	sealing   *sealing
	buf       []byte  // a dummy's payload
	pending   []Event // oldest first
	nextRoute int
	tally     Counters
}

// controlArena holds a dummy, TFC padding included.
const controlArena = 128 << 10

func newControl(d *Datapath) *control {
	return &control{d: d, sealing: newSealing(d, controlArena), buf: make([]byte, 0, probeLen)}
}

func (c *control) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		var events chan<- Event // nil while there is nothing to tell
		var first Event
		if len(c.pending) > 0 {
			events, first = c.d.events, c.pending[0]
		}
		select {
		case <-ctx.Done():
			return
		case events <- first:
			c.pending = c.pending[1:]
		case n := <-c.d.notices:
			c.handle(n)
		case <-c.d.wake:
			c.sweep()
			for _, n := range c.takePending() {
				c.handle(n)
			}
		case <-ticker.C:
			c.sweep()
			c.timers()
			c.refreshRoutes()
		}
		c.d.counters.add(&c.tally)
	}
}

func (c *control) takePending() []notice {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	pending := c.d.pending
	c.d.pending = nil
	return pending
}

func (c *control) handle(n notice) {
	now := c.d.config.Clock()
	switch n.kind {
	case noticeInstalled:
		c.installed(now, n.pair)
	case noticeCandidate:
		c.candidate(now, n.pair, n.came)
	case noticeRequest:
		c.dummy(now, n.pair, appendProbe(c.payload(), probeAnswer, n.nonce), n.came)
	case noticeAnswer:
		c.answered(now, n.pair, n.came, n.nonce)
	case noticeAcquire:
		c.acquire(now, n.entry, n.flow)
	case noticePathError:
		c.pathError(now, n)
	case noticeShrunk:
		c.reask(n.came.remote.Addr())
	}
}

// acquire reports that a pair's traffic wants an SA, with the selectors that the packet gives it (RFC 4301
// section 4.4.1.2).
func (c *control) acquire(now time.Duration, entry *spd.Entry, flow ipwire.Flow) {
	c.d.mu.Lock()
	p := c.d.pairs[entry.Pair]
	wanted := p != nil && (p.spec.Acquire || entry.Populate.Any())
	c.d.mu.Unlock()
	if !wanted || p.acquired != 0 && now-p.acquired < acquireEvery {
		return
	}
	local, remote, ok := entry.Populated(flow)
	if !ok {
		return // a fragment that lacks what the entry wants
	}
	p.acquired = now
	c.pending = append(c.pending, Event{Kind: Acquire, Pair: p.id, RemoteHost: p.path.Load().host, Local: local, Remote: remote})
}

// sweep reports soft lifetimes, and deletes SAs past their hard one.
func (c *control) sweep() {
	now := c.d.config.Clock()
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	var dead []Event
	c.d.sending.Lock()
	for _, sa := range c.d.outbound.All {
		c.look(now, &sa.association, false, &dead)
		if sa.wantsRoom {
			sa.wantsRoom = false
			c.pending = append(c.pending, Event{Kind: CeilingNear, SA: sa.id, Pair: sa.pair.id, RemoteHost: sa.pair.path.Load().host, Sequence: sa.ceiling()})
		}
	}
	c.d.sending.Unlock()
	for _, sa := range c.d.inbound.All {
		sa.mu.Lock()
		c.look(now, &sa.association, true, &dead)
		sa.mu.Unlock()
	}
	for _, e := range dead {
		if e.Inbound {
			c.d.inbound.Remove(e.SA)
		} else {
			c.d.removeOutbound(e.SA)
		}
	}
	if len(dead) > 0 {
		c.d.publishSAs()
		c.pending = append(c.pending, dead...)
	}
}

// look is called with the lock of the SA's direction held.
func (c *control) look(now time.Duration, a *association, inbound bool, dead *[]Event) {
	state := a.account.State(now)
	if state <= a.told {
		return
	}
	a.told = state
	e := Event{Kind: SoftLifetime, SA: a.id, Inbound: inbound, Pair: a.pair.id, RemoteHost: a.pair.path.Load().host}
	if state == sad.Hard {
		e.Kind = HardLifetime
		*dead = append(*dead, e)
		return
	}
	c.pending = append(c.pending, e)
}

// payload is empty space for a dummy's payload.
func (c *control) payload() []byte { return c.buf[:0] }

// dummy sends a dummy packet with the payload on the pair's newest outbound SA. It reports whether there was one
// to send it on.
func (c *control) dummy(now time.Duration, p *pair, payload []byte, to ends) bool {
	sa, ok := c.d.tables.Load().outbound.Outbound(p.id)
	if !ok || sa.protocol != ESP {
		return false
	}
	if sa.encapsulation == Native && !to.local.IsValid() {
		to.local = p.path.Load().route.Load().local
	}
	c.d.sending.Lock()
	defer c.d.sending.Unlock()
	mtu := int(sa.mtu.Load())
	g := outgoing{payload: payload, nextHeader: esp.NextHeaderDummy, to: &to, count: len(payload), pad: sa.padding(len(payload), &to, mtu)}
	reason := c.sealing.sealTunnelled(sa, now, &g, mtu, &c.tally)
	c.sealing.out.flush(&c.tally)
	if reason != reasons {
		c.tally.Dropped[reason]++
		return false
	}
	c.tally.Dummies++
	if path := p.path.Load(); path.ends().remote == to.remote {
		touch(&path.sent, now)
	}
	return true
}

// keepalive sends what holds a NAT mapping open, RFC 3948 section 2.3. It belongs to no SA.
func (c *control) keepalive(to ends) {
	conn := c.d.config.UDP.of(familyIndex(to.remote.Addr()))
	if conn != nil {
		one := [1]datagram.Packet{{Data: []byte{esp.Keepalive}, Remote: to.remote, Local: to.local}}
		if n, _ := conn.Send(one[:]); n == 1 {
			c.tally.Keepalives++
			return
		}
	}
	c.tally.Dropped[OutSend]++
}

// newNonce cannot fail with crypto/rand; with another source a failure costs the probe.
func (c *control) newNonce() (n nonce, ok bool) {
	_, err := io.ReadFull(c.d.config.Random, n[:])
	return n, err == nil
}
