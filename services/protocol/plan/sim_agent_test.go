package plan_test

import (
	"sallyport.dev/sallyport/services/protocol/plan"
)

// half names one SA at one agent.
type half struct {
	id  plan.SAID
	out bool
}

// held is an SA that an agent has.
type held struct {
	pair       plan.PairID
	generation uint32
	spi        uint32
	hard       uint32
}

// burnt counts generations for one pair and direction.
type burnt struct {
	pair plan.PairID
	out  bool
}

// simAgent is the model of one agent process: an epoch, what it holds and the messages on their way.
type simAgent struct {
	uid       plan.UID
	epoch     plan.Epoch
	connected bool
	holds     map[half]held
	spis      map[uint32]plan.SAID
	highest   map[burnt]uint32
	inbox     []message
	sent      map[message]bool // the fleet service's memory of this stream
}

// verb is what a message asks for.
type verb uint8

const (
	install verb = iota
	remove
)

// message is an Update or a Remove on its way to an agent.
type message struct {
	verb       verb
	out        bool
	pair       plan.PairID
	id         plan.SAID
	generation uint32
	epoch      plan.Epoch // of the stream
	phase      plan.Phase // that it was sent for
	spi, hard  uint32
}

// reply is an ack or a nack on its way to the fleet service.
type reply struct {
	message
	uid     plan.UID
	highest uint32 // with refused: the highest generation held
	refused bool
}

func newSimAgent(uid plan.UID, epoch plan.Epoch) *simAgent {
	return &simAgent{
		uid: uid, epoch: epoch, holds: make(map[half]held), spis: make(map[uint32]plan.SAID),
		highest: make(map[burnt]uint32), sent: make(map[message]bool),
	}
}

// handle does what rule 1 of the design asks of an agent.
func (a *simAgent) handle(m message) reply {
	r := reply{message: m, uid: a.uid}
	h := half{m.id, m.out}
	if m.verb == remove {
		a.drop(h)
		return r
	}
	if _, have := a.holds[h]; have {
		return r
	}
	b := burnt{m.pair, m.out}
	if m.generation <= a.highest[b] {
		r.refused, r.highest = true, a.highest[b]
		return r
	}
	if _, clash := a.spis[m.spi]; clash && !m.out {
		r.refused = true
		return r
	}
	a.highest[b] = m.generation
	a.holds[h] = held{m.pair, m.generation, m.spi, m.hard}
	if !m.out {
		a.spis[m.spi] = m.id
	}
	return r
}

func (a *simAgent) drop(h half) {
	if sa, ok := a.holds[h]; ok && !h.out {
		delete(a.spis, sa.spi)
	}
	delete(a.holds, h)
}

// expire deletes what is past its hard limit and returns the pairs that lost something.
func (a *simAgent) expire(now uint32) (pairs []plan.PairID) {
	for h, sa := range a.holds {
		if now >= sa.hard {
			a.drop(h)
			pairs = append(pairs, sa.pair)
		}
	}
	return pairs
}

// sendsOn is the SA that the agent seals a pair's packets with: that of the highest generation.
func (a *simAgent) sendsOn(pair plan.PairID) (id plan.SAID, ok bool) {
	var highest uint32
	for h, sa := range a.holds {
		if h.out && sa.pair == pair && sa.generation > highest {
			highest, id, ok = sa.generation, h.id, true
		}
	}
	return id, ok
}
