package netio

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
)

const (
	// longestRun is the bytes of the longest run that leaves as one message. A UDP payload can have 65,507 over IPv4,
	// but with the headers, the link's too, a device takes no more than its gso_max_size, which mostly is 65,536.
	longestRun = 65400
	// callBytes is about how much one system call sends: nothing stops the goroutine meanwhile, so the garbage
	// collector waits for it.
	callBytes = 1 << 20
)

// Send sends the packets in order, and returns how many datagrams left. What the kernel refuses (no route, too big with
// DF, forbidden) does not stop those after it: it has Err set.
//
// A run leaves with one system call where the kernel segments it, in messages as long as the kernel takes. Where the
// kernel refuses to, its datagrams are sent one by one, and Offload says so, but for what concerns this run alone. If
// they are too big for the link, Err is ErrTooBig and none has left, also if the last one is shorter; but for those
// that left before the link shrank in that very moment. After any other error some datagrams of a run may have left:
// sent counts them.
//
// Without DF, runs leave whole over IPv6 only: the kernel numbers a run's IPv4 datagrams with identifications that
// the next run has again, and routers may fragment them (RFC 6864 section 4.3).
func (s *UDPSocket) Send(ps []datagram.Packet) (sent int, err error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	for i := range ps {
		if ps[i].Err = nil; ps[i].Remote.Addr().Is4() == s.is6 || !ps[i].Remote.IsValid() {
			ps[i].Err, err = datagram.ErrFamily, datagram.ErrFamily
		}
	}
	for at := (position{}); at.packet < len(ps); {
		n := s.fill(ps, &at)
		k, e := s.sendPieces(ps, n)
		sent += k
		if err == nil {
			err = e
		}
	}
	return sent, err
}

// position is a byte of a packet.
type position struct{ packet, offset int }

// fill prepares messages from at on, and moves at behind them. All go the same way, with DF or without, so that both
// kinds keep their order.
func (s *UDPSocket) fill(ps []datagram.Packet, at *position) (n int) {
	for bytes := 0; n < SocketBatch && bytes < callBytes && at.packet < len(ps); {
		p := &ps[at.packet]
		if p.Err != nil && (at.offset == 0 || errors.Is(p.Err, datagram.ErrTooBig)) {
			*at = position{packet: at.packet + 1}
			continue
		}
		if n > 0 && p.DF != ps[s.out.pieces[0].packet].DF {
			break
		}
		c := piece{packet: at.packet, data: p.Data[at.offset:]}
		c.data = c.data[:reach(p, len(c.data), s.segments(p))]
		if at.offset += len(c.data); at.offset == len(p.Data) {
			*at = position{packet: at.packet + 1}
		}
		if len(c.data) > p.Segment {
			c.segment = max(p.Segment, 0)
		}
		s.out.put(n, p, c, s.is6)
		bytes += len(c.data)
		n++
	}
	return n
}

// segments is how many datagrams of p one message may hold.
func (s *UDPSocket) segments(p *datagram.Packet) int {
	if !s.is6 && !p.DF {
		return 1
	}
	return s.segmentation.segments()
}

// sendPieces sends the first n messages that fill has prepared.
func (s *UDPSocket) sendPieces(ps []datagram.Packet, n int) (sent int, first error) {
	defer s.out.forget(n)
	for i := 0; i < n; i++ {
		p := &ps[s.out.pieces[i].packet]
		if errors.Is(p.Err, datagram.ErrTooBig) {
			continue // so is the rest of the run
		}
		conn := s.conn(p)
		k, err := s.out.transmit(conn, i, n)
		for j := range s.out.pieces[i : i+k] {
			sent += s.left(&s.out.pieces[i+j])
		}
		if i += k; err == nil {
			break
		}
		c := &s.out.pieces[i]
		p = &ps[c.packet]
		if c.segment > 0 && segmentationRefused(err) {
			k, err = s.apart(conn, p, *c, err)
			sent += k
		}
		if err != nil {
			p.Err = reason(err)
		}
		if first == nil {
			first = p.Err
		}
	}
	return sent, first
}

// conn is the socket that sends a packet.
func (s *UDPSocket) conn(p *datagram.Packet) *descriptor {
	if p.DF {
		return s.main
	}
	return s.clear
}

// left notes that a message has left, and returns how many datagrams that are.
func (s *UDPSocket) left(c *piece) int {
	if c.segment > 0 && s.segmentation.left() {
		s.tell()
	}
	return c.count()
}

// apart sends a run that was refused with why in shorter ones, if it may have had too many segments, and what is left
// one by one. It returns how many left, and what the first that did not was refused with. A datagram that is too big
// ends it, since the others are as long.
func (s *UDPSocket) apart(conn *descriptor, p *datagram.Packet, run piece, why error) (sent int, first error) {
	defer s.single.forget(1)
	per := 1
	if errors.Is(why, unix.EINVAL) && run.count() > fewSegments {
		per = fewSegments
	}
	for data := run.data; len(data) > 0; {
		c := piece{data: data[:min(per*run.segment, len(data))]}
		if len(c.data) > run.segment {
			c.segment = run.segment
		}
		s.single.put(0, p, c, s.is6)
		_, err := s.single.transmit(conn, 0, 1)
		switch {
		case err == nil:
			if c.segment > 0 {
				s.segmentation.most = fewSegments
			}
			sent += s.left(&c)
		case c.segment > 0:
			per = 1
			continue
		case errors.Is(err, unix.EMSGSIZE), errors.Is(err, net.ErrClosed):
			return sent, err
		case first == nil:
			first = err
		}
		data = data[len(c.data):]
	}
	if per == 1 && sent > 0 && kernelsOwn(why, p.DF) {
		s.segmentation.refused(why)
		s.tell()
	}
	return sent, first
}

// tell makes Offload tell the news.
func (s *UDPSocket) tell() {
	s.offload.Store(&datagram.Offload{Send: s.segmentation.err(), Receive: s.offload.Load().Receive})
}

// Offload says whether runs leave and arrive whole. It may be called at any time.
func (s *UDPSocket) Offload() datagram.Offload { return *s.offload.Load() }
