package datapath

import (
	"errors"
	"net"
	"os"
	"time"

	"sallyport.dev/sallyport/agent/offload"
	"sallyport.dev/sallyport/services/protocol/fragment"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

const (
	// readLen holds the longest packet that a TUN gives, its virtio header, and what lies behind a segment.
	readLen = offload.HeaderLen + ipwire.IPv6HeaderLen + 65535 + offload.Tail
	// maxDatagram is the longest UDP payload in IPv4; that of IPv6 is longer.
	maxDatagram = 65535 - 20 - 8
	// flowCacheLen is how many flows each worker remembers the SPD entry of.
	flowCacheLen = 4096
	// flowMemo is how many flows of plain packets each worker remembers all about, as long as the tables are the same.
	flowMemo = 256

	// drainLen is how many bytes forward takes, of which each packet counts for leastShare at least: a UDP message, full.
	drainLen, leastShare = 60 << 10, 480

	icmpInterval = time.Millisecond // of "too big" messages, on average (RFC 4443 section 2.4(f))
	icmpBurst    = 64
)

// sender takes packets from the TUN to the sockets. It is one goroutine's.
type sender struct {
	d        *Datapath
	buf      []byte
	segments offload.Splitter
	now      time.Duration
	tally    Counters

	tables      *tables // that ways are of
	ways        [flowMemo]knownWay
	other       way // of a packet that is not plain
	cache       *spd.Cache
	fragments   *fragment.Tracker     // ports of datagrams whose fragments pass one by one
	reassembler *fragment.Reassembler // of what transport mode needs whole
	inner       splitter

	*sealing
	icmp      [2][]byte // a message for the TUN, behind its virtio header
	icmpLimit limiter
}

func newSender(d *Datapath) *sender {
	return &sender{
		d: d, buf: make([]byte, readLen), sealing: newSealing(d, arenaLen),
		cache: spd.NewCache(flowCacheLen), fragments: fragment.NewTracker(fragment.TrackerConfig{}),
		reassembler: fragment.New(fragment.Config{}),
		icmp:        [2][]byte{make([]byte, offload.HeaderLen), make([]byte, 0, leastMTU6)},
	}
}

func (s *sender) run() error {
	for failures := 0; ; {
		n, err := s.read(true)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
			return err
		}
		if err != nil {
			if failures++; failures == maxFailures {
				return err
			}
			s.tally.Dropped[OutTUN]++
		} else {
			failures = 0
		}
		s.forward(n)
	}
}

func (s *sender) read(wait bool) (int, error) {
	return s.d.config.TUN.Read(s.buf[:len(s.buf)-offload.Tail], wait)
}

// forward seals the packet in buf, n bytes long, and those that wait behind it, and sends them all. It goes on until
// there are none, so that small ones leave together, or until it has taken its share: time, tables and locks must not
// stand still while packets come faster than they leave.
func (s *sender) forward(n int) {
	t := s.d.tables.Load()
	s.now = s.d.config.Clock()
	if t != s.tables {
		s.tables, s.other = t, way{}
		clear(s.ways[:])
	}
	s.d.sending.Lock()
	for share := drainLen; n > 0; {
		s.take(t, s.buf[:n])
		if share -= max(n, leastShare); share <= 0 {
			break
		}
		var err error
		if n, err = s.read(false); err != nil {
			s.tally.Dropped[OutTUN]++
		}
	}
	s.out.flush(&s.tally)
	s.d.sending.Unlock()
	s.d.counters.add(&s.tally)
}

// take carries a packet or super-packet from the TUN: the segments of one have one flow, so that its way is looked up
// once.
func (s *sender) take(t *tables, b []byte) {
	if s.segments.Reset(b) != nil {
		s.tally.Dropped[OutMalformed]++
		return
	}
	packet, ok := s.segments.Next()
	if !ok {
		return
	}
	w, reason := s.way(t, packet)
	for ; ok; packet, ok = s.segments.Next() {
		s.show(packet)
		if reason == reasons {
			s.carry(t, w, packet)
		} else {
			s.tally.Dropped[reason]++
		}
	}
}

// show shows a packet from the TUN to the capture.
func (s *sender) show(packet []byte) {
	if tap := s.d.tap.Load(); tap != nil {
		(*tap)(Tapped{Inner: true, Data: packet})
	}
}

// way is what the SPD and the SAD say of a flow. It is valid until the next one is asked for.
type way struct {
	sa   *outboundSA
	flow ipwire.Flow
	// joined says that the packet came in fragments.
	joined bool
	lane   lane
}

// knownWay is the way of all plain packets of one flow.
type knownWay struct {
	way
	known bool
	tuple ipwire.Tuple
}

// way finds the SA for a packet. The reason is reasons if there is one.
func (s *sender) way(t *tables, packet []byte) (*way, Reason) {
	tuple, plain := ipwire.TupleOf(packet)
	if !plain {
		return s.find(t, packet, &s.other)
	}
	k := &s.ways[tuple.Hash()%flowMemo]
	if k.known && k.tuple == tuple {
		return &k.way, reasons
	}
	w, reason := s.find(t, packet, &k.way)
	k.known, k.tuple = reason == reasons, tuple
	return w, reason
}

// find looks for a way.
func (s *sender) find(t *tables, packet []byte, w *way) (*way, Reason) {
	flow, err := ipwire.ParseFlow(packet)
	if err != nil {
		return nil, OutMalformed
	}
	if isFragment(packet) {
		flow = s.fragmentFlow(packet, flow)
	}
	entry, reason := s.policy(t, packet, &flow)
	if reason != reasons {
		return nil, reason
	}
	sa, ok := choose(t.outbound, entry.Pair, &flow)
	if !ok {
		s.acquire(entry, flow)
		return nil, OutNoSA
	}
	*w = way{sa: sa, flow: flow}
	return w, reasons
}

// carry takes a packet as far as the outbox, or drops it.
func (s *sender) carry(t *tables, w *way, packet []byte) {
	if w.sa.mode == Transport {
		s.transport(t, w, packet)
	} else {
		s.tunnel(w, packet)
	}
}

// policy is RFC 4301 section 5.1: the entry that protects the packet. An ICMP error that has none of its own
// goes with the answers to the packet that it quotes (section 6.2).
func (s *sender) policy(t *tables, inner []byte, flow *ipwire.Flow) (*spd.Entry, Reason) {
	entry, ok := s.cache.Lookup(t.spd, *flow)
	if ok && entry.Action == spd.Protect {
		return entry, reasons
	}
	if quoted, isError := quotedFlow(inner, flow); isError {
		if e, ok := t.spd.Find(quoted.Reverse()); ok && e.Action == spd.Protect {
			return e, reasons
		}
	}
	if ok && entry.Action == spd.Discard {
		return nil, OutDiscarded
	}
	return nil, OutNoPolicy
}

// quotedFlow is the flow of the packet that an ICMP error is about.
func quotedFlow(packet []byte, flow *ipwire.Flow) (ipwire.Flow, bool) {
	if flow.Opaque || !isICMP(flow) {
		return ipwire.Flow{}, false
	}
	e, err := ipwire.ParseICMPError(packet)
	if err != nil {
		return ipwire.Flow{}, false
	}
	quoted, err := e.QuotedFlow()
	return quoted, err == nil
}

func isICMP(f *ipwire.Flow) bool { return f.Proto == ipwire.ProtoICMP || f.Proto == ipwire.ProtoICMPv6 }

// isFragment reports whether a packet that ParseFlow has taken is a fragment, the first one too. A later one's flow may
// have been given its ports by now.
func isFragment(packet []byte) bool {
	if ipwire.Version(packet) == 4 {
		h := ipwire.IPv4(packet)
		return h.MoreFragments() || h.FragmentOffset() > 0
	}
	return ipwire.HasFragmentHeader(packet)
}

// fragmentFlow gives the fragments of a datagram the ports that its first one has (RFC 4301 section 7.3). One
// that comes before the first keeps what it has: its ports are opaque.
func (s *sender) fragmentFlow(inner []byte, flow ipwire.Flow) ipwire.Flow {
	if !flow.Fragment {
		s.fragments.Note(s.now, inner, flow)
		return flow
	}
	if whole, ok := s.fragments.Flow(s.now, inner); ok {
		return whole
	}
	return flow
}

// acquire tells that a flow wants an SA.
func (s *sender) acquire(entry *spd.Entry, flow ipwire.Flow) {
	if !s.d.acquireLimit.allow(s.now, noticeInterval, noticeBurst) {
		return
	}
	select {
	case s.d.notices <- notice{kind: noticeAcquire, entry: entry, flow: flow}:
	default:
	}
}

// tooBig answers a packet that may not be fragmented and does not fit: its sender shall send at most mtu bytes.
// The message goes back through the TUN, from the packet's destination.
func (s *sender) tooBig(inner []byte, mtu int) {
	s.tally.Dropped[OutTooBig]++
	if !s.icmpLimit.allow(s.now, icmpInterval, icmpBurst) {
		return
	}
	message, ok := ipwire.AppendTooBig(s.icmp[1][:0], inner, mtu)
	if !ok {
		return
	}
	s.icmp[1] = message
	if s.d.config.TUN.Write(s.icmp[:]) == nil {
		s.tally.TooBigs++
	}
}
