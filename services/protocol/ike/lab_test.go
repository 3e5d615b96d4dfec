package ike

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// lab is two ends, a network between them, and virtual time.
//
//	alice (initiator) 192.0.2.1 ──── network: latency, rules ──── 192.0.2.2 bob (responder)
type lab struct {
	t          testing.TB
	now        time.Time
	alice, bob *end
	flight     []packet
	rule       func(p *packet) fate // what the network does to a datagram; nil: it delivers
	sent       int                  // datagrams so far
	seq        int
	trace      []string
}

// packet is a datagram on its way, or a protected one of a child.
type packet struct {
	at       time.Time
	seq      int // order of those with one time
	from, to *end
	path     Path           // as the receiver sees it
	dst      netip.AddrPort // as the sender sees it
	datagram []byte
	number   int    // of all datagrams, from 1
	spi      uint32 // of a child's packet
}

// fate is what the network does to a datagram.
type fate struct {
	drop      bool
	duplicate bool
	delay     time.Duration
}

const latency = 10 * time.Millisecond

// epoch is the labs' first moment.
func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// newLab makes two ends with the policies. With restoring, each machine is replaced by what its snapshot gives after
// every step.
func newLab(t testing.TB, seed uint64, restoring bool, a, b Policy) *lab {
	l := &lab{t: t, now: epoch()}
	l.alice = newEnd(l, "alice", "192.0.2.1:500", seed, a, restoring)
	l.bob = newEnd(l, "bob", "192.0.2.2:500", seed+1<<32, b, restoring)
	l.alice.peer, l.bob.peer = l.bob, l.alice
	return l
}

// twice runs a test straight, and again with snapshot and restore after every step.
func twice(t *testing.T, test func(t *testing.T, restoring bool)) {
	for _, restoring := range []bool{false, true} {
		t.Run(fmt.Sprintf("restoring=%v", restoring), func(t *testing.T) { test(t, restoring) })
	}
}

func (l *lab) logf(format string, args ...any) {
	l.trace = append(l.trace, fmt.Sprintf("%8.3f ", l.now.Sub(epoch()).Seconds())+fmt.Sprintf(format, args...))
}

// fail ends the test with what has happened.
func (l *lab) fail(format string, args ...any) {
	l.t.Helper()
	for _, line := range l.trace {
		l.t.Log(line)
	}
	l.t.Fatalf(format, args...)
}

// send puts a datagram on the wire.
func (l *lab) send(from *end, p Path, datagram []byte) {
	l.sent++
	to := from.peer
	out := packet{from: from, to: to, datagram: datagram, number: l.sent, path: l.translate(from, p), dst: p.Remote}
	f := fate{}
	if l.rule != nil {
		f = l.rule(&out)
	}
	h, _ := ikewire.ParseHeader(datagram)
	l.logf("%s → %d: %s %d%s %d bytes%s", from.name, l.sent, h.Exchange, h.MessageID, h.Flags, len(datagram), f)
	if f.drop {
		return
	}
	l.fly(out, latency+f.delay)
	if f.duplicate {
		l.fly(out, latency+f.delay+3*time.Millisecond)
	}
}

func (f fate) String() string {
	s := ""
	if f.drop {
		s += " DROPPED"
	}
	if f.duplicate {
		s += " TWICE"
	}
	if f.delay > 0 {
		s += " DELAYED " + f.delay.String()
	}
	return s
}

// translate is the sender's path as the receiver sees it: turned around, and behind the sender's NAT.
func (l *lab) translate(from *end, p Path) Path {
	source := p.Local
	if from.nat.IsValid() {
		source = netip.AddrPortFrom(from.nat, p.Local.Port()+from.natPorts)
	}
	local := p.Remote
	if to := from.peer; to.nat.IsValid() {
		local = netip.AddrPortFrom(to.addr, p.Remote.Port()-to.natPorts)
	}
	return Path{Local: local, Remote: source}
}

func (l *lab) fly(p packet, after time.Duration) {
	l.seq++
	p.at, p.seq = l.now.Add(after), l.seq
	l.flight = append(l.flight, p)
}

// run lets time pass until the moment, or until done says so.
func (l *lab) run(d time.Duration, done func() bool) bool {
	l.t.Helper()
	end := l.now.Add(d)
	same := 0 // events at one moment
	for range 100_000 {
		if done != nil && done() {
			return true
		}
		next, what := l.next()
		if what == nil || next.After(end) {
			l.now = end
			return done == nil
		}
		if same++; same > 500 {
			l.fail("time stands still")
		}
		if next.After(l.now) {
			l.now, same = next, 0
		}
		what()
	}
	l.fail("there is no end of events")
	return false
}

// next returns what happens first.
func (l *lab) next() (time.Time, func()) {
	var at time.Time
	var what func()
	seq := 0
	for i, p := range l.flight {
		if what == nil || p.at.Before(at) || p.at.Equal(at) && p.seq < seq {
			at, seq, what = p.at, p.seq, func() { l.deliver(i) }
		}
	}
	for _, e := range []*end{l.alice, l.bob} {
		if e.m == nil {
			continue
		}
		if d, ok := e.m.Deadline(); ok && (what == nil || d.Before(at)) {
			at, what = d, e.timeout
		}
	}
	return at, what
}

func (l *lab) deliver(i int) {
	p := l.flight[i]
	l.flight = append(l.flight[:i:i], l.flight[i+1:]...)
	if p.datagram == nil {
		p.to.protected(p.spi)
		return
	}
	p.to.receive(p.path, p.datagram)
}

// establish runs the handshake to its end.
func (l *lab) establish() {
	l.t.Helper()
	l.alice.initiate()
	if !l.run(2*time.Minute, func() bool { return l.alice.established && l.bob.established && len(l.flight) == 0 }) {
		l.fail("not established: %v %v", l.alice.notes, l.bob.notes)
	}
}

// settle runs until nothing is on its way and nothing waits, past every linger time.
func (l *lab) settle() { l.run(20*time.Minute, nil) }

// seeded is a deterministic source of randomness.
func seeded(seed uint64) *rand.ChaCha8 {
	var b [32]byte
	for i := range 8 {
		b[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(b)
}
