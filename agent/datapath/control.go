package datapath

import (
	"context"
	"io"
	"net/netip"
	"time"

	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/sad"
)

const (
	// tick is how often lifetimes and timers are looked at. Packets check hard limits themselves, so
	// it bounds only how late an event is.
	tick = 250 * time.Millisecond

	maxNotices     = 256
	noticeInterval = 100 * time.Millisecond // of each kind, for each path
	noticeBurst    = 8
)

// notice is work for control.
type notice struct {
	kind  noticeKind
	pair  *pair
	came  ends
	nonce nonce
}

type noticeKind uint8

const (
	noticeInstalled noticeKind = iota // the pair has a new outbound SA
	noticeCandidate                   // the other end may be where it came from
	noticeRequest                     // a probe to answer to where it came from
	noticeAnswer                      // the answer to a probe
)

// control is the goroutine of all that has to do with time. It sends only dummies and keepalives.
type control struct {
	d       *Datapath
	buf     []byte
	pending []Event // oldest first
	tally   Counters
}

func newControl(d *Datapath) *control {
	return &control{d: d, buf: make([]byte, headroom+probeLen+tailroom)}
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
			for _, n := range c.takeTodo() {
				c.handle(n)
			}
		case <-ticker.C:
			c.sweep()
			c.timers()
		}
		c.d.counters.add(&c.tally)
	}
}

func (c *control) takeTodo() []notice {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	todo := c.d.todo
	c.d.todo = nil
	return todo
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
	}
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
			c.d.outbound.Remove(e.SA)
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

// payload is empty space for a dummy's payload, where seal wants it.
func (c *control) payload() []byte { return c.buf[headroom:headroom] }

// dummy sends a dummy packet with the payload, made in c.payload(), on the pair's newest outbound SA.
// It reports whether there was one to send it on.
func (c *control) dummy(now time.Duration, p *pair, payload []byte, to ends) bool {
	sa, ok := c.d.tables.Load().outbound.Outbound(p.id)
	if !ok {
		return false
	}
	c.d.sending.Lock()
	defer c.d.sending.Unlock()
	packet, reason := c.d.seal(sa, now, c.buf, payload, esp.NextHeaderDummy)
	if reason != reasons {
		c.tally.Dropped[reason]++
		return false
	}
	c.tally.Dummies++
	c.send(packet, to)
	if path := p.path.Load(); path.ends() == to {
		touch(&path.sent, now)
	}
	return true
}

func (c *control) send(packet []byte, to ends) {
	conn := c.d.conn(to.remote)
	if conn != nil {
		if n, _ := conn.Send([][]byte{packet}, []netip.AddrPort{to.remote}, []netip.Addr{to.local}); n == 1 {
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
