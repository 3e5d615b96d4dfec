package ike

import (
	"crypto/rand"
	"math/big"
	"time"
)

// authenticate is the one place where the peer becomes authenticated: after PeerVerified has accepted it.
func (m *Machine) authenticate(now time.Time) {
	m.Phase = established
	m.Born, m.Heard = now, now
	sa := m.current()
	sa.RekeyAt = m.soon(now, m.Policy.Timing.Rekey)
	if d := m.Policy.Timing.Lifetime; d > 0 {
		m.EndAt = now.Add(d)
	}
	if d := m.Policy.Timing.Reauth; d > 0 {
		m.ReauthAt = now.Add(d)
	}
}

// becomeClosing ends a machine whose last answer must still be repeated when it gets lost. Its children go at once.
func (m *Machine) becomeClosing(now time.Time, reason Reason, detail string) {
	m.removeAll(reason)
	m.Phase, m.CloseWhy, m.Open, m.Work, m.Handshake = closing, reason, nil, nil, nil
	for _, sa := range m.SAs {
		sa.Out.Request, sa.In.Asked = nil, nil
	}
	linger := m.Policy.Timing.Linger
	if m.Born.IsZero() {
		linger = min(linger, m.Policy.Timing.HalfOpen)
	}
	m.EndAt = now.Add(linger)
	m.end(now, reason, detail)
}

// end tells that the association is over.
func (m *Machine) end(now time.Time, reason Reason, detail string) {
	m.note(now, Note{Event: Ended, Reason: reason, Detail: detail})
	m.step.after = append(m.step.after, Closed{Reason: reason, Detail: detail})
}

// Gone reports whether the machine may be forgotten: the association is over, and its last answer need no longer be
// repeated.
func (m *Machine) Gone() bool { return m.Phase == closed }

// becomeClosed ends a machine.
func (m *Machine) becomeClosed(now time.Time, reason Reason, detail string) {
	m.removeAll(reason)
	if m.Phase != closing {
		m.end(now, reason, detail)
	}
	m.Phase, m.CloseWhy, m.Open, m.Work, m.Handshake, m.SAs = closed, reason, nil, nil, nil, nil
}

func (m *Machine) removeAll(reason Reason) {
	for _, c := range m.Children {
		m.step.after = append(m.step.after, c.removal(reason, false))
	}
	m.Children = nil
}

// soon is a deadline up to a tenth before its time, so that two ends seldom rekey at once; zero without a duration.
func (m *Machine) soon(now time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return now.Add(d - m.vary(d/10))
}

// vary returns a random duration below d. Without randomness it is 0: it is no secret.
func (m *Machine) vary(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	n, err := rand.Int(m.cfg.Random, big.NewInt(int64(d)))
	if err != nil {
		return 0
	}
	return time.Duration(n.Int64())
}
