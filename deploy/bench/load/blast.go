//go:build linux

package load

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Blast is UDP by sendmmsg, since iperf3 sends each datagram by a call of its own and would itself be the limit.
type Blast struct {
	// Sizes are the lengths of the payloads, bytes, in turn.
	Sizes []int
	// Rate is packets a second; 0 is as fast as it goes.
	Rate float64
	Time time.Duration
}

// Count is what became of a blast.
type Count struct {
	Sent, Received uint64 // packets, until none came any more
	Elapsed        time.Duration
	// Timely packets have arrived while there was sending, and Bytes of payload: what then waited in queues is no rate.
	Timely, Bytes uint64
}

// Loss is the part that did not arrive.
func (c Count) Loss() float64 {
	if c.Sent == 0 {
		return 1
	}
	return 1 - float64(min(c.Received, c.Sent))/float64(c.Sent)
}

// Rate is the packets delivered a second.
func (c Count) Rate() float64 { return float64(c.Timely) / c.Elapsed.Seconds() }

// Gbits is the payload delivered a second, in Gbit.
func (c Count) Gbits() float64 { return float64(c.Bytes) * 8 / 1e9 / c.Elapsed.Seconds() }

// settle is how long packets may take to arrive after the last was sent.
const settle = 200 * time.Millisecond

// Run carries it out.
func (b Blast) Run(ctx context.Context, p Path) (Count, error) {
	in, port, err := p.receiver()
	if err != nil {
		return Count{}, err
	}
	defer unix.Close(in)
	out, err := p.sender(port)
	if err != nil {
		return Count{}, err
	}
	defer unix.Close(out)
	var c Count
	var got arrivals
	var group errgroup.Group
	receiving, end := context.WithCancel(ctx)
	defer end()
	group.Go(func() error { return got.receive(receiving, in) })
	group.Go(func() (err error) {
		defer end()
		if c.Sent, c.Elapsed, err = b.send(ctx, out); err != nil {
			return err
		}
		c.Timely, c.Bytes = got.packets.Load(), got.bytes.Load()
		pause(settle)
		return nil
	})
	if err := group.Wait(); err != nil {
		return Count{}, err
	}
	c.Received = got.packets.Load()
	return c, ctx.Err()
}

// bufferSize is large enough that the receiver is not what loses packets.
const bufferSize = 32 << 20

// receiveTimeout is how often the receiver looks whether it is over.
const receiveTimeout = 50 * time.Millisecond

// receiver opens the socket at the end of the path, on a port that no earlier blast had.
func (p Path) receiver() (fd, port int, err error) {
	err = p.To.Do(func() (err error) {
		fd, err = socket(p.Destination.Is6())
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	timeout := unix.NsecToTimeval(int64(receiveTimeout))
	err = first(
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize) },
		func() error { return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout) },
		func() error { return unix.Bind(fd, sockaddr(p.Destination, 0)) },
		func() (err error) {
			port, err = boundPort(fd)
			return err
		})
	if err != nil {
		unix.Close(fd)
		return 0, 0, fmt.Errorf("bench: UDP receiver on %v: %w", p.Destination, err)
	}
	return fd, port, nil
}

// sender opens the socket at the beginning of the path.
func (p Path) sender(port int) (fd int, err error) {
	err = p.From.Do(func() (err error) {
		fd, err = socket(p.Source.Is6())
		return err
	})
	if err != nil {
		return 0, err
	}
	err = first(
		func() error { return unix.Bind(fd, sockaddr(p.Source, 0)) },
		func() error { return unix.Connect(fd, sockaddr(p.Destination, port)) })
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("bench: UDP sender to %v: %w", p.Destination, err)
	}
	return fd, nil
}

func socket(six bool) (int, error) {
	domain := unix.AF_INET
	if six {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("bench: UDP socket: %w", err)
	}
	return fd, nil
}

// first is the first error of steps, which are not taken any further then.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
