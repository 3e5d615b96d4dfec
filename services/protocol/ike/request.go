package ike

import (
	"math"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// request seals and sends a request of ours, and keeps its bytes for retransmission. The window must be free.
func (m *Machine) request(now time.Time, sa *ikeSA, x ikewire.ExchangeType, ps []ikewire.Payload, t task) (intermediate []byte, err error) {
	path := m.Path
	if t.Path != nil {
		path = *t.Path
	}
	datagrams, intermediate, err := m.seal(sa, sa.header(x, sa.Out.NextID, false), path, ps)
	if err != nil {
		return nil, err
	}
	m.await(now, sa, x, path, datagrams, t)
	return intermediate, nil
}

// await sends a request and waits for its answer.
func (m *Machine) await(now time.Time, sa *ikeSA, x ikewire.ExchangeType, path Path, datagrams [][]byte, t task) {
	t.Tries++
	sa.Out.Request = &request{ID: sa.Out.NextID, Exchange: x, Datagrams: datagrams, Path: path, Task: t,
		Began: now, Next: now.Add(m.Policy.Timing.backoff(0))}
	sa.Out.NextID++
	m.transmit(path, datagrams)
}

// take hands an answer to who asked. A handler may reject it before it changes anything: then the request stays.
func (m *Machine) take(now time.Time, path Path, sa *ikeSA, w whole, ps []ikewire.Payload) error {
	r := sa.Out.Request
	t := r.Task
	if err := m.checkAnswer(w, ps, t); err != nil {
		return err
	}
	m.Heard = now
	sa.Out.Request = nil
	if t.Follow != nil {
		return m.takeFollowup(now, sa, r, ps)
	}
	switch t.Kind {
	case taskIntermediate:
		return m.takeIntermediate(now, sa, w, ps)
	case taskAuth:
		return m.takeAuth(now, path, sa, w, ps)
	case taskCreate, taskRekey:
		return m.takeChild(now, sa, r, ps)
	case taskRekeyIKE:
		return m.takeRekeyIKE(now, sa, r, ps)
	case taskDelete:
		return m.takeDelete(now, sa, r, ps)
	case taskDeleteIKE, taskAuthFailed:
		return m.takeDeleteIKE(now, t)
	case taskDropIKE:
		m.drop(sa)
		return nil
	}
	return m.takeInformational(now, path, sa, r, ps)
}

// checkAnswer rejects what no honest peer answers.
func (m *Machine) checkAnswer(w whole, ps []ikewire.Payload, t task) error {
	if nonce, ok := ikewire.Find[ikewire.Nonce](ps); ok && t.Offer != nil && string(nonce.Data) == string(t.Offer.Nonce) {
		return reject(Reflected, "our own nonce in %s", w.Header.Exchange)
	}
	return nil
}

// backoff is the time until the n-th retransmission, RFC 7296 section 2.1.
func (t Timing) backoff(n int) time.Duration {
	d := float64(t.RetransmitBase) * math.Pow(1.8, float64(min(n, 20)))
	return time.Duration(min(d, float64(60*time.Second)))
}

// retransmit repeats what is due on an IKE SA: the exact bytes, so that no IV is used for two texts.
func (m *Machine) retransmit(now time.Time, sa *ikeSA) error {
	r := sa.Out.Request
	if r == nil || now.Before(r.Next) {
		return nil
	}
	limit := m.Policy.Timing.Retransmits
	if r.Task.Kind == taskPath {
		limit = min(limit, pathAttempts)
	}
	if r.Attempt >= limit {
		return m.abandon(now, sa, r)
	}
	if !m.waitingToSend() {
		r.Attempt++
		m.repeat(r.Path, r.Datagrams)
		if p := m.Probing; p != nil && *p != r.Path && sa == m.current() {
			m.repeat(*p, r.Datagrams)
		}
		m.note(now, Note{Exchange: r.Exchange, MessageID: r.ID, Ours: true, Event: Repeated})
	}
	r.Next = now.Add(m.Policy.Timing.backoff(r.Attempt))
	return nil
}

// pathAttempts are the repetitions of a probe to an address from which one authentic packet has come: it may be forged,
// and other requests wait.
const pathAttempts = 2

// abandon gives up a request that nobody answers: the peer is dead, unless it was only an old IKE SA, or an address,
// that did not answer.
func (m *Machine) abandon(now time.Time, sa *ikeSA, r *request) error {
	m.note(now, Note{Exchange: r.Exchange, MessageID: r.ID, Ours: true, Event: Failed, Reason: PeerDead,
		Detail: string(r.Task.Kind) + ": no answer"})
	rival := m.rival(r.Task)
	switch {
	case r.Task.Kind == taskPath:
		// Not there, then. The peer may have seen the request all the same, so it goes on along the path that works.
		r.Path, r.Attempt, r.Task.Kind, m.Probing = m.Path, 0, taskProbe, nil
		r.Next = now
	case rival != nil:
		m.promote(rival)
		m.drop(sa)
	case sa != m.current():
		m.drop(sa)
	case r.Task.Kind == taskDeleteIKE:
		m.becomeClosed(now, LocallyDeleted, r.Task.Why)
	case m.CloseWhy != NoReason:
		m.becomeClosed(now, m.CloseWhy, "")
	default:
		m.becomeClosed(now, PeerDead, string(r.Task.Kind))
	}
	return nil
}
