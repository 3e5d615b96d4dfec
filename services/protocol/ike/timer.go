package ike

import "time"

// Deadline returns when HandleTimeout has something to do, and whether it ever has.
func (m *Machine) Deadline() (time.Time, bool) {
	var first time.Time
	for _, at := range m.deadlines() {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first, !first.IsZero()
}

func (m *Machine) deadlines() []time.Time {
	switch m.Phase {
	case closed:
		return nil
	case closing:
		return []time.Time{m.EndAt}
	}
	all := []time.Time{m.EndAt, m.ReauthAt, m.halfOpenEnd(), m.probeAt()}
	for i, sa := range m.SAs {
		if i > 0 {
			all = append(all, sa.GoneAt)
		}
		if sa.Out.Request != nil {
			all = append(all, sa.Out.Request.Next)
		}
	}
	if m.Phase != established {
		return all
	}
	all = append(all, m.current().RekeyAt)
	for _, c := range m.Children {
		all = append(all, c.RekeyAt, c.EndAt, c.GoneAt)
	}
	for _, t := range m.Work {
		all = append(all, t.NotBefore)
	}
	return all
}

// halfOpenEnd is when a handshake that waits for the other end, or for a command, is over.
func (m *Machine) halfOpenEnd() time.Time {
	if m.Handshake == nil || m.current().Out.Request != nil {
		return time.Time{}
	}
	return m.Handshake.Began.Add(m.Policy.Timing.HalfOpen)
}

// probeAt is when the silence of the peer has lasted too long.
func (m *Machine) probeAt() time.Time {
	if m.Phase != established || m.Policy.Timing.DPD <= 0 || m.current().Out.Request != nil {
		return time.Time{}
	}
	return m.Heard.Add(m.Policy.Timing.DPD)
}

func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }

// HandleTimeout does what is due. Errors: those of Config's sources, see HandlePacket; ErrClosed.
func (m *Machine) HandleTimeout(now time.Time) error {
	if m.Phase == closed {
		return ErrClosed
	}
	switch {
	case due(now, m.EndAt) && m.Phase == closing:
		m.becomeClosed(now, m.CloseWhy, "")
	case due(now, m.EndAt):
		m.EndAt = time.Time{}
		m.queueFirst(task{Kind: taskDeleteIKE, Why: string(Expired)})
	case due(now, m.halfOpenEnd()):
		reason := HalfOpenTimeout
		if m.CloseWhy != NoReason {
			reason = m.CloseWhy
		}
		m.becomeClosed(now, reason, "")
	}
	if m.Phase == established {
		m.expire(now)
	}
	for _, sa := range append([]*ikeSA(nil), m.SAs...) {
		if m.Phase == closed {
			break // by one before it: there is no current IKE SA any more
		}
		if err := m.expireSA(now, sa); err != nil {
			return err
		}
	}
	return m.proceed(now)
}

// expireSA drops an IKE SA whose time is over, or repeats its request.
func (m *Machine) expireSA(now time.Time, sa *ikeSA) error {
	if due(now, sa.GoneAt) && sa != m.current() {
		m.drop(sa)
		return nil
	}
	return m.retransmit(now, sa)
}

// expire queues what the lifetimes ask for.
func (m *Machine) expire(now time.Time) {
	if due(now, m.ReauthAt) {
		m.ReauthAt = time.Time{}
		m.step.after = append(m.step.after, Reauthenticate{Deadline: m.EndAt})
	}
	if sa := m.current(); due(now, sa.RekeyAt) {
		sa.RekeyAt = time.Time{}
		m.queue(task{Kind: taskRekeyIKE})
	}
	if due(now, m.probeAt()) {
		m.Heard = now
		m.queue(task{Kind: taskProbe})
	}
	for _, c := range append([]*child(nil), m.Children...) {
		m.expireChild(now, c)
	}
}

func (m *Machine) expireChild(now time.Time, c *child) {
	switch {
	case due(now, c.GoneAt), due(now, c.EndAt):
		if c.ReplacedBy != 0 || c.Deleting {
			m.remove(now, c, Expired)
			return
		}
		c.EndAt, c.GoneAt = time.Time{}, time.Time{}
		c.Deleting = true
		m.queue(task{Kind: taskDelete, Child: c.ID, Why: string(Expired)})
	case due(now, c.RekeyAt):
		c.RekeyAt = time.Time{}
		m.queue(task{Kind: taskRekey, Child: c.ID, Name: c.Name})
	}
}
