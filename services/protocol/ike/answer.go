package ike

import (
	"errors"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// refusal is an answer that says no: an error notify for the peer, a reason and a detail for the record.
type refusal struct {
	Notify ikewire.Notify
	Reason Reason
	Detail string
	Child  string
}

func (r *refusal) Error() string { return "ike: " + string(r.Reason) + ": " + r.Detail }

func refuse(t ikewire.NotifyType, reason Reason, detail string) *refusal {
	return &refusal{Notify: ikewire.Notify{Type: t}, Reason: reason, Detail: detail}
}

// answer runs the handler of a request. A handler returns the payloads of the answer, a *refusal, or neither when a
// question must be answered first; it refuses before it changes anything.
func (m *Machine) answer(now time.Time, path Path, sa *ikeSA, w whole, ps []ikewire.Payload) error {
	var reply []ikewire.Payload
	var err error
	switch w.Header.Exchange {
	case ikewire.IKEAuth:
		return m.answerAuth(now, path, sa, w, ps)
	case ikewire.IKEIntermediate:
		return m.answerIntermediate(now, path, sa, w, ps)
	case ikewire.CreateChildSA:
		reply, err = m.answerCreate(now, path, sa, w.Header, ps)
	case ikewire.IKEFollowupKE:
		reply, err = m.answerFollowup(now, path, sa, w.Header, ps)
	default:
		reply, err = m.answerInformational(now, path, sa, w.Header, ps)
	}
	return m.replyOr(now, path, sa, w.Header, reply, err)
}

// replyOr sends the answer, or the refusal.
func (m *Machine) replyOr(now time.Time, path Path, sa *ikeSA, h ikewire.Header, reply []ikewire.Payload, err error) error {
	if no, refused := errors.AsType[*refusal](err); refused {
		m.noteRefusal(now, h, no)
		reply, err = []ikewire.Payload{no.Notify}, nil
	}
	if err != nil {
		return err
	}
	return m.reply(path, sa, h, reply)
}

func (m *Machine) noteRefusal(now time.Time, h ikewire.Header, no *refusal) {
	m.note(now, Note{Exchange: h.Exchange, MessageID: h.MessageID, Event: Refused, Reason: no.Reason, Child: no.Child,
		Detail: no.Detail, Chosen: []string{no.Notify.Type.String()}})
}

// reply seals the answer to the request with that header, keeps its bytes, and moves the window on.
func (m *Machine) reply(path Path, sa *ikeSA, h ikewire.Header, ps []ikewire.Payload) error {
	_, err := m.replyAs(path, sa, h, ps)
	return err
}

func (m *Machine) replyAs(path Path, sa *ikeSA, h ikewire.Header, ps []ikewire.Payload) (intermediate []byte, err error) {
	datagrams, intermediate, err := m.seal(sa, sa.header(h.Exchange, h.MessageID, true), path, ps)
	if err != nil {
		return nil, err
	}
	sa.In = inbound{NextID: h.MessageID + 1, Response: datagrams}
	m.transmit(path, datagrams)
	return intermediate, nil
}

// refuseSyntax answers an authentic request that cannot be read. INVALID_SYNTAX ends the IKE SA at both ends (RFC 7296
// section 2.21.3), and before authentication so does every error.
func (m *Machine) refuseSyntax(now time.Time, path Path, sa *ikeSA, w whole, cause error) error {
	n, _ := ikewire.NotifyFor(cause)
	no := &refusal{Notify: n, Reason: Malformed, Detail: cause.Error()}
	if n.Type == ikewire.UnsupportedCriticalPayload {
		no.Reason = CriticalPayload
	}
	if err := m.replyOr(now, path, sa, w.Header, nil, no); err != nil {
		return err
	}
	if n.Type == ikewire.InvalidSyntax || m.Phase == halfOpen {
		m.becomeClosing(now, no.Reason, no.Detail)
	}
	return nil
}
