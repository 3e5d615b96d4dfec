package plan

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
	"time"
)

// Limits are the times of Step; the zero value means the defaults.
type Limits struct {
	Drain      time.Duration // from the new generation to the old one's tombstone; default 10 s
	Linger     time.Duration // past the hard limit nobody holds a generation; default 1 h
	BackoffMin time.Duration // between refusals, doubling; default 1 s
	BackoffMax time.Duration // default 5 min
}

func (l Limits) withDefaults() Limits {
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	or(&l.Drain, 10*time.Second)
	or(&l.Linger, time.Hour)
	or(&l.BackoffMin, time.Second)
	or(&l.BackoffMax, 5*time.Minute)
	return l
}

// Step decides what to do about one pair now. The changes are in the order in which they matter and are
// written in one transaction; then, and whenever something of the situation changes, and at the
// deadline (zero: none), Step is called again. It reads nothing but its arguments and may be called any
// number of times.
func Step(s Situation, now time.Time, l Limits) (changes []Change, deadline time.Time) {
	p := stepper{s: &s, now: seconds(now), limits: l.withDefaults()}
	p.carrier = p.findCarrier()
	for i := range s.Generations {
		p.move(i)
	}
	p.create()
	if p.deadline == 0 {
		return p.changes, time.Time{}
	}
	return p.changes, time.Unix(int64(p.deadline), 0)
}

// stepper is one run of Step.
type stepper struct {
	s        *Situation
	now      uint32
	limits   Limits
	carrier  *Generation // the newest that carries traffic both ways; nil for none
	pending  bool        // a generation newer than the carrier is on its way
	changes  []Change
	deadline uint32
}

// findCarrier returns the newest generation that is established, or is now.
func (p *stepper) findCarrier() *Generation {
	for i := len(p.s.Generations) - 1; i >= 0; i-- {
		g := &p.s.Generations[i]
		up := g.Phase == Established || g.Phase == Outbound && g.Acks.Has(bothOut)
		if up && p.s.alive(g, p.now) {
			return g
		}
	}
	return nil
}

// move brings one generation to the phase that it should be in, or forgets it.
func (p *stepper) move(i int) {
	g := &p.s.Generations[i]
	if g.Phase == Deleting {
		p.forget(i)
		return
	}
	phase, cause := p.target(g)
	if phase != g.Phase {
		next := *g
		next.Phase, next.PhaseTime = phase, p.now
		p.changes = append(p.changes, Change{Kind: Advance, Cause: cause, Generation: next})
		g = &next
	}
	switch {
	case g.Phase < Established && p.s.alive(g, p.now) && !p.outdated(g):
		p.pending = true
		p.wake(g.Soft)
	case g.Phase == Draining:
		p.wake(p.drained(g))
	}
	p.wake(p.end(g))
}

// target is the phase that a generation should be in. One handler per state would repeat what they
// share: what ends a generation is the same in all of them.
func (p *stepper) target(g *Generation) (Phase, Cause) {
	older := p.carrier != nil && g.Number < p.carrier.Number
	switch {
	case p.now >= g.Hard:
		return Deleting, Expired
	case p.s.Policy == nil:
		return Deleting, NotWanted
	case !p.s.current(g) && older:
		return Deleting, Replaced
	case !p.s.current(g):
		return g.Phase, Progress // dead, or restored and perhaps in use: the next one is not there yet
	case g.RefusedBelow != 0 && g.Phase < Established && p.refusedEnough(g):
		return p.withdraw(g, Refused)
	case older:
		return p.withdraw(g, Replaced)
	case g.Phase == Draining:
		return p.withdraw(g, Progress)
	case g.Phase == Inbound && p.outdated(g):
		return Deleting, Outdated // in Outbound it may carry traffic already, acked or not: then it stays
	case g.Phase == Inbound && g.Acks.Has(bothIn):
		return Outbound, Progress
	case g.Phase == Outbound && g.Acks.Has(bothOut):
		return Established, Progress
	}
	return g.Phase, Progress
}

// refusedEnough: what was refused before anybody could send over it goes at once. Later, one direction
// may already work, perhaps together with another generation for the other: it stays until a newer one is
// established, or two more have been tried, so that a failing agent does not make the other end collect them.
func (p *stepper) refusedEnough(g *Generation) bool {
	newest := p.s.Generations[len(p.s.Generations)-1].Number
	return g.Phase == Inbound || newest-g.Number >= 2
}

// withdraw takes a generation out of use without losing what is under way: who may have its outbound
// half gives that up first, and packets that were sent still find the inbound half.
func (p *stepper) withdraw(g *Generation, why Cause) (Phase, Cause) {
	switch {
	case g.Phase == Inbound:
		return Deleting, why
	case g.Phase != Draining:
		return Draining, why
	case p.now >= p.drained(g) && p.switched(g):
		return Deleting, Progress
	}
	return Draining, why
}

// switched reports whether neither end sends over the generation any more: a newer one is established,
// or both have given up their outbound halves.
func (p *stepper) switched(g *Generation) bool {
	return p.carrier != nil && p.carrier.Number > g.Number || p.silent(g, true) && p.silent(g, false)
}

func (p *stepper) silent(g *Generation, a bool) bool {
	return g.acked(a, OutDeletedA, OutDeletedB) || p.s.lost(g, a)
}

// forget deletes the record of a tombstone that nobody needs.
func (p *stepper) forget(i int) {
	g := &p.s.Generations[i]
	over := p.end(g)
	cause := Acked
	switch {
	case p.now >= over:
		cause = Overdue
	case !p.gone(g, true) || !p.gone(g, false) || p.remembered(i):
		p.wake(over)
		return
	}
	p.changes = append(p.changes, Change{Kind: Forget, Cause: cause, Generation: *g})
}

// gone reports whether an end no longer holds the generation.
func (p *stepper) gone(g *Generation, a bool) bool {
	return g.acked(a, DeletedA, DeletedB) || p.s.lost(g, a)
}

// remembered keeps the last two generations of a pair that is not up: they count the numbers, and the
// time between them is the back-off.
func (p *stepper) remembered(i int) bool {
	g := &p.s.Generations[i]
	replaced := p.carrier != nil && p.carrier.Number > g.Number
	return p.s.Policy != nil && !replaced && i >= len(p.s.Generations)-2
}

// create makes the next generation when it is time for one.
func (p *stepper) create() {
	s := p.s
	if s.Policy == nil || !s.bothLive() || p.pending || !p.carrierEnds() {
		return
	}
	if p.carrier == nil && !p.worked() {
		if _, err := PathOf(s.A, s.B); err != nil {
			return
		}
	}
	at, cause := p.earliest()
	number, ok := p.nextNumber()
	if !ok {
		return
	}
	if p.now < at {
		p.wake(at)
		return
	}
	p.pending = true
	g := p.fresh(number)
	p.wake(g.Soft)
	p.changes = append(p.changes, Change{Kind: Create, Cause: cause, Generation: g})
}

// carrierEnds reports whether the carrier needs a successor; if not yet, the deadline is set.
func (p *stepper) carrierEnds() bool {
	g := p.carrier
	if g == nil {
		return true
	}
	for _, h := range []time.Time{p.s.Policy.RekeyBefore, p.s.A.RekeyBefore, p.s.B.RekeyBefore} {
		if before := ceil(h); g.Create < before {
			if p.now >= before {
				return true
			}
			p.wake(before) // by our clock it has not come: a generation made now would be too old as well
		}
	}
	p.wake(g.Soft)
	return p.outdated(g) || p.life(g) > wholeSeconds(p.s.Policy.Lifetime.Hard)
}

// outdated reports whether a generation is past its rekey time or not what the policy asks for.
func (p *stepper) outdated(g *Generation) bool {
	return p.now >= g.Soft || p.s.Policy == nil || g.Transform != p.s.Policy.Transform
}

// worked reports whether the pair has been up between the present agents or their forerunners: then
// there is a path, whatever the addresses that are known now suggest.
func (p *stepper) worked() bool {
	return slices.ContainsFunc(p.s.Generations, func(g Generation) bool {
		return g.Phase == Established || g.Phase == Draining
	})
}

// earliest returns when the next generation may be made and why it is: at once, unless two in a row were
// refused. Then the wait is twice the time between those two.
func (p *stepper) earliest() (uint32, Cause) {
	var refused []*Generation
	for i := range p.s.Generations {
		if g := &p.s.Generations[i]; g.RefusedBelow != 0 && p.s.current(g) {
			refused = append(refused, g)
		}
	}
	n := len(refused)
	switch {
	case n == 0 && p.carrier != nil:
		return 0, Rekey
	case n == 0 && len(p.s.Generations) == 0:
		return 0, FirstKey
	case n == 0 && p.s.current(&p.s.Generations[len(p.s.Generations)-1]):
		return 0, Rekey
	case n == 0:
		return 0, NewEpoch
	case n == 1 && refused[0].Phase >= Established: // an agent that gives up what works, again and again
		return refused[0].Create + wholeSeconds(2*p.limits.BackoffMin), Retry
	case n == 1:
		return 0, Retry
	}
	last, before := refused[n-1], refused[n-2]
	wait := 2 * time.Duration(last.Create-before.Create) * time.Second
	wait = min(max(wait, p.limits.BackoffMin), p.limits.BackoffMax)
	since := last.Create
	if last.Phase >= Draining {
		since = last.PhaseTime
	}
	return since + wholeSeconds(wait), Retry
}

// nextNumber is above every number seen and what an agent of the present life has asked for.
func (p *stepper) nextNumber() (uint32, bool) {
	var highest uint32
	for i := range p.s.Generations {
		g := &p.s.Generations[i]
		highest = max(highest, g.Number)
		if g.RefusedBelow != 0 && p.s.current(g) {
			highest = max(highest, g.RefusedBelow-1)
		}
	}
	return highest + 1, highest < math.MaxUint32
}

// fresh is a new generation, all but what is random.
func (p *stepper) fresh(number uint32) Generation {
	s, life := p.s, p.s.Policy.Lifetime
	g := Generation{
		Number: number, Phase: Inbound, EpochA: s.A.Epoch, EpochB: s.B.Epoch, Incarnation: s.Incarnation,
		Create: p.now, PhaseTime: p.now, Transform: s.Policy.Transform,
		Hard: p.now + wholeSeconds(life.Hard),
	}
	rekey := wholeSeconds(life.Rekey)
	g.Soft = p.now + rekey - jitter(s.ID, number, rekey/10)
	return g
}

// jitter spreads the rekeys of a fleet: 0 to most, the same for the same generation.
func jitter(id PairID, number, most uint32) uint32 {
	h := fnv.New64a()
	h.Write(id[:])
	h.Write(binary.BigEndian.AppendUint32(nil, number))
	return uint32(h.Sum64() >> 32 % uint64(most+1))
}

// life is how long a generation lasts, in seconds.
func (p *stepper) life(g *Generation) uint32 { return g.Hard - g.Create }

// drained is when nothing is under way any more. Times are cut to seconds: one more makes it enough.
func (p *stepper) drained(g *Generation) uint32 {
	return g.PhaseTime + wholeSeconds(p.limits.Drain) + 1
}

// end is the next time at which a generation ends by itself: its hard limit, then that of its tombstone.
func (p *stepper) end(g *Generation) uint32 {
	if g.Phase == Deleting {
		return g.Hard + wholeSeconds(p.limits.Linger)
	}
	return g.Hard
}

// wake moves the deadline to t if that is still to come and earlier.
func (p *stepper) wake(t uint32) {
	if t > p.now && (p.deadline == 0 || t < p.deadline) {
		p.deadline = t
	}
}

func wholeSeconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// ceil is the first whole second not before t; 0 for the zero time.
func ceil(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	s := seconds(t)
	if t.Nanosecond() > 0 {
		s++
	}
	return s
}
