package datapath

import (
	"errors"
	"net/netip"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/fragment"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

const (
	// arenaLen holds the packets of one batch: several of the longest ones.
	arenaLen = 512 << 10
	// maxBatch is how many packets one Send is given.
	maxBatch = 128
	// A run is at most what leaves as one message.
	maxRunSegments = 128
	maxRunLen      = 65400
)

// outbox is the batch of sealed packets that waits to leave, one queue for each socket. Packets lie one behind
// the other in the arena, which is free again when all have left. Whoever seals holds Datapath.sending from
// the first packet to the flush, so that the sequence numbers of each SA leave in order.
type outbox struct {
	sockets [3]Sockets // by link
	queues  [3][2][]datagram.Packet
	grows   [3][2]bool // the last packet of a queue is a run that may become longer
	arena   []byte
	used    int

	splitter
	pathTo func(netip.Addr) (netip.Addr, int, error)
	// shrunk tells that a link has become too small for what was thought to fit.
	shrunk func(remote netip.Addr)
}

func newOutbox(c Config, arena int, shrunk func(netip.Addr)) *outbox {
	o := &outbox{arena: make([]byte, arena), pathTo: c.PathTo, shrunk: shrunk}
	o.sockets[linkUDP], o.sockets[linkESP], o.sockets[linkAH] = c.UDP, c.ESP, c.AH
	for l := range o.queues {
		for f := range o.queues[l] {
			o.queues[l][f] = make([]datagram.Packet, 0, maxBatch)
		}
	}
	return o
}

// take returns n bytes of the arena, with what is still free behind them. It flushes when there is no room. n is at
// most that of the longest datagram with its headers.
func (o *outbox) take(n int, tally *Counters) []byte {
	if len(o.arena)-o.used < n {
		o.flush(tally)
	}
	slot := o.arena[o.used : o.used+n]
	o.used += n
	return slot
}

// put queues a packet, which leaves as g says, for a link's socket of the remote end's family. UDP datagrams that lie
// one behind the other and differ in nothing but their payload leave as a run.
func (o *outbox) put(l link, data []byte, g *outgoing, tally *Counters) {
	f := familyIndex(g.to.remote.Addr())
	q, grows := &o.queues[l][f], &o.grows[l][f]
	if *grows {
		var ok bool
		if ok, *grows = extend(&(*q)[len(*q)-1], data, g); ok {
			return
		}
	}
	*q, *grows = append(*q, datagram.Packet{Data: data, Remote: g.to.remote, Local: g.to.local, TOS: g.tos, DF: g.df && l == linkUDP}), l == linkUDP
	if len(*q) == cap(*q) {
		o.flush(tally)
	}
}

// extend appends data to a run, and reports whether it could, and whether the run may become longer still. The arena lies
// behind the run's bytes: where data begins there, it belongs to the same part of it.
func extend(run *datagram.Packet, data []byte, g *outgoing) (ok, grows bool) {
	n := len(run.Data)
	segment := run.Segment
	if segment == 0 {
		segment = n
	}
	if len(data) > segment || n >= maxRunSegments*segment || n+len(data) > maxRunLen ||
		n == cap(run.Data) || &run.Data[:n+1][n] != &data[0] ||
		run.TOS != g.tos || run.DF != g.df || run.Remote != g.to.remote || run.Local != g.to.local {
		return false, true
	}
	run.Segment, run.Data = segment, run.Data[:n+len(data)]
	return true, len(data) == segment
}

func familyIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// flush sends all. What a socket refuses is dropped, as a network would, but for what is only too big.
func (o *outbox) flush(tally *Counters) {
	for l := range o.queues {
		for f, q := range o.queues[l] {
			if len(q) == 0 {
				continue
			}
			o.send(link(l), o.sockets[l].of(f), q, tally)
			clear(q)
			o.queues[l][f], o.grows[l][f] = q[:0], false
		}
	}
	o.used = 0
}

func (o *outbox) send(l link, conn Conn, q []datagram.Packet, tally *Counters) {
	total := 0
	for i := range q {
		total += q[i].Count()
	}
	sent := 0
	if conn != nil {
		sent, _ = conn.Send(q)
	}
	if sent == total {
		return
	}
	for i := range q {
		if conn != nil && errors.Is(q[i].Err, datagram.ErrTooBig) {
			sent += o.againEach(l, conn, &q[i])
		}
	}
	tally.Dropped[OutSend] += uint64(max(total-sent, 0)) // of a run that the link shrank under, some may have left twice
}

// againEach sends what was too big for the link in pieces, and returns how many datagrams left so.
func (o *outbox) againEach(l link, conn Conn, p *datagram.Packet) (sent int) {
	o.shrunk(p.Remote.Addr())
	step := len(p.Data)
	if p.Segment > 0 {
		step = p.Segment
	}
	for rest := p.Data; len(rest) > 0; {
		one := *p
		one.Data, one.Segment = rest[:min(step, len(rest))], 0
		rest = rest[len(one.Data):]
		if o.again(l, conn, &one) {
			sent++
		}
	}
	return sent
}

// again sends a packet that was too big for the link in pieces: the MTU has just changed, and the packet's
// number is used. From the next packet on the SA knows better. p is changed.
func (o *outbox) again(l link, conn Conn, p *datagram.Packet) bool {
	if l == linkUDP {
		if !p.DF {
			return false // the kernel could not fragment it either
		}
		p.DF, p.Err = false, nil
		one := [1]datagram.Packet{*p}
		n, _ := conn.Send(one[:])
		return n == 1
	}
	if h, err := ipwire.ParseIPv4(p.Data); err == nil && h.DontFragment() {
		h.SetDontFragment(false) // AH does not cover the flags
		h.UpdateChecksum()
	}
	mtu := leastMTU(p.Remote.Addr())
	if o.pathTo != nil {
		if _, m, err := o.pathTo(p.Remote.Addr()); err == nil {
			mtu = m
		}
	}
	pieces, err := o.split(p.Data, mtu, 1)
	if err != nil {
		return false
	}
	for _, piece := range pieces {
		one := [1]datagram.Packet{{Data: piece, Remote: p.Remote, Local: p.Local, TOS: p.TOS}}
		if n, _ := conn.Send(one[:]); n != 1 {
			return false
		}
	}
	return true
}

// splitter splits packets, with memory of its own.
type splitter struct {
	space  []byte
	pieces [][]byte
}

// split is fragment.Split: the pieces are valid until the next call. id serves a packet that has none: an IPv4
// packet keeps its own, which AH covers.
func (s *splitter) split(packet []byte, mtu int, id uint32) ([][]byte, error) {
	n := fragment.SplitSpace(len(packet), mtu)
	if len(s.space) < n {
		s.space = make([]byte, n)
	}
	if ipwire.Version(packet) == 4 {
		if own := ipwire.IPv4(packet).ID(); own != 0 {
			id = uint32(own)
		}
	}
	var err error
	s.pieces, err = fragment.Split(s.pieces[:0], s.space, packet, mtu, id)
	return s.pieces, err
}
