package fleet

import (
	"strings"
	"sync/atomic"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
)

// meter counts what the service does.
type meter struct {
	streams, updates, keys, removes, acks, expires atomic.Uint64
	nacks                                          [8]atomic.Uint64
}

func (m *meter) nack(reason fleetv1.NackReason) {
	if reason > 0 && int(reason) < len(m.nacks) {
		m.nacks[reason].Add(1)
	} else {
		m.nacks[0].Add(1)
	}
}

// Metrics is a snapshot of the service's numbers. Totals count since the process began.
type Metrics struct {
	// Open is the number of streams open now; Streams all that were admitted.
	Open    int
	Streams uint64
	// Updates are configurations and pairs sent, Keys associations, Removes tombstones.
	Updates, Keys, Removes uint64
	Acks, Expires          uint64
	// Nacks by reason, for example "burnt".
	Nacks map[string]uint64
	// Unanswered is the number of messages that agents have not answered yet; Queued that of pairs that
	// wait to be looked at; Unwritten that of records that wait to be written.
	Unanswered, Queued, Unwritten int
	// Lag is how many revisions the agent that is furthest behind has yet to hear of; 0 when all are in
	// step.
	Lag int64
	// Halted is true when nothing is delivered: see Service.Halted.
	Halted bool
}

// Metrics reads the numbers.
func (s *Service) Metrics() Metrics {
	m := Metrics{
		Streams: s.meter.streams.Load(), Updates: s.meter.updates.Load(), Keys: s.meter.keys.Load(),
		Removes: s.meter.removes.Load(), Acks: s.meter.acks.Load(), Expires: s.meter.expires.Load(),
		Nacks: make(map[string]uint64), Unwritten: s.writer.depth(),
	}
	_, m.Halted = s.Halted()
	for i := range s.meter.nacks {
		if n := s.meter.nacks[i].Load(); n > 0 {
			m.Nacks[nackName(fleetv1.NackReason(i))] = n
		}
	}
	head := s.config.View.Revision()
	for _, st := range s.open() {
		m.Open++
		unanswered, queued, settled := st.backlog()
		m.Unanswered += unanswered
		m.Queued += queued
		if unanswered+queued > 0 {
			m.Lag = max(m.Lag, head-settled)
		}
	}
	return m
}

// backlog says how much the agent has yet to do, and up to which revision it has done everything.
func (st *stream) backlog() (unanswered, queued int, settled int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.ledger.pending), len(st.queue), st.settled
}

func nackName(reason fleetv1.NackReason) string {
	return strings.ToLower(strings.TrimPrefix(reason.String(), "NACK_REASON_"))
}
