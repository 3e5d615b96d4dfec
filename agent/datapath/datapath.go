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

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/offload"
	"sallyport.dev/sallyport/services/protocol/sad"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// Device is the TUN, as netio.TUN has it. Read is called by one goroutine, Write by any.
type Device interface {
	// Read takes one packet or super-packet, its virtio header in front, into b. Without wait it returns 0 if there is
	// none.
	Read(b []byte, wait bool) (int, error)
	// Write gives one back, in pieces; the first begins with the virtio header.
	Write(pieces [][]byte) error
	// Features are what Write takes joined.
	Features() offload.Features
	Close() error
}

// Conn is one socket, as netio's UDPSocket and RawSocket have it. Recv and PathErrors are called by one
// goroutine, Send by any, one at a time.
type Conn interface {
	// Recv waits for packets, sets them, and returns how many; none when only path errors came. Their Data is the
	// caller's until the next Recv.
	Recv(ps []datagram.Packet) (int, error)
	// Send sends packets in order and returns how many datagrams left. Packets that did not have Err set; a run that is
	// too big has not left at all.
	Send(ps []datagram.Packet) (int, error)
	// PathErrors yields what was said about packets sent, since the last call. It does not wait.
	PathErrors(yield func(datagram.PathError))
	Close() error
}

// Sockets are the sockets of one kind, by address family; either may be nil.
type Sockets struct{ IPv4, IPv6 Conn }

func (s Sockets) of(family int) Conn { return [2]Conn{s.IPv4, s.IPv6}[family] }

// link is the kind of a socket.
type link uint8

const (
	linkUDP link = iota // ESP in UDP, IKE, keepalives
	linkESP             // IP protocol 50
	linkAH              // IP protocol 51
)

func (l link) protocol() uint8 { return [...]uint8{protoUDP, uint8(ESP), uint8(AH)}[l] }

func (l link) String() string { return [...]string{"UDP", "ESP", "AH"}[l] }

// Config is what New needs.
type Config struct {
	TUN Device
	// UDP, ESP and AH are the sockets; there must be one of some kind.
	UDP, ESP, AH Sockets
	// AHErrors hears of path errors of AH over IPv6, which AH's own socket does not (netio.AHErrors); may be nil.
	AHErrors Conn
	// PathTo asks the kernel for the way to an address: our own address on it, and the MTU (netio.PathTo). Nil:
	// nothing is too big, and native tunnel mode needs PathSpec.Local.
	PathTo func(remote netip.Addr) (local netip.Addr, mtu int, err error)
	// Clock is the time since boot on CLOCK_BOOTTIME (netio.BootTime).
	Clock func() time.Duration
	// Random is where probes' nonces and seeds of IVs come from; nil means crypto/rand.
	Random io.Reader
	// KeepKeys keeps the keys of SAs for Keys: only where captures are allowed.
	KeepKeys bool
	// IKE takes the datagrams that begin with the non-ESP marker (RFC 3948 section 2.2). It must be quick, and keep
	// nothing of the packet. Nil: they are dropped.
	IKE func(p *datagram.Packet)
}

// Datapath is the running pipeline. All methods may be called concurrently.
//
// Packets are moved by one sender (TUN to sockets), and by one receiver for each socket (to the TUN). They
// read an immutable snapshot of the tables and take no lock but an SA's own. A third goroutine, control,
// does all that has to do with time: lifetimes, keepalives, probes, events.
type Datapath struct {
	config   Config
	counters counters
	events   chan Event
	tables   atomic.Pointer[tables]
	tap      atomic.Pointer[func(Tapped)]

	acquireLimit, pathErrorLimit, shrunkLimit limiter

	// sending is held from sealing to sending, so that the sequence numbers of each SA leave in
	// order: whoever holds it is the one sending worker of all outbound SAs, whose sealers and
	// accounts it guards.
	sending sync.Mutex

	notices chan notice   // from receivers, bounded
	wake    chan struct{} // an SA's lifetime state changed, or pending is not empty

	mu       sync.Mutex // guards what follows
	inbound  *sad.Database[*inboundSA]
	outbound *sad.Database[*outboundSA]
	pairs    map[PairID]*pair
	bySPI    map[uint32][]*outboundSA
	paths    map[string]*hostPath
	rules    [][16]byte // ids of the SPD entries that protect nothing
	pending  []notice   // from methods, never lost
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
	case c.UDP == Sockets{} && c.ESP == Sockets{} && c.AH == Sockets{}:
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
		bySPI:    make(map[uint32][]*outboundSA),
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
	for l, sockets := range d.sockets() {
		for f := range 2 {
			if conn := sockets.of(f); conn != nil {
				run(fmt.Sprintf("%v socket of IPv%d", link(l), 4+2*f), newReceiver(d, link(l), conn).run)
			}
		}
	}
	if conn := d.config.AHErrors; conn != nil {
		run("AH errors", newReceiver(d, linkAH, conn).run)
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
	for _, sockets := range d.sockets() {
		for f := range 2 {
			if conn := sockets.of(f); conn != nil {
				errs = append(errs, conn.Close())
			}
		}
	}
	if d.config.AHErrors != nil {
		errs = append(errs, d.config.AHErrors.Close())
	}
	return errors.Join(errs...)
}

// sockets are by link.
func (d *Datapath) sockets() [3]Sockets {
	return [3]Sockets{linkUDP: d.config.UDP, linkESP: d.config.ESP, linkAH: d.config.AH}
}

// Events delivers lifetime and path events. A slow reader delays events, never packets; an event
// is not lost. The channel is never closed.
func (d *Datapath) Events() <-chan Event { return d.events }

// ivSeed makes the IVs of an SA differ from those of an earlier life under the same key. Without it, an empty
// one, they are right all the same: what protects is that numbers are not used twice.
func (d *Datapath) ivSeed() []byte {
	var seed [16]byte
	if _, err := io.ReadFull(d.config.Random, seed[:]); err != nil {
		return nil
	}
	return seed[:]
}

// rouse makes control look at lifetimes and pending.
func (d *Datapath) rouse() {
	select {
	case d.wake <- struct{}{}:
	default: // it is awake already
	}
}

// maxFailures is how many errors in a row a device may give before it counts as broken. Single ones are
// a packet's own (a malformed offload header, an ICMP error).
const maxFailures = 1000
