package relay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Port is IKE's without NAT, RFC 7296 section 2.
const Port = 500

// markerLen is the length of the non-ESP marker, four zero bytes (RFC 3948 section 2.2).
const markerLen = 4

// Datagram is one IKE message on its way, without a marker.
type Datagram struct {
	Local   netip.Addr // invalid: what the routes give
	Port    uint16     // local
	Remote  netip.AddrPort
	Message []byte
}

// Sender is a socket, as netio.UDPSocket has it. Send may be called by any goroutine.
type Sender interface {
	Send(ps []datagram.Packet) (int, error)
}

// Sockets are those of one port, by family; either may be nil.
type Sockets struct{ IPv4, IPv6 Sender }

// Config is what New needs.
type Config struct {
	// ESPPort is the port on which ESP arrives, and IKE behind a marker; usually 4500.
	ESPPort uint16
	// ESP are its sockets, and IKE those of port 500, if there are any.
	ESP, IKE Sockets
	// PathTo asks the kernel for the way to an address, as netio's Routes do: our own address on it, and the MTU.
	PathTo func(remote netip.Addr) (local netip.Addr, mtu int, err error)
	// Now is the time; nil means time.Now.
	Now func() time.Time
}

// Counters count datagrams since the start.
type Counters struct {
	Taken, Sent                    uint64 // to and from the controller
	Away, Malformed, Limited, Full uint64 // dropped: no controller, no IKE, too many of one source, a full queue
	Unsent                         uint64 // the socket refused
	Demanded                       uint64 // answered by a demand for a cookie
}

// Relay is the queues. All methods may be called concurrently.
type Relay struct {
	config Config
	ready  chan struct{} // capacity 1

	mu       sync.Mutex
	attached bool
	queues   [classes][]Datagram
	known    known
	guard    Guard
	limiter  limiter[netip.Prefix]   // of what is not established, by source
	paces    limiter[ikewire.IKESPI] // of what is, by our SPI
	counters Counters
}

// depth is the bound of a class's queue, datagrams.
func depth(c class) int { return [classes]int{established: 1024, begun: 256, initial: 256}[c] }

// New makes a relay without a controller.
func New(c Config) *Relay {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Relay{config: c, ready: make(chan struct{}, 1)}
}

// Attach says whether there is a controller. Without one, what waits is forgotten.
func (r *Relay) Attach(there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attached, r.guard = there, Guard{}
	r.queues = [classes][]Datagram{}
}

// Take queues a datagram that has arrived on a local port: on the port of ESP it begins with the marker. It copies what
// it keeps.
func (r *Relay) Take(p *datagram.Packet, port uint16) {
	message := p.Data
	if port == r.config.ESPPort {
		message = message[min(markerLen, len(message)):]
	}
	if answer := r.take(p, port, message); answer != nil {
		_ = r.Send(Datagram{p.Local, port, p.Remote, answer}) // what is lost is asked for again
	}
}

// take is Take; it returns what is to be answered here, nil when nothing is.
func (r *Relay) take(p *datagram.Packet, port uint16, message []byte) (answer []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, own, ok := r.classify(message)
	if ok && c == initial && r.attached {
		if answer, ok = r.demand(p, message); answer != nil && r.limiter.allow(source(p.Remote.Addr().Unmap()), r.config.Now(), strangers) {
			r.counters.Demanded++
			return answer
		}
	}
	switch {
	case answer != nil:
		r.counters.Limited++
	case !r.attached:
		r.counters.Away++
	case !ok || p.Err != nil || p.Remote.Port() == 0:
		r.counters.Malformed++
	case !r.paced(c, own, p.Remote.Addr().Unmap()):
		r.counters.Limited++
	case len(r.queues[c]) >= depth(c):
		r.counters.Full++
	default:
		r.counters.Taken++
		r.queues[c] = append(r.queues[c], Datagram{p.Local, port, p.Remote, append([]byte(nil), message...)})
		select {
		case r.ready <- struct{}{}:
		default:
		}
	}
	return nil
}

// paced reports whether a datagram keeps the pace of its class. The caller holds mu.
func (r *Relay) paced(c class, own ikewire.IKESPI, from netip.Addr) bool {
	if c == established {
		return r.paces.allow(own, r.config.Now(), acquaintances)
	}
	return r.limiter.allow(source(from), r.config.Now(), strangers)
}

// Next waits for a datagram for the controller. One goroutine calls it.
func (r *Relay) Next(ctx context.Context) (Datagram, error) {
	for {
		if d, ok := r.first(); ok {
			return d, nil
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
			return Datagram{}, ctx.Err()
		}
	}
}

func (r *Relay) first() (Datagram, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.queues {
		if q := r.queues[c]; len(q) > 0 {
			d := q[0]
			q[0] = Datagram{}
			r.queues[c] = q[1:]
			return d, true
		}
	}
	return Datagram{}, false
}

var (
	// ErrPort: there is no socket of that port and family.
	ErrPort = errors.New("relay: no socket")
	// ErrMessage: the controller's message is none of IKE.
	ErrMessage = errors.New("relay: no IKE message")
)

// Send sends a datagram of the controller's. Errors: ErrPort, ErrMessage, the socket's.
func (r *Relay) Send(d Datagram) error {
	h, err := ikewire.ParseHeader(d.Message)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	sender, message := r.sender(d), d.Message
	if sender == nil {
		return fmt.Errorf("%w for port %d towards %v", ErrPort, d.Port, d.Remote.Addr())
	}
	if d.Port == r.config.ESPPort {
		message = append(make([]byte, markerLen, markerLen+len(message)), message...)
	}
	r.mu.Lock()
	if afterAuthentication(h.Exchange) {
		r.known.add(spi(h, true))
	}
	r.counters.Sent++
	r.mu.Unlock()
	p := []datagram.Packet{{Data: message, Remote: d.Remote, Local: d.Local}}
	if _, err = sender.Send(p); err == nil {
		err = p[0].Err
	}
	if err != nil {
		r.mu.Lock()
		r.counters.Unsent++
		r.mu.Unlock()
	}
	return err
}

func (r *Relay) sender(d Datagram) Sender {
	var s Sockets
	switch d.Port {
	case r.config.ESPPort:
		s = r.config.ESP
	case Port:
		s = r.config.IKE
	}
	if d.Remote.Addr().Unmap().Is4() {
		return s.IPv4
	}
	return s.IPv6
}

// Source is our own address on the way to another one; invalid when there is no way.
func (r *Relay) Source(remote netip.Addr) netip.Addr {
	if r.config.PathTo == nil {
		return netip.Addr{}
	}
	local, _, err := r.config.PathTo(remote)
	if err != nil {
		return netip.Addr{}
	}
	return local
}

// Counters returns the counts.
func (r *Relay) Counters() Counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counters
}
