package netio

import (
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
)

// piece is one message that Send gives the kernel: a datagram, or a run that is no longer than a message may be.
type piece struct {
	packet  int // its index among the packets of the call
	data    []byte
	segment int // 0: one datagram
	unbound int // the length of the control messages without our address
}

func (c *piece) count() int {
	return (&datagram.Packet{Data: c.data, Segment: c.segment}).Count()
}

// outgoing is the memory of messages to be sent.
type outgoing struct {
	*mmsg
	pieces []piece
}

func newOutgoing(batch int) *outgoing {
	return &outgoing{newMmsg(batch, departureLen, unix.SYS_SENDMMSG, 0), make([]piece, batch)}
}

// put prepares the i-th message, which has of p what c says.
func (o *outgoing) put(i int, p *datagram.Packet, c piece, is6 bool) {
	o.setBuffer(i, c.data)
	o.setAddress(i, p.Remote, is6)
	var length int
	length, c.unbound = o.controls[i].departure(p.TOS, c.segment, p.Local, is6)
	o.setControl(i, length)
	o.pieces[i] = c
}

// forget drops the references to the caller's memory.
func (o *outgoing) forget(n int) {
	o.mmsg.forget(n)
	clear(o.pieces[:n])
}

// transmit sends the messages from first to before last in order, until one is refused; it returns how many left and
// why that one did not. Before it gives up it relaxes it: an address of ours may be gone.
func (o *outgoing) transmit(d *descriptor, first, last int) (int, error) {
	return transmit(d, o.mmsg, first, last, func(i int) { o.setControl(i, o.pieces[i].unbound) })
}
