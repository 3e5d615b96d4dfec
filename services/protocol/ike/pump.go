package ike

import (
	"slices"
	"time"
)

// queue adds an exchange to those that wait, unless it is there or under way.
func (m *Machine) queue(t task) {
	if !m.wanted(t.Kind, t.Child) || t.Kind == taskCreate || t.Kind == taskDropIKE {
		m.Work = append(m.Work, t)
	}
}

// queueFirst adds an exchange before those that wait.
func (m *Machine) queueFirst(t task) {
	if !m.wanted(t.Kind, t.Child) {
		m.Work = slices.Insert(m.Work, 0, t)
	}
}

// wanted reports whether an exchange of that kind, about that child, waits or is under way.
func (m *Machine) wanted(kind taskKind, child uint64) bool {
	return m.underWay(kind, child) != nil || slices.ContainsFunc(m.Work, func(t task) bool {
		return t.Kind == kind && t.Child == child
	})
}

// underWay returns the request of that kind, about that child, that has no answer yet.
func (m *Machine) underWay(kind taskKind, child uint64) *request {
	for _, sa := range m.SAs {
		if r := sa.Out.Request; r != nil && r.Task.Kind == kind && r.Task.Child == child {
			return r
		}
	}
	return nil
}

// pump begins the exchanges whose time has come, in their order, as far as the windows are free.
func (m *Machine) pump(now time.Time) error {
	for i := range m.Work {
		if due(now, m.Work[i].NotBefore) {
			m.Work[i].NotBefore = time.Time{} // from now on it waits for the window alone
		}
	}
	for m.Phase == established && m.Handshake == nil {
		i := slices.IndexFunc(m.Work, func(t task) bool { return m.ready(now, t) })
		if i < 0 {
			return nil
		}
		t := m.Work[i]
		m.Work = slices.Delete(slices.Clone(m.Work), i, i+1)
		if err := m.begin(now, t); err != nil {
			return err
		}
		m.flush()
	}
	return nil
}

func (m *Machine) ready(now time.Time, t task) bool {
	sa := m.saOf(t)
	switch {
	case now.Before(t.NotBefore):
		return false
	case sa == nil || sa.Dead:
		return true // begin drops it
	case sa.Out.Request != nil:
		return false
	}
	return t.Kind != taskDeleteIKE || !m.dropping()
}

// dropping reports whether the peer is yet to hear which IKE SA is replaced: before it has, it could take the end of
// the new one for that of the loser of a collision.
func (m *Machine) dropping() bool {
	for _, sa := range m.SAs {
		if r := sa.Out.Request; r != nil && r.Task.Kind == taskDropIKE {
			return true
		}
	}
	return slices.ContainsFunc(m.Work, func(t task) bool { return t.Kind == taskDropIKE })
}

// saOf is the IKE SA on which a task runs; nil when it is gone.
func (m *Machine) saOf(t task) *ikeSA {
	if t.SA.IsZero() {
		return m.current()
	}
	return m.byLocal(t.SA)
}

// begin begins an exchange, or drops it when there is nothing left for it to do.
func (m *Machine) begin(now time.Time, t task) error {
	sa := m.saOf(t)
	if sa == nil || sa.Dead {
		return nil
	}
	t.Offer, t.Follow = nil, nil
	switch t.Kind {
	case taskCreate:
		return m.beginCreate(now, sa, t)
	case taskRekey:
		return m.beginRekey(now, sa, t)
	case taskRekeyIKE:
		return m.beginRekeyIKE(now, sa, t)
	case taskDelete:
		return m.beginDelete(now, sa, t)
	case taskDeleteIKE, taskDropIKE:
		return m.beginDeleteIKE(now, sa, t)
	}
	return m.beginInformational(now, sa, t)
}

// again queues a task whose exchange was answered TEMPORARY_FAILURE, for later: never at once (RFC 7296 section 2.25).
// After minutes of nothing else the two ends are out of step, and the IKE SA is deleted.
func (m *Machine) again(now time.Time, t task) {
	if m.Failing.IsZero() {
		m.Failing = now
	}
	if now.Sub(m.Failing) > outOfStep {
		m.queueFirst(task{Kind: taskDeleteIKE, Why: string(TemporaryFailure)})
		return
	}
	wait := m.Policy.Timing.Retry << min(t.Tries, 5)
	t.NotBefore = now.Add(wait/2 + m.vary(wait))
	m.Work = append(m.Work, t)
}

const outOfStep = 5 * time.Minute
