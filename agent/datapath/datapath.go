package datapath

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/services/protocol/sad"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// Device is the TUN, as netio.TUN has it. Read is called by one goroutine, Write by any.
type Device interface {
	// Read puts packets at offset into bufs and their lengths into sizes, and returns how many.
	Read(bufs [][]byte, sizes []int, offset int) (int, error)
	// Write takes the packets bufs[i][offset:]; it may change the buffers.
	Write(bufs [][]byte, offset int) (int, error)
	BatchSize() int
	Close() error
}

// Conn is the UDP socket of one address family, as netio.UDPSocket has it. Recv is called by one
// goroutine, Send by any.
type Conn interface {
	// Recv fills bufs, sizes (-1 for a datagram that did not fit), from, and local with our addresses at
	// which they arrived, and returns how many.
	Recv(bufs [][]byte, sizes []int, from []netip.AddrPort, local []netip.Addr) (int, error)
	// Send sends bufs[i] to to[i], from local[i] unless that is invalid, in order, and returns how many left.
	Send(bufs [][]byte, to []netip.AddrPort, local []netip.Addr) (int, error)
	Close() error
}

// Config is what New needs.
type Config struct {
	TUN Device
	// IPv4 and IPv6 are the sockets; one of them may be nil.
	IPv4, IPv6 Conn
	// Clock is the time since boot on CLOCK_BOOTTIME (netio.BootTime).
	Clock func() time.Duration
	// Random is where probes' nonces come from; nil means crypto/rand.
	Random io.Reader
}

// Datapath is the running pipeline. All methods may be called concurrently.
//
// Packets are moved by one sender (TUN to UDP), and by one receiver for each socket (UDP to TUN). They
// read an immutable snapshot of the tables and take no lock but an SA's own. A third goroutine, control,
// does all that has to do with time: lifetimes, keepalives, probes, events.
type Datapath struct {
	config   Config
	counters counters
	events   chan Event
	tables   atomic.Pointer[tables]

	// sending is held from sealing to sending, so that the sequence numbers of each SA leave in
	// order: whoever holds it is the one sending worker of all outbound SAs, whose sealers and
	// accounts it guards.
	sending sync.Mutex

	notices chan notice   // from receivers, bounded
	wake    chan struct{} // an SA's lifetime state changed, or todo is not empty

	mu       sync.Mutex // guards what follows
	inbound  *sad.Database[*inboundSA]
	outbound *sad.Database[*outboundSA]
	pairs    map[PairID]*pair
	paths    map[string]*hostPath
	todo     []notice // from methods, never lost
}

// tables is what packets are carried by: an immutable snapshot.
type tables struct {
	spd      *spd.Table
	inbound  *sad.View[*inboundSA]
	outbound *sad.View[*outboundSA]
	paths    []*hostPath
	pairsOf  map[*hostPath][]*pair
}

// New checks c and makes a datapath without pairs or SAs.
func New(c Config) (*Datapath, error) {
	switch {
	case c.TUN == nil:
		return nil, errors.New("datapath: no TUN")
	case c.IPv4 == nil && c.IPv6 == nil:
		return nil, errors.New("datapath: no socket")
	case c.Clock == nil:
		return nil, errors.New("datapath: no clock")
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	d := &Datapath{
		config:   c,
		events:   make(chan Event),
		notices:  make(chan notice, maxNotices),
		wake:     make(chan struct{}, 1),
		inbound:  sad.NewDatabase[*inboundSA](),
		outbound: sad.NewDatabase[*outboundSA](),
		pairs:    make(map[PairID]*pair),
		paths:    make(map[string]*hostPath),
	}
	d.tables.Store(&tables{spd: new(spd.Table), inbound: d.inbound.View(), outbound: d.outbound.View()})
	return d, nil
}

// Run moves packets until ctx ends (and returns nil) or a device fails. It closes the TUN and the
// sockets when it returns, and may be called once.
func (d *Datapath) Run(ctx context.Context) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	run := func(name string, f func() error) {
		group.Go(func() { cancel(fmt.Errorf("datapath: %s: %w", name, f())) })
	}
	run("TUN", newSender(d).run)
	if d.config.IPv4 != nil {
		run("IPv4 socket", newReceiver(d, d.config.IPv4).run)
	}
	if d.config.IPv6 != nil {
		run("IPv6 socket", newReceiver(d, d.config.IPv6).run)
	}
	group.Go(func() { newControl(d).run(running) })
	<-running.Done()
	err := d.close() // ends the loops that wait for packets
	group.Wait()
	if ctx.Err() == nil {
		return context.Cause(running) // a device failed
	}
	return err
}

func (d *Datapath) close() error {
	errs := []error{d.config.TUN.Close()}
	for _, conn := range []Conn{d.config.IPv4, d.config.IPv6} {
		if conn != nil {
			errs = append(errs, conn.Close())
		}
	}
	return errors.Join(errs...)
}

// Events delivers lifetime and path events. A slow reader delays events, never packets; an event
// is not lost. The channel is never closed.
func (d *Datapath) Events() <-chan Event { return d.events }

// conn is the socket that reaches to, or nil.
func (d *Datapath) conn(to netip.AddrPort) Conn {
	if to.Addr().Is4() {
		return d.config.IPv4
	}
	return d.config.IPv6
}

// rouse makes control look at lifetimes and todo.
func (d *Datapath) rouse() {
	select {
	case d.wake <- struct{}{}:
	default: // it is awake already
	}
}

// maxFailures is how many errors in a row a device may give before it counts as broken. Single ones are
// a packet's own (a malformed offload header, an ICMP error).
const maxFailures = 1000
