package datapath

import (
	"errors"
	"net"
	"os"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/offload"
	"sallyport.dev/sallyport/services/protocol/ah"
	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/fragment"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/sad"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// receiveBatch is how many packets one Recv takes.
const receiveBatch = 128

// receiver takes packets from one socket to the TUN. It is one goroutine's.
type receiver struct {
	d       *Datapath
	conn    Conn
	link    link
	packets []datagram.Packet
	at      datagram.Packet // the datagram at hand
	join    *offload.Coalescer
	rebuilt []byte // what transport mode in UDP puts together, until it is written; its capacity is fixed
	// onPathError is pathError, bound once: a new closure would be an allocation per batch.
	onPathError func(datagram.PathError)
	now         time.Duration
	tally       Counters

	tables    *tables // that admitted is of
	admitted  [flowMemo]admitted
	cache     *spd.Cache
	fragments *fragment.Tracker // ports of inner datagrams whose fragments pass one by one
}

func newReceiver(d *Datapath, l link, conn Conn) *receiver {
	r := &receiver{d: d, conn: conn, link: l, packets: make([]datagram.Packet, receiveBatch), rebuilt: make([]byte, 0, rebuiltLen),
		cache: spd.NewCache(flowCacheLen), fragments: fragment.NewTracker(fragment.TrackerConfig{})}
	r.onPathError = r.pathError
	r.join = offload.NewCoalescer(d.config.TUN.Features(), r.write)
	return r
}

func (r *receiver) run() error {
	for failures := 0; ; {
		n, err := r.conn.Recv(r.packets)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
			return err
		}
		if err != nil {
			if failures++; failures == maxFailures {
				return err
			}
			continue
		}
		failures = 0
		r.deliver(n)
	}
}

// deliver opens the first n packets and gives what they carry to the TUN.
func (r *receiver) deliver(n int) {
	t := r.d.tables.Load()
	r.now = r.d.config.Clock()
	if t != r.tables {
		r.tables = t
		clear(r.admitted[:])
	}
	r.conn.PathErrors(r.onPathError)
	for i := range n {
		p := &r.packets[i]
		r.at = *p
		step := len(p.Data)
		if p.Segment > 0 {
			step = p.Segment
		}
		for rest := p.Data; ; {
			r.at.Data = rest[:min(step, len(rest))]
			rest = rest[len(r.at.Data):]
			r.datagram(t)
			if len(rest) == 0 {
				break
			}
		}
	}
	r.flush()
	r.d.counters.add(&r.tally)
}

// datagram takes the datagram at hand.
func (r *receiver) datagram(t *tables) {
	p := &r.at
	if tap := r.d.tap.Load(); tap != nil {
		(*tap)(Tapped{Inbound: true, Data: p.Data, Protocol: r.link.protocol(), Remote: p.Remote, Local: p.Local})
	}
	r.demux(t, p)
}

// flush writes what waits to be joined.
func (r *receiver) flush() {
	r.join.Flush()
	r.rebuilt = r.rebuilt[:0]
}

// write gives the TUN what was joined of several packets.
func (r *receiver) write(pieces [][]byte, packets int) {
	if r.d.config.TUN.Write(pieces) != nil {
		r.tally.Dropped[InWrite] += uint64(packets)
	}
}

// demux tells the datagrams of RFC 3948 section 2 apart, and finds the ESP or AH header of native packets.
func (r *receiver) demux(t *tables, p *datagram.Packet) {
	if p.Err != nil {
		r.tally.Dropped[InTruncated]++
		return
	}
	if r.link != linkUDP {
		at, next, err := ipwire.FindHeader(p.Data, r.link.protocol())
		if err != nil {
			r.tally.Dropped[InTruncated]++
			return
		}
		r.protected(t, p, at, next)
		return
	}
	switch esp.Classify(p.Data) {
	case esp.KindKeepalive:
		r.tally.InKeepalives++
	case esp.KindIKE:
		r.tally.Dropped[InIKE]++
	case esp.KindESP:
		r.protected(t, p, 0, 0)
	default:
		r.tally.Dropped[InTruncated]++
	}
}

// protected is RFC 4301 section 5.2: SA lookup, open, and the check of the inner packet. The ESP or AH header
// is at p.Data[at:], and the byte that names it is p.Data[next].
func (r *receiver) protected(t *tables, p *datagram.Packet, at, next int) {
	spi, err := r.spi(p.Data, at)
	if err != nil {
		r.tally.Dropped[openReason(err)]++
		return
	}
	sa, ok := t.inbound.InboundFor(spi, p.Local, p.Remote.Addr())
	if !ok || (sa.protocol == AH) != (r.link == linkAH) {
		r.tally.Dropped[InNoSA]++
		return
	}
	inner, reason := r.open(sa, p, at)
	if reason != reasons {
		r.tally.Dropped[reason]++
		return
	}
	came := ends{p.Remote, p.Local}
	r.heard(sa.pair, came)
	if inner.next == esp.NextHeaderDummy && sa.protocol == ESP {
		r.tally.InDummies++
		r.dummy(sa.pair, p.Data[inner.start:inner.end], came)
		return
	}
	var packet []byte
	switch {
	case sa.mode == Tunnel:
		packet, reason = r.decapsulate(p, &inner)
	case r.link == linkUDP:
		packet, reason = r.rebuildUDP(sa, p, &inner)
	default:
		packet = r.rebuild(p, at, next, &inner)
	}
	if reason == reasons {
		reason = r.check(t, sa, packet)
	}
	if reason != reasons {
		r.tally.Dropped[reason]++
		return
	}
	r.accept(packet)
}

// spi is that of the ESP or AH header at b[at:].
func (r *receiver) spi(b []byte, at int) (uint32, error) {
	if r.link == linkAH {
		return ah.SPI(b, at)
	}
	return esp.SPI(b[at:])
}

// opened is where in a packet's Data its payload lies.
type opened struct {
	start, end int
	next       uint8
}

// open opens a packet in place under the SA's lock. The reason is reasons if all went well.
func (r *receiver) open(sa *inboundSA, p *datagram.Packet, at int) (opened, Reason) {
	sa.mu.Lock()
	defer sa.mu.Unlock()
	if sa.account.State(r.now) == sad.Hard {
		return opened{}, InExpired
	}
	var o opened
	var err error
	if sa.ah != nil {
		var a ah.Opened
		a, err = sa.ah.Open(p.Data, at)
		o = opened{start: at + a.HeaderLen, next: a.NextHeader}
		o.end = o.start + len(a.Payload)
	} else {
		var e esp.Opened
		e, err = sa.esp.Open(p.Data[at:])
		o = opened{start: at + sa.esp.HeaderLen(), next: e.NextHeader}
		o.end = o.start + len(e.Payload)
	}
	if err != nil {
		reason := openReason(err)
		switch reason {
		case InReplayed:
			sa.replayed++
		case InForged:
			sa.forged++
		}
		return opened{}, reason
	}
	ok, news := sa.spend(r.now, o.end-o.start)
	if news {
		r.d.rouse()
	}
	if !ok {
		return opened{}, InExpired
	}
	return o, reasons
}

func openReason(err error) Reason {
	switch err {
	case esp.ErrShort, ah.ErrShort, ah.ErrNoAH, ah.ErrFragment, ah.ErrHeaders, ah.ErrRouting, ah.ErrLength:
		return InTruncated
	case esp.ErrReservedSPI, esp.ErrSPI, ah.ErrReservedSPI, ah.ErrSPI:
		return InNoSA
	case esp.ErrReplayed, ah.ErrReplayed:
		return InReplayed
	case esp.ErrLate, ah.ErrLate:
		return InLate
	case esp.ErrICV, ah.ErrICV:
		return InForged
	case esp.ErrNextHeader:
		return InNextHeader
	case esp.ErrPadding, esp.ErrAlignment:
		return InPadding
	case esp.ErrBadInnerLength:
		return InInnerLength
	}
	return InMalformed
}

// check is RFC 4301 section 5.2, step 4: the packet must be what the SA may carry.
func (r *receiver) check(t *tables, sa *inboundSA, inner []byte) Reason {
	tuple, plain := ipwire.TupleOf(inner)
	known := &r.admitted[tuple.Hash()%flowMemo]
	if plain && known.sa == sa && known.tuple == tuple {
		return reasons
	}
	flow, err := ipwire.ParseFlow(inner)
	if err != nil {
		return InMalformed
	}
	if isFragment(inner) {
		if !flow.Fragment {
			r.fragments.Note(r.now, inner, flow)
		} else if whole, ok := r.fragments.Flow(r.now, inner); ok {
			flow = whole
		}
	}
	entry, ok := r.cache.LookupInbound(t.spd, flow)
	if ok && entry.Action == spd.Protect && entry.Pair == sa.pair.id && sa.admits(&flow) {
		if plain {
			*known = admitted{sa, tuple}
		}
		return reasons
	}
	// An ICMP error may come with the answers to the packet that it quotes (RFC 4301 section 6.2).
	if quoted, isError := quotedFlow(inner, &flow); isError {
		e, ok := t.spd.Find(quoted)
		back := quoted.Reverse()
		if ok && e.Action == spd.Protect && e.Pair == sa.pair.id && sa.admits(&back) {
			return reasons
		}
	}
	return InSelector
}

// admitted is a flow whose plain packets may come under an SA.
type admitted struct {
	sa    *inboundSA // nil: none
	tuple ipwire.Tuple
}

// accept hands the packet over to what the TUN will be given.
func (r *receiver) accept(inner []byte) {
	if tap := r.d.tap.Load(); tap != nil {
		(*tap)(Tapped{Inner: true, Inbound: true, Data: inner})
	}
	r.tally.InPackets++
	r.tally.InBytes += uint64(len(inner))
	r.join.Add(inner)
}

// heard notes an authenticated packet, and tells control if it came from where the path does not lead.
func (r *receiver) heard(p *pair, came ends) {
	path := p.path.Load()
	touch(&path.received, r.now)
	if r.link == linkUDP && path.elsewhere(came) && path.candidates.allow(r.now, noticeInterval, noticeBurst) {
		r.post(notice{kind: noticeCandidate, pair: p, came: came})
	}
}

// dummy discards a dummy packet, RFC 4303 section 2.6, unless it is a probe.
func (r *receiver) dummy(p *pair, payload []byte, came ends) {
	kind, nonce, ok := parseProbe(payload)
	if !ok || r.link != linkUDP || p.path.Load().spec.Load().Foreign {
		return
	}
	if !p.path.Load().probes.allow(r.now, noticeInterval, noticeBurst) {
		r.tally.Dropped[ProbeLimited]++
		return
	}
	n := notice{kind: noticeRequest, pair: p, came: came, nonce: nonce}
	if kind == probeAnswer {
		n.kind = noticeAnswer
	}
	r.post(n)
}

// post tells control, which may be busy: then the other end has to try again.
func (r *receiver) post(n notice) {
	select {
	case r.d.notices <- n:
	default:
		r.tally.Dropped[ProbeLimited]++
	}
}
