package datapath

import (
	"errors"
	"net"
	"os"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
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
	out     [][]byte // what goes to the TUN, headroom included
	// onPathError is pathError, bound once: a new closure would be an allocation per batch.
	onPathError func(datagram.PathError)
	now         time.Duration
	tally       Counters

	cache     *spd.Cache
	fragments *fragment.Tracker // ports of inner datagrams whose fragments pass one by one
}

func newReceiver(d *Datapath, l link, conn Conn) *receiver {
	r := &receiver{d: d, conn: conn, link: l, packets: make([]datagram.Packet, receiveBatch), out: make([][]byte, 0, receiveBatch),
		cache: spd.NewCache(flowCacheLen), fragments: fragment.NewTracker(fragment.TrackerConfig{})}
	r.onPathError = r.pathError
	for i := range r.packets {
		r.packets[i].Buf = make([]byte, datagram.Headroom+bufferLen)
	}
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
	r.conn.PathErrors(r.onPathError)
	for i := range n {
		if tap := r.d.tap.Load(); tap != nil {
			p := &r.packets[i]
			(*tap)(Tapped{Inbound: true, Data: p.Data, Protocol: r.link.protocol(), Remote: p.Remote, Local: p.Local})
		}
		r.demux(t, &r.packets[i])
	}
	if len(r.out) > 0 {
		if _, err := r.d.config.TUN.Write(r.out, headroom); err != nil {
			// Which of them were refused is not told.
			r.tally.Dropped[InWrite]++
		}
		r.out = r.out[:0]
	}
	r.d.counters.add(&r.tally)
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
	if sa.mode == Transport {
		reason = r.rebuild(sa, p, at, next, &inner)
	} else {
		reason = r.decapsulate(p, &inner)
	}
	if reason == reasons {
		reason = r.check(t, sa, p.Data[inner.start:inner.end])
	}
	if reason != reasons {
		r.tally.Dropped[reason]++
		return
	}
	r.accept(p, inner)
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

// decapsulate is the end of tunnel mode: the inner packet's length and its ECN bits, RFC 6040 section 4.2.
func (r *receiver) decapsulate(p *datagram.Packet, o *opened) Reason {
	version := 0
	switch o.next {
	case esp.NextHeaderIPv4:
		version = 4
	case esp.NextHeaderIPv6:
		version = 6
	default:
		return InNextHeader
	}
	n, err := ipwire.DatagramLen(p.Data[o.start:o.end])
	inner := p.Data[o.start:o.end]
	if err != nil || ipwire.Version(inner) != version {
		return InInnerLength
	}
	o.end = o.start + n
	inner = inner[:n]
	was := ipwire.TOS(inner)
	ecn, ok := ipwire.DecapsulateECN(p.TOS, was)
	if !ok {
		return InECN
	}
	if ecn != was&3 {
		ipwire.SetECN(inner, ecn)
	}
	return reasons
}

// rebuild is the end of transport mode: the packet that the other end's stack had made. It is put together in
// front of the payload.
func (r *receiver) rebuild(sa *inboundSA, p *datagram.Packet, at, next int, o *opened) Reason {
	if r.link == linkUDP {
		return r.rebuildUDP(sa, p, o)
	}
	head := o.start - at
	copy(p.Data[head:o.start], p.Data[:at])
	p.Data[head+next] = o.next
	o.start = head
	ipwire.SetLength(p.Data[o.start:o.end])
	return reasons
}

// rebuildUDP makes an IP header of what is known of the outer one. NAT may have changed the addresses that the
// inner checksum covers: it is adjusted if the original ones are known, else made anew (RFC 3948 section 3.1.2).
func (r *receiver) rebuildUDP(sa *inboundSA, p *datagram.Packet, o *opened) Reason {
	src, dst := p.Remote.Addr(), p.Local
	if !dst.IsValid() || src.Is4() != dst.Is4() {
		return InMalformed
	}
	hops := p.TTL
	if hops == 0 {
		hops = defaultHopLimit
	}
	room := ipwire.IPv6HeaderLen
	if src.Is4() {
		room = ipwire.IPv4MinHeaderLen
	}
	// Data begins behind Buf's headroom: there is room before the payload.
	base := len(p.Buf) - cap(p.Data)
	if base+o.start < room || base < 0 {
		return InMalformed
	}
	whole := p.Buf[base+o.start-room : base+o.end]
	var err error
	if src.Is4() {
		_, err = ipwire.PutIPv4(whole, ipwire.IPv4Header{TOS: p.TOS, TTL: hops, DontFragment: true, Protocol: o.next, Src: src, Dst: dst})
	} else {
		_, err = ipwire.PutIPv6(whole, ipwire.IPv6Header{TrafficClass: p.TOS, HopLimit: hops, NextHeader: o.next, Src: src, Dst: dst})
	}
	if err != nil {
		return InInnerLength
	}
	if nat := sa.nat; nat.Source.IsValid() && nat.Destination.IsValid() {
		ipwire.AdjustChecksum(whole, nat.Source, nat.Destination)
	} else {
		ipwire.RepairChecksum(whole)
	}
	p.Data = p.Buf[base+o.start-room:]
	o.end, o.start = room+o.end-o.start, 0
	return reasons
}

// check is RFC 4301 section 5.2, step 4: the packet must be what the SA may carry.
func (r *receiver) check(t *tables, sa *inboundSA, inner []byte) Reason {
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

// accept hands the packet over to the TUN's batch.
func (r *receiver) accept(p *datagram.Packet, o opened) {
	inner := p.Data[o.start:o.end]
	if tap := r.d.tap.Load(); tap != nil {
		(*tap)(Tapped{Inner: true, Inbound: true, Data: inner})
	}
	r.tally.InPackets++
	r.tally.InBytes += uint64(len(inner))
	// There is room before the packet for what the TUN puts there, and behind it for segments that the TUN joins
	// to it.
	start := len(p.Buf) - cap(p.Data) + o.start
	r.out = append(r.out, p.Buf[start-headroom:start+len(inner)])
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
