package datapath

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

const (
	// headroom is what lies free before each packet in our buffers: the ESP header of any transform,
	// or the TUN's virtio header.
	headroom = 64
	// tailroom is what sealing adds behind a packet, at most.
	tailroom = 64
	// bufferLen holds the longest IP datagram.
	bufferLen = headroom + 65535 + tailroom
	// maxDatagram is the longest UDP payload in IPv4; that of IPv6 is longer.
	maxDatagram = 65535 - 20 - 8
)

// sender takes packets from the TUN to the sockets. It is one goroutine's.
type sender struct {
	d      *Datapath
	bufs   [][]byte
	sizes  []int
	v4, v6 outbox
	tally  Counters
}

// outbox is the batch that is being made for one socket.
type outbox struct {
	conn Conn
	bufs [][]byte
	to   []netip.AddrPort
	from []netip.Addr
}

func newSender(d *Datapath) *sender {
	n := d.config.TUN.BatchSize()
	s := &sender{d: d, bufs: buffers(n), sizes: make([]int, n)}
	s.v4, s.v6 = newOutbox(d.config.IPv4, n), newOutbox(d.config.IPv6, n)
	return s
}

func newOutbox(conn Conn, n int) outbox {
	return outbox{conn: conn, bufs: make([][]byte, 0, n), to: make([]netip.AddrPort, 0, n), from: make([]netip.Addr, 0, n)}
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
	t, now := s.d.tables.Load(), s.d.config.Clock()
	s.d.sending.Lock()
	for i := range n {
		s.one(t, now, s.bufs[i], s.sizes[i])
	}
	s.v4.flush(&s.tally)
	s.v6.flush(&s.tally)
	s.d.sending.Unlock()
	s.d.counters.add(&s.tally)
}

// one takes the packet at buf[headroom:][:n] as far as an outbox, or drops it.
func (s *sender) one(t *tables, now time.Duration, buf []byte, n int) {
	inner := buf[headroom : headroom+n]
	flow, err := ipwire.ParseFlow(inner)
	if err != nil {
		s.tally.Dropped[OutMalformed]++
		return
	}
	entry, ok := t.spd.Lookup(flow)
	if !ok || entry.Action != spd.Protect {
		s.tally.Dropped[OutNoPolicy]++
		return
	}
	sa, ok := t.outbound.Outbound(entry.Pair)
	if !ok {
		s.tally.Dropped[OutNoSA]++
		return
	}
	path := sa.pair.path.Load()
	to := path.ends()
	if !to.remote.IsValid() {
		s.tally.Dropped[OutNoPath]++
		return
	}
	packet, reason := s.d.seal(sa, now, buf, inner, nextHeader(inner))
	if reason != reasons {
		s.tally.Dropped[reason]++
		return
	}
	touch(&path.sent, now)
	s.tally.OutPackets++
	s.tally.OutBytes += uint64(n)
	if to.remote.Addr().Is4() {
		s.v4.put(packet, to)
	} else {
		s.v6.put(packet, to)
	}
}

// nextHeader is that of a packet that ParseFlow has taken.
func nextHeader(inner []byte) uint8 {
	if ipwire.Version(inner) == 4 {
		return esp.NextHeaderIPv4
	}
	return esp.NextHeaderIPv6
}

// seal makes an ESP packet of inner, which lies at buf[headroom:], in place. The reason is reasons if
// all went well. The caller holds d.sending until the packet has left.
func (d *Datapath) seal(sa *outboundSA, now time.Duration, buf, inner []byte, nextHeader uint8) ([]byte, Reason) {
	if sa.sealer.SealedLen(len(inner)) > maxDatagram {
		return nil, OutTooBig
	}
	ok, news := sa.spend(now, len(inner))
	if news {
		d.rouse()
	}
	if !ok {
		return nil, OutExpired
	}
	start := headroom - sa.sealer.HeaderLen()
	sealed, err := sa.sealer.Seal(buf[:start], inner, nextHeader)
	switch err {
	case nil:
		return sealed[start:], reasons
	case esp.ErrSequenceExhausted:
		return nil, OutExhausted
	}
	return nil, OutTooBig
}

func (o *outbox) put(packet []byte, to ends) {
	o.bufs = append(o.bufs, packet)
	o.to = append(o.to, to.remote)
	o.from = append(o.from, to.local)
}

// flush sends the batch. What the socket refuses is dropped, as a network would.
func (o *outbox) flush(tally *Counters) {
	if len(o.bufs) == 0 {
		return
	}
	sent := 0
	if o.conn != nil {
		sent, _ = o.conn.Send(o.bufs, o.to, o.from)
	}
	tally.Dropped[OutSend] += uint64(len(o.bufs) - sent)
	o.bufs, o.to, o.from = o.bufs[:0], o.to[:0], o.from[:0]
}
