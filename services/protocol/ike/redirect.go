package ike

import (
	"bytes"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// RedirectHello returns the answer to an IKE_SA_INIT request that sends its initiator to another gateway, RFC 5685
// section 3; it must have said REDIRECT_SUPPORTED. Error: ikewire's ErrLength.
func RedirectHello(h Hello, to ikewire.Redirect) ([]byte, error) {
	to.Nonce = h.Nonce
	n, err := ikewire.NewRedirect(ikewire.RedirectTo, to)
	if err != nil {
		return nil, err
	}
	return answerHello(h.SPI, n)
}

// obeyRedirect ends a handshake whose peer sends us elsewhere. In IKE_SA_INIT it must repeat our nonce, so that only who
// sees our messages can do that.
func (m *Machine) obeyRedirect(now time.Time, ps []ikewire.Payload, nonce []byte) error {
	n, _ := ikewire.FindNotify(ps, ikewire.RedirectTo)
	to, err := n.Redirect()
	switch {
	case err != nil:
		return malformed(err)
	case !m.Policy.Redirects:
		return reject(UnexpectedExchange, "REDIRECT, which we do not support")
	case nonce != nil && !bytes.Equal(to.Nonce, nonce):
		return reject(NotAuthentic, "REDIRECT without our nonce")
	}
	m.step.after = append(m.step.after, Redirected{Addr: to.Addr, Name: to.Name})
	m.becomeClosed(now, WasRedirected, n.String())
	return nil
}

// noticeRedirect tells of a REDIRECT during the association, RFC 5685 section 5. The caller decides when to leave.
func (m *Machine) noticeRedirect(now time.Time, ps []ikewire.Payload) {
	n, ok := ikewire.FindNotify(ps, ikewire.RedirectTo)
	if !ok || !m.Initiator || !m.Policy.Redirects {
		return
	}
	to, err := n.Redirect()
	if err != nil {
		return
	}
	m.note(now, Note{Exchange: ikewire.Informational, Event: Told, Reason: WasRedirected, Detail: n.String()})
	m.step.after = append(m.step.after, Redirected{Addr: to.Addr, Name: to.Name})
}
