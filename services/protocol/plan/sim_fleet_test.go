package plan_test

import (
	"math"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// delivery is a pair that the fleet service has still to bring to one of its ends.
type delivery struct {
	uid  plan.UID
	pair plan.PairID
}

func (s *sim) wakeFleet(pair plan.PairID) {
	for _, uid := range []plan.UID{pair.A(), pair.B()} {
		s.deliver(delivery{uid, pair})
	}
}

func (s *sim) deliver(d delivery) {
	if !s.delivering[d] {
		s.delivering[d] = true
		s.deliveries = append(s.deliveries, d)
	}
}

// connect opens an agent's stream: the epoch is recorded first.
func (s *sim) connect(a *simAgent) {
	r, member := s.store.hosts[a.uid]
	if !member {
		s.wipe(a)
		return
	}
	a.connected, a.inbox = true, nil
	clear(a.sent)
	if a.epoch.IsZero() {
		*a = *newSimAgent(a.uid, s.newEpoch())
		a.connected = true
	}
	s.store.revision++
	r.epochRev, r.epoch, r.live = s.store.revision, a.epoch, true
	s.store.setHost(a.uid, r)
	for _, id := range sorted(s.store.pairs) {
		if id.Has(a.uid) {
			s.deliver(delivery{a.uid, id})
		}
	}
}

func (s *sim) disconnect(a *simAgent) {
	a.connected, a.inbox = false, nil
	clear(a.sent)
	if r, member := s.store.hosts[a.uid]; member && r.live {
		s.store.revision++
		r.live = false
		s.store.setHost(a.uid, r)
	}
}

// wipe is what Removed makes of an agent: it stops, and if the host comes back it begins a new life.
func (s *sim) wipe(a *simAgent) {
	a.connected, a.inbox, a.epoch = false, nil, plan.Epoch{}
	for h, sa := range a.holds {
		a.drop(h)
		s.forgetUp(sa.pair)
	}
}

// send puts on the stream what an agent's half of a pair still lacks.
func (s *sim) send(d delivery) {
	a := s.agents[d.uid]
	if a == nil || !a.connected {
		return
	}
	for _, g := range s.store.pairs[d.pair] {
		if end(g, d).epoch != a.epoch {
			continue
		}
		for _, m := range s.wants(g, d) {
			m.epoch = a.epoch
			if !a.sent[m] {
				a.sent[m] = true
				a.inbox = append(a.inbox, m)
			}
		}
	}
}

// simEnd is one end's part of a generation.
type simEnd struct {
	epoch                             plan.Epoch
	spiIn, spiOut                     uint32
	in, out, deleted, outDeletedIsAck plan.Acks
}

func end(g plan.Generation, d delivery) simEnd {
	if d.uid == d.pair.A() {
		return simEnd{g.EpochA, g.SPIBA, g.SPIAB, plan.InA, plan.OutA, plan.DeletedA, plan.OutDeletedA}
	}
	return simEnd{g.EpochB, g.SPIAB, g.SPIBA, plan.InB, plan.OutB, plan.DeletedB, plan.OutDeletedB}
}

// wants lists the messages that a generation's phase asks for and that are not acked.
func (s *sim) wants(g plan.Generation, d delivery) (ms []message) {
	e := end(g, d)
	add := func(v verb, out bool, ack plan.Acks) {
		if g.Acks.Has(ack) || v == install && g.Incarnation != s.store.incarnation {
			return
		}
		m := message{verb: v, out: out, pair: d.pair, id: g.ID, generation: g.Number, phase: g.Phase, spi: e.spiIn, hard: g.Hard}
		if out {
			m.spi = e.spiOut
		}
		ms = append(ms, m)
	}
	switch g.Phase {
	case plan.Inbound:
		add(install, false, e.in)
	case plan.Outbound, plan.Established:
		add(install, false, e.in)
		add(install, true, e.out)
	case plan.Draining:
		add(remove, true, e.outDeletedIsAck)
	case plan.Deleting:
		add(remove, true, e.deleted)
		add(remove, false, e.deleted)
	}
	return ms
}

// receive writes an ack or nack into the record if it is of the epoch that the record names, and that
// is still the host's.
func (s *sim) receive(r reply) {
	g, found := s.store.find(r.pair, r.generation)
	d := delivery{r.uid, r.pair}
	if !found || g.ID != r.id || end(g, d).epoch != r.epoch || s.store.hosts[r.uid].epoch != r.epoch {
		return
	}
	e, before := end(g, d), g
	switch {
	case r.refused:
		g.RefusedBelow = max(g.RefusedBelow, r.generation+1, uint32(min(uint64(r.highest)+1, math.MaxUint32)))
	case r.verb == install && r.out:
		g.Acks |= e.out
	case r.verb == install:
		g.Acks |= e.in
	case r.out && r.phase == plan.Draining:
		g.Acks |= e.outDeletedIsAck
	case !r.out:
		g.Acks |= e.deleted
	}
	if g != before {
		s.store.update(r.pair, g)
		s.wakeFleet(r.pair)
	}
}
