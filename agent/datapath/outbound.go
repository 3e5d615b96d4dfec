package datapath

import (
	"errors"
	"net"
	"os"
	"time"

	"sallyport.dev/sallyport/services/protocol/fragment"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

const (
	// headroom is what lies free before each packet in our buffers: the TUN's virtio header.
	headroom = 64
	// bufferLen holds the longest IP datagram, and segments that the TUN joins to it.
	bufferLen = headroom + 65535 + 64
	// maxDatagram is the longest UDP payload in IPv4; that of IPv6 is longer.
	maxDatagram = 65535 - 20 - 8
	// flowCacheLen is how many flows each worker remembers the SPD entry of.
	flowCacheLen = 4096

	icmpInterval = time.Millisecond // of "too big" messages, on average (RFC 4443 section 2.4(f))
	icmpBurst    = 64
)

// sender takes packets from the TUN to the sockets. It is one goroutine's.
type sender struct {
	d     *Datapath
	bufs  [][]byte
	sizes []int
	now   time.Duration
	tally Counters

	cache       *spd.Cache
	fragments   *fragment.Tracker     // ports of datagrams whose fragments pass one by one
	reassembler *fragment.Reassembler // of what transport mode needs whole
	joined      bool                  // the packet at hand comes from reassembler
	inner       splitter

	*sealing
	icmp      []byte
	icmpLimit limiter
}

func newSender(d *Datapath) *sender {
	n := d.config.TUN.BatchSize()
	return &sender{
		d: d, bufs: buffers(n), sizes: make([]int, n), sealing: newSealing(d, arenaLen),
		cache: spd.NewCache(flowCacheLen), fragments: fragment.NewTracker(fragment.TrackerConfig{}),
		reassembler: fragment.New(fragment.Config{}),
		icmp:        make([]byte, headroom, headroom+leastMTU6),
	}
}

func buffers(n int) [][]byte {
	bufs := make([][]byte, n)
	for i := range bufs {
		bufs[i] = make([]byte, bufferLen)
	}
	return bufs
}

func (s *sender) run() error {
	for failures := 0; ; {
		n, err := s.d.config.TUN.Read(s.bufs, s.sizes, headroom)
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

// forward seals and sends the first n packets.
func (s *sender) forward(n int) {
	t := s.d.tables.Load()
	s.now = s.d.config.Clock()
	s.d.sending.Lock()
	for i := range n {
		inner := s.bufs[i][headroom : headroom+s.sizes[i]]
		if tap := s.d.tap.Load(); tap != nil {
			(*tap)(Tapped{Inner: true, Data: inner})
		}
		s.one(t, inner, false)
	}
	s.out.flush(&s.tally)
	s.d.sending.Unlock()
	s.d.counters.add(&s.tally)
}

// one takes a packet as far as the outbox, or drops it. joined says that it came in fragments.
func (s *sender) one(t *tables, inner []byte, joined bool) {
	flow, err := ipwire.ParseFlow(inner)
	if err != nil {
		s.tally.Dropped[OutMalformed]++
		return
	}
	if isFragment(inner) {
		flow = s.fragmentFlow(inner, flow)
	}
	entry, reason := s.policy(t, inner, &flow)
	if reason != reasons {
		s.tally.Dropped[reason]++
		return
	}
	sa, ok := choose(t.outbound, entry.Pair, &flow)
	if !ok {
		s.tally.Dropped[OutNoSA]++
		s.acquire(entry, flow)
		return
	}
	if sa.mode == Transport {
		s.joined = joined
		s.transport(t, sa, inner, &flow)
	} else {
		s.tunnel(sa, inner)
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
	if flow.Opaque || flow.Proto != ipwire.ProtoICMP && flow.Proto != ipwire.ProtoICMPv6 {
		return ipwire.Flow{}, false
	}
	e, err := ipwire.ParseICMPError(packet)
	if err != nil {
		return ipwire.Flow{}, false
	}
	quoted, err := e.QuotedFlow()
	return quoted, err == nil
}

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
	message, ok := ipwire.AppendTooBig(s.icmp[:headroom], inner, mtu)
	if !ok {
		return
	}
	s.icmp = message[:headroom]
	if _, err := s.d.config.TUN.Write([][]byte{message}, headroom); err == nil {
		s.tally.TooBigs++
	}
}
