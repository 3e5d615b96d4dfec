package netio

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
)

// longest is more than any IP datagram has, with or without its header.
const longest = 1 << 16

// stagger keeps buffers from beginning at the same place of a page, where their first bytes, which are those that are
// always used, would drive each other out of the processor's cache.
const stagger = 192

// inbox is the memory into which a socket receives, made once.
type inbox struct {
	*mmsg
	bufs   [][]byte
	room   int // bytes free in front of what the kernel gives, for headers that it took off
	errors *errorQueue
}

// newInbox makes memory for a batch of messages, with controlLen bytes of ancillary data for each. Pages of it that the
// kernel never writes cost nothing.
func newInbox(batch, controlLen, room int, errors *errorQueue) *inbox {
	in := &inbox{mmsg: newMmsg(batch, controlLen, unix.SYS_RECVMMSG, 0), bufs: make([][]byte, batch), room: room, errors: errors}
	in.fetch = errors.fill
	size := room + longest + stagger
	memory := make([]byte, batch*size)
	for i := range in.bufs {
		in.bufs[i] = memory[i*size:][: room+longest : room+longest]
		in.setBuffer(i, in.bufs[i][room:])
	}
	return in
}

// receive waits for messages and sets Data, Segment and Err of as many of ps.
func (in *inbox) receive(d *descriptor, ps []datagram.Packet) (int, error) {
	got, err := in.recv(d, min(len(ps), len(in.bufs)))
	if err != nil {
		if errors.Is(err, net.ErrClosed) {
			return 0, err
		}
		in.errors.control(d) // mostly it is an ICMP message's
		if in.errors.n > 0 {
			return 0, nil
		}
		return 0, err
	}
	for i := range got {
		p := &ps[i]
		end := in.room + min(in.length(i), longest)
		p.Data, p.Segment, p.Err = in.bufs[i][in.room:end:end], 0, nil
		if in.truncated(i) {
			p.Err = datagram.ErrTruncated
		}
	}
	return got, nil
}
