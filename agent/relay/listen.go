package relay

import (
	"context"
	"errors"
	"net"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
)

// Socket is a Sender that receives, as netio.UDPSocket does. Recv is for one goroutine.
type Socket interface {
	Sender
	Recv(ps []datagram.Packet) (int, error)
	PathErrors(yield func(datagram.PathError))
	Close() error
}

// retryReceive is the pause after a failure.
const retryReceive = 50 * time.Millisecond

// batch is how many datagrams, or runs of them, one call receives.
const batch = 16

// Listen takes what arrives at a socket of a port other than that of ESP, until ctx ends, and closes the socket.
func (r *Relay) Listen(ctx context.Context, s Socket, port uint16) error {
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	packets := make([]datagram.Packet, batch)
	for ctx.Err() == nil {
		n, err := s.Recv(packets)
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil { // transient: the socket says so
			select {
			case <-time.After(retryReceive):
			case <-ctx.Done():
			}
			continue
		}
		s.PathErrors(func(datagram.PathError) {}) // IKE learns from silence alone: anybody can forge ICMP
		for i := range n {
			r.takeRun(packets[i], port)
		}
	}
	return ctx.Err()
}

// takeRun takes each datagram of a run.
func (r *Relay) takeRun(p datagram.Packet, port uint16) {
	rest, step := p.Data, len(p.Data)
	if p.Segment > 0 {
		step = p.Segment
	}
	for one := p; ; {
		one.Data = rest[:min(step, len(rest))]
		rest = rest[len(one.Data):]
		r.Take(&one, port)
		if len(rest) == 0 {
			return
		}
	}
}
