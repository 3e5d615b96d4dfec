package datapath

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/sad"
)

// receiveBatch is how many datagrams one Recv takes.
const receiveBatch = 128

// receiver takes datagrams from one socket to the TUN. It is one goroutine's.
type receiver struct {
	d     *Datapath
	conn  Conn
	bufs  [][]byte // whole buffers
	in    [][]byte // where datagrams go: headroom into bufs
	sizes []int
	from  []netip.AddrPort
	local []netip.Addr // where they arrived
	out   [][]byte     // what goes to the TUN, headroom included
	tally Counters
}

func newReceiver(d *Datapath, conn Conn) *receiver {
	r := &receiver{d: d, conn: conn, bufs: buffers(receiveBatch), in: make([][]byte, receiveBatch),
		sizes: make([]int, receiveBatch), from: make([]netip.AddrPort, receiveBatch), local: make([]netip.Addr, receiveBatch),
		out: make([][]byte, 0, receiveBatch)}
	for i := range r.in {
		r.in[i] = r.bufs[i][headroom:]
	}
	return r
}

func (r *receiver) run() error {
	for failures := 0; ; {
		n, err := r.conn.Recv(r.in, r.sizes, r.from, r.local)
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

// deliver opens the first n datagrams and gives what they carry to the TUN.
func (r *receiver) deliver(n int) {
	t, now := r.d.tables.Load(), r.d.config.Clock()
	for i := range n {
		r.demux(t, now, i)
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

// demux tells the datagrams of RFC 3948 section 2 apart.
func (r *receiver) demux(t *tables, now time.Duration, i int) {
	if r.sizes[i] < 0 || r.sizes[i] > len(r.in[i]) {
		r.tally.Dropped[InTruncated]++
		return
	}
	datagram := r.in[i][:r.sizes[i]]
	switch esp.Classify(datagram) {
	case esp.KindKeepalive:
		r.tally.InKeepalives++
	case esp.KindIKE:
		r.tally.Dropped[InIKE]++
	case esp.KindESP:
		r.esp(t, now, i, datagram)
	default:
		r.tally.Dropped[InTruncated]++
	}
}

// esp is RFC 4301 section 5.2: SA lookup, open, and the check of the inner packet.
func (r *receiver) esp(t *tables, now time.Duration, i int, packet []byte) {
	spi, err := esp.SPI(packet)
	if err != nil {
		r.tally.Dropped[openReason(err)]++
		return
	}
	sa, ok := t.inbound.Inbound(spi)
	if !ok {
		r.tally.Dropped[InNoSA]++
		return
	}
	opened, reason := r.open(sa, now, packet)
	if reason != reasons {
		r.tally.Dropped[reason]++
		return
	}
	came := ends{r.from[i], r.local[i]}
	r.heard(sa.pair, now, came)
	if opened.NextHeader == esp.NextHeaderDummy {
		r.tally.InDummies++
		r.dummy(sa.pair, now, opened.Payload, came)
		return
	}
	flow, err := ipwire.ParseFlow(opened.Payload)
	if err != nil {
		r.tally.Dropped[InMalformed]++
		return
	}
	if !t.spd.Admits(sa.pair.id, flow) {
		r.tally.Dropped[InSelector]++
		return
	}
	r.tally.InPackets++
	r.tally.InBytes += uint64(len(opened.Payload))
	// The payload lies behind the ESP header, and that behind the headroom: there is room before
	// it for what the TUN puts there, and behind it for segments that the TUN joins to it.
	start := headroom + sa.opener.HeaderLen()
	r.out = append(r.out, r.bufs[i][start-headroom:start+len(opened.Payload)])
}

// open opens a packet in place under the SA's lock. The reason is reasons if all went well.
func (r *receiver) open(sa *inboundSA, now time.Duration, packet []byte) (esp.Opened, Reason) {
	sa.mu.Lock()
	defer sa.mu.Unlock()
	if sa.account.State(now) == sad.Hard {
		return esp.Opened{}, InExpired
	}
	opened, err := sa.opener.Open(packet)
	if err != nil {
		return esp.Opened{}, openReason(err)
	}
	ok, news := sa.spend(now, len(opened.Payload))
	if news {
		r.d.rouse()
	}
	if !ok {
		return esp.Opened{}, InExpired
	}
	return opened, reasons
}

func openReason(err error) Reason {
	switch err {
	case esp.ErrShort:
		return InTruncated
	case esp.ErrReservedSPI, esp.ErrSPI:
		return InNoSA
	case esp.ErrReplayed, esp.ErrLate:
		return InReplayed
	case esp.ErrICV:
		return InForged
	case esp.ErrNextHeader:
		return InNextHeader
	}
	return InMalformed // padding, inner length
}

// heard notes an authenticated packet, and tells control if it came from where the path does not lead.
func (r *receiver) heard(p *pair, now time.Duration, came ends) {
	path := p.path.Load()
	touch(&path.received, now)
	if path.elsewhere(came) && path.candidates.allow(now, noticeInterval, noticeBurst) {
		r.post(notice{kind: noticeCandidate, pair: p, came: came})
	}
}

// dummy discards a dummy packet, RFC 4303 section 2.6, unless it is a probe.
func (r *receiver) dummy(p *pair, now time.Duration, payload []byte, came ends) {
	kind, nonce, ok := parseProbe(payload)
	if !ok {
		return
	}
	if !p.path.Load().probes.allow(now, noticeInterval, noticeBurst) {
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
