package keying

import (
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/store"
)

const (
	// maxPackets is how many datagrams may wait for one machine.
	maxPackets = 32
	// retryActions is the pause before actions that failed are tried again.
	retryActions = time.Second
	// maxFailures is how often that may happen in a row before the association is given up.
	maxFailures = 5
)

// association runs one machine: its goroutine alone calls it.
type association struct {
	r    *reign
	host string
	name string // its first SPI here, in hexadecimal

	packets chan packet
	orders  chan order
	acked   chan struct{} // capacity 1: an agent has said something of a child SA
	over    chan struct{} // closed at the end

	// What follows is its goroutine's, once it runs. candidates and key are set before.
	machine    *ike.Machine
	candidates []Candidate
	key        *beginning // while half open, of a responder
	spis       []ikewire.IKESPI
	children   map[uint64]*child
	failures   int
	retryAt    time.Time
	deposed    bool // Closed has been run
	replaces   *association
	fresh      time.Time // when established here; zero for one that was restored

	shared shared
}

// packet is a datagram that has arrived.
type packet struct {
	path ike.Path
	data []byte
}

// order is what somebody else wants of the machine; the goroutine calls it.
type order func(a *association, now time.Time) error

func (r *reign) newAssociation(m *ike.Machine, host string) *association {
	spi := m.SPIs()[0].Local
	return &association{
		r: r, host: host, name: hex.EncodeToString(spi[:]), machine: m, packets: make(chan packet, maxPackets),
		orders: make(chan order, maxPackets), acked: make(chan struct{}, 1), over: make(chan struct{}), children: make(map[uint64]*child),
	}
}

// start makes a known to all and runs it.
func (r *reign) start(a *association) {
	r.mu.Lock()
	r.byName[a.name] = a
	r.mu.Unlock()
	a.index()
	r.spawn(a.run)
}

// packet hands a datagram over. When too many wait, it is lost.
func (a *association) packet(path ike.Path, data []byte) {
	select {
	case a.packets <- packet{path, data}:
	default:
	}
}

// order hands an order over; false when the association is over.
func (a *association) order(o order) bool {
	select {
	case a.orders <- o:
		return true
	case <-a.over:
	case <-a.r.ctx.Done():
	}
	return false
}

// command is order for a command of the machine.
func (a *association) command(c ike.Command) bool {
	return a.order(func(a *association, now time.Time) error { return a.machine.HandleCommand(now, c) })
}

// run is the association's goroutine.
func (a *association) run() {
	defer a.end()
	a.act()
	for !a.deposed && a.r.ctx.Err() == nil {
		timer := time.NewTimer(a.wait())
		var err error
		select {
		case p := <-a.packets:
			err = a.machine.HandlePacket(a.r.now(), p.path, p.data)
		case o := <-a.orders:
			err = o(a, a.r.now())
		case <-a.acked:
			a.lookAtAcks()
		case <-timer.C:
			err = a.timeout()
		case <-a.r.ctx.Done():
		}
		timer.Stop()
		if !a.survives(err) {
			return
		}
		a.act()
	}
}

// wait is the time until something is due.
func (a *association) wait() time.Duration {
	at, some := a.machine.Deadline()
	for _, other := range []time.Time{a.retryAt, a.nextDrain()} {
		if !other.IsZero() && (!some || other.Before(at)) {
			at, some = other, true
		}
	}
	if !some {
		return time.Hour
	}
	return max(0, at.Sub(a.r.now()))
}

func (a *association) timeout() error {
	a.drained()
	if at, some := a.machine.Deadline(); some && !at.After(a.r.now()) {
		return a.machine.HandleTimeout(a.r.now())
	}
	return nil
}

// survives looks at what a machine has answered; false when it cannot go on.
func (a *association) survives(err error) bool {
	if err == nil {
		return true
	}
	if rejection, ok := errors.AsType[*ike.Rejection](err); ok {
		a.r.config.Log.Debug("IKE datagram dropped", "ike_sa", a.name, "host", a.host, "reason", rejection)
		return true
	}
	for _, harmless := range []error{ike.ErrStale, ike.ErrNotFound, ike.ErrNotPossible, ike.ErrClosed, ike.ErrConfig} {
		if errors.Is(err, harmless) {
			a.r.config.Log.Debug("an order was not carried out", "ike_sa", a.name, "err", err)
			return true
		}
	}
	a.r.config.Log.Error("an IKE SA cannot go on", "ike_sa", a.name, "host", a.host, "err", err)
	a.giveUp("an internal failure: " + err.Error())
	return false
}

// act runs what the machine asks for, in order, and stops at what fails: it is tried again.
func (a *association) act() {
	if !a.retryAt.IsZero() && a.r.now().Before(a.retryAt) {
		return
	}
	a.retryAt = time.Time{}
	a.index() // what is sent may be answered at once
	for actions := a.machine.Actions(); len(actions) > 0; actions = a.machine.Actions() {
		if err := a.do(actions[0]); err != nil {
			a.fail(err)
			return
		}
		a.machine.Done(1)
		a.failures = 0
	}
	a.index()
	a.publish()
}

// fail waits before the next try, or gives up.
func (a *association) fail(err error) {
	if a.r.ctx.Err() != nil {
		return
	}
	if !storeAway(err) {
		a.failures++
	}
	a.r.config.Log.Warn("an IKE SA is held up", "ike_sa", a.name, "peer", a.peer(), "host", a.host, "err", err, "tries", a.failures)
	if a.failures >= maxFailures {
		a.giveUp(err.Error())
		return
	}
	a.retryAt = a.r.now().Add(retryActions)
}

// storeAway reports whether etcd did not do what it was asked for. Then everything waits: nothing is wrong with the peer,
// what is installed carries traffic, and to give up would be to write as well.
func storeAway(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNoSpace) || errors.Is(err, store.ErrConflict)
}

// index makes the machine's SPIs lead to it.
func (a *association) index() {
	var now []ikewire.IKESPI
	for _, s := range a.machine.SPIs() {
		now = append(now, s.Local)
	}
	r := a.r
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range a.spis {
		if !slices.Contains(now, s) && r.bySPI[s] == a {
			delete(r.bySPI, s)
		}
	}
	for _, s := range now {
		r.bySPI[s] = a
	}
	a.spis = now
}

// end takes the association away from all that leads to it.
func (a *association) end() {
	r := a.r
	close(a.over)
	r.mu.Lock()
	for _, s := range a.spis {
		if r.bySPI[s] == a {
			delete(r.bySPI, s)
		}
	}
	if r.byName[a.name] == a {
		delete(r.byName, a.name)
	}
	for id, o := range r.bySA {
		if o == a {
			delete(r.bySA, id)
		}
	}
	a.forgetBeginning()
	r.mu.Unlock()
	r.nudge()
}

// forgetBeginning ends the time of being half open; the caller holds the reign's mu.
func (a *association) forgetBeginning() {
	if a.key != nil && a.r.begun[*a.key] == a {
		delete(a.r.begun, *a.key)
	}
}
