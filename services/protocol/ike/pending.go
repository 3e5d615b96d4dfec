package ike

import (
	"fmt"
	"time"
)

// step collects what one state change asks for; flush puts it into the order in which it must be run:
//
//	Note …, Persist, InstallInbound …, MoveChildren, Send …, InstallOutbound …, RemoveChild …, Established, questions, Closed
type step struct {
	notes, inbound, send, outbound, after []Action
}

func (s *step) empty() bool { return len(s.inbound)+len(s.send)+len(s.outbound)+len(s.after) == 0 }

// flush queues the actions of a step. From authentication on, each that is more than notes begins with Persist.
func (m *Machine) flush() {
	s := m.step
	m.step = step{}
	m.Pending = append(m.Pending, s.notes...)
	if s.empty() {
		return
	}
	if !m.Born.IsZero() {
		m.Pending = append(m.Pending, Persist{})
	}
	for _, actions := range [][]Action{s.inbound, s.send, s.outbound, s.after} {
		m.Pending = append(m.Pending, actions...)
	}
}

// Actions returns what is to be done, in order: everything that Done was not told of. The slice is the caller's; what
// it points to is not.
func (m *Machine) Actions() []Action { return append([]Action(nil), m.Pending...) }

// Done tells that the first n of Actions have been run. It panics when there are not so many.
func (m *Machine) Done(n int) {
	if n < 0 || n > len(m.Pending) {
		panic(fmt.Sprintf("ike: %d actions done of %d", n, len(m.Pending)))
	}
	m.Pending = append([]Action(nil), m.Pending[n:]...)
}

// waitingToSend reports whether messages are yet to leave: before they have, no cached reply is repeated.
func (s *state) waitingToSend() bool {
	for _, a := range s.Pending {
		if _, ok := a.(Send); ok {
			return true
		}
	}
	return false
}

func (m *Machine) transmit(p Path, datagrams [][]byte) {
	m.step.send = append(m.step.send, Send{Path: p, Datagrams: datagrams})
}

// repeat queues a message that left before: it needs no Persist.
func (m *Machine) repeat(p Path, datagrams [][]byte) {
	m.Pending = append(m.Pending, Send{Path: p, Datagrams: datagrams})
}

func (m *Machine) note(now time.Time, n Note) {
	n.At = now
	m.step.notes = append(m.step.notes, n)
}

// ask queues a question and keeps it until it is answered.
func (m *Machine) ask(a Action) {
	m.Open = append(m.Open, a)
	m.step.after = append(m.step.after, a)
}

// answered takes an open question of type Q off the list. Error: ErrStale.
func answered[Q Action](m *Machine, id QuestionID) (Q, error) {
	for _, a := range m.Open {
		if q, ok := a.(Q); ok && questionID(a) == id {
			return q, nil
		}
	}
	var none Q
	return none, ErrStale
}

// settle forgets a question.
func (m *Machine) settle(id QuestionID) {
	kept := m.Open[:0:0]
	for _, a := range m.Open {
		if questionID(a) != id {
			kept = append(kept, a)
		}
	}
	m.Open = kept
}

func questionID(a Action) QuestionID {
	switch q := a.(type) {
	case VerifyPeer:
		return q.ID
	case SignAUTH:
		return q.ID
	case FindPPK:
		return q.ID
	case AssignAddresses:
		return q.ID
	}
	return 0
}
