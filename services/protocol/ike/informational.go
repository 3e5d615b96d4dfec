package ike

import (
	"bytes"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// answerInformational answers INFORMATIONAL, RFC 7296 section 1.4: deletes, MOBIKE, redirects, a sign of life.
func (m *Machine) answerInformational(now time.Time, path Path, sa *ikeSA, h ikewire.Header, ps []ikewire.Payload) ([]ikewire.Payload, error) {
	for _, d := range ikewire.All[ikewire.Delete](ps) {
		if d.Protocol == ikewire.ProtocolIKE {
			return m.deletedIKE(now, sa)
		}
	}
	if has(ps, ikewire.AuthenticationFailed) {
		m.becomeClosing(now, AuthenticationFailed, "told by the peer")
		return nil, nil
	}
	reply := m.deletedChildren(now, h, ps)
	moved, err := m.answerMOBIKE(now, path, sa, h, ps)
	if err != nil {
		return nil, err
	}
	reply = append(reply, moved...)
	m.noticeLifetime(now, ps)
	m.noticeRedirect(now, ps)
	for _, n := range ikewire.All[ikewire.Notify](ps) {
		if n.Type.IsError() {
			m.note(now, Note{Exchange: h.Exchange, MessageID: h.MessageID, Event: Told, Reason: reasonFor(n.Type), Detail: n.String()})
		}
	}
	return reply, nil
}

// beginInformational sends what tasks other than deletes are about; empty, it asks for a sign of life.
func (m *Machine) beginInformational(now time.Time, sa *ikeSA, t task) error {
	var ps []ikewire.Payload
	for _, n := range t.Notifies {
		ps = append(ps, n)
	}
	if t.Kind == taskMove || t.Kind == taskPath {
		h := sa.header(ikewire.Informational, sa.Out.NextID, false)
		more, err := m.moveNotifies(h, &t)
		if err != nil {
			return err
		}
		ps = append(ps, more...)
	}
	_, err := m.request(now, sa, ikewire.Informational, ps, t)
	return err
}

// takeInformational takes the answer.
func (m *Machine) takeInformational(now time.Time, path Path, sa *ikeSA, r *request, ps []ikewire.Payload) error {
	switch r.Task.Kind {
	case taskPath:
		m.takePath(now, path, r, ps)
	case taskMove:
		m.takeMove(now, path, r, ps)
	}
	return nil
}

func sameCookie2(want []byte, ps []ikewire.Payload) bool {
	n, ok := ikewire.FindNotify(ps, ikewire.Cookie2)
	return len(want) == 0 || ok && bytes.Equal(n.Data, want)
}
