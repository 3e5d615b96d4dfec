package ike

import (
	"bytes"
	"fmt"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// afterInit goes on once the keys of IKE_SA_INIT are there: with IKE_INTERMEDIATE, or with IKE_AUTH.
func (m *Machine) afterInit(now time.Time, sa *ikeSA) error {
	if len(m.Handshake.Steps) > 0 {
		return m.sendIntermediate(now, sa)
	}
	if m.Peer.PPK {
		if err := m.mixPPK(m.Policy.PPK.Key); err != nil {
			return err
		}
	}
	m.Handshake.AuthID = sa.Out.NextID
	return m.askSign()
}

// sendAuth sends the IKE_AUTH request, RFC 7296 section 1.2.
func (m *Machine) sendAuth(now time.Time, c AUTHSigned) error {
	sa, hs := m.current(), m.Handshake
	if c.Failed != "" {
		m.becomeClosed(now, AuthenticationFailed, "no proof of ours: "+c.Failed)
		return nil
	}
	ps := []ikewire.Payload{ikewire.IDi{Identification: m.Policy.LocalID}}
	for _, cert := range c.Certificates {
		ps = append(ps, cert)
	}
	if m.Policy.InitialContact {
		ps = append(ps, ikewire.Notify{Type: ikewire.InitialContact})
	}
	for _, r := range c.CertRequests {
		ps = append(ps, r)
	}
	if m.Policy.RemoteID.Type != 0 {
		ps = append(ps, ikewire.IDr{Identification: m.Policy.RemoteID})
	}
	ps = append(ps, c.AUTH)
	if hs.PlainKeys != nil {
		ps = append(ps, ikewire.NewPPKIdentity(m.Policy.PPK.ID))
		if len(c.WithoutPPK) > 0 {
			ps = append(ps, ikewire.NewNoPPKAuth(c.WithoutPPK))
		}
	}
	if m.Policy.MOBIKE {
		ps = append(ps, ikewire.Notify{Type: ikewire.MOBIKESupported})
	}
	child, err := m.offerFirstChild()
	if err != nil {
		return err
	}
	m.note(now, Note{Exchange: ikewire.IKEAuth, MessageID: sa.Out.NextID, Ours: true, Event: Asked, Child: hs.Child.Name,
		Offered: append(proposalStrings(hs.Child.Proposals), selectorStrings(append(hs.Child.TSi, hs.Child.TSr...))...),
		Detail:  fmt.Sprintf("as %s, with %s", m.Policy.LocalID, c.AUTH.Method)})
	_, err = m.request(now, sa, ikewire.IKEAuth, append(ps, child...), task{Kind: taskAuth})
	return err
}

// offerFirstChild is what IKE_AUTH asks for beside authentication. A peer that cannot do without a child gets one even
// when we want none (RFC 6023 section 4).
func (m *Machine) offerFirstChild() ([]ikewire.Payload, error) {
	hs := m.Handshake
	if len(m.Policy.Children) == 0 || m.Policy.Childless && m.Peer.Childless {
		hs.Childless = true
		return nil, nil
	}
	var ps []ikewire.Payload
	if len(m.Policy.Request) > 0 {
		hs.Asked = true
		ps = append(ps, ikewire.CP{Type: ikewire.ConfigRequest, Attributes: m.Policy.Request})
	}
	policy := &m.Policy.Children[0]
	o, err := m.newOffer(policy, withoutKE(policy.Proposals), nil)
	if err != nil {
		return nil, err
	}
	if hs.Asked && policy.LocalDynamic {
		o.TSi = m.askedSelectors()
	}
	hs.Child = *o
	return append(ps, o.payloads(nil)...), nil
}

// takeAuth takes IKE_AUTH's answer and asks about the peer.
func (m *Machine) takeAuth(now time.Time, path Path, sa *ikeSA, w whole, ps []ikewire.Payload) error {
	hs := m.Handshake
	id, ok1 := ikewire.Find[ikewire.IDr](ps)
	auth, ok2 := ikewire.Find[ikewire.AUTH](ps)
	if !ok1 || !ok2 {
		return m.refusedAuth(now, ps)
	}
	if bytes.Equal(id.Body(), m.Policy.LocalID.Body()) {
		return m.abortAuth(now, sa, Reflected, "the peer says that it is us")
	}
	m.Peer.RemoteID = id.Identification
	m.Peer.MOBIKE = m.Policy.MOBIKE && has(ps, ikewire.MOBIKESupported)
	m.Peer.InitialContact = has(ps, ikewire.InitialContact)
	m.Peer.learnAddresses(ps)
	m.Peer.HTTPCertLookup = has(ps, ikewire.HTTPCertLookupSupported)
	m.Peer.PPKUsed = hs.PlainKeys != nil && has(ps, ikewire.PPKIdentity)
	if hs.PlainKeys != nil && !m.Peer.PPKUsed {
		if m.Policy.PPK.Required {
			return m.abortAuth(now, sa, PPKRequired, "the peer has not our PPK")
		}
		m.unmixPPK()
	}
	k, err := sa.keys()
	if err != nil {
		return err
	}
	hs.First, hs.Answer = w.First, w.Inside
	m.ask(m.verifyQuestion(ps, k, auth))
	return nil
}

// refusedAuth ends the machine after an answer that does not authenticate the peer.
func (m *Machine) refusedAuth(now time.Time, ps []ikewire.Payload) error {
	if has(ps, ikewire.RedirectTo) && m.obeyRedirect(now, ps, nil) == nil {
		return nil
	}
	reason, detail := AuthenticationFailed, "the answer has no IDr or no AUTH"
	if n, refused := firstError(ps); refused {
		reason, detail = reasonFor(n.Type), "the peer answered "+n.Type.String()
	}
	m.note(now, Note{Exchange: ikewire.IKEAuth, Ours: true, Event: Failed, Reason: reason, Detail: detail})
	m.becomeClosed(now, reason, detail)
	return nil
}

// abortAuth tells the peer, in an exchange of its own, that its proof is not good (RFC 7296 section 2.21.2), and ends
// the machine when that is answered or given up.
func (m *Machine) abortAuth(now time.Time, sa *ikeSA, reason Reason, detail string) error {
	m.CloseWhy = reason
	m.note(now, Note{Exchange: ikewire.IKEAuth, Ours: true, Event: Refused, Reason: reason, Detail: detail})
	n := ikewire.Notify{Type: ikewire.AuthenticationFailed}
	t := task{Kind: taskAuthFailed, Why: detail}
	if _, err := m.request(now, sa, ikewire.Informational, []ikewire.Payload{n}, t); err != nil {
		return err
	}
	sa.Out.Request.Attempt = max(0, m.Policy.Timing.Retransmits-1)
	return nil
}

// responderVerified goes on after the verdict.
func (m *Machine) responderVerified(now time.Time, c PeerVerified) error {
	sa, hs := m.current(), m.Handshake
	ps, err := ikewire.ParsePayloads(hs.First, hs.Answer)
	if err != nil {
		return err
	}
	m.settle(c.ID)
	if !c.Accepted {
		return m.abortAuth(now, sa, AuthenticationFailed, c.Reason)
	}
	if reason, why := m.unfit(c.Policy); reason != NoReason {
		return m.abortAuth(now, sa, reason, why)
	}
	if err := m.adopt(c.Policy); err != nil {
		return err
	}
	m.authenticate(now)
	if reply, ok := ikewire.Find[ikewire.CP](ps); ok && reply.Type == ikewire.ConfigReply && hs.Asked {
		m.Peer.Configuration = reply.Attributes
	}
	m.noticeLifetime(now, ps)
	offer, childless := hs.Child, hs.Childless
	m.establish(now)
	if childless {
		return nil
	}
	offer.Nonce = hs.Ni
	first := &request{ID: hs.AuthID, Exchange: ikewire.IKEAuth, Task: task{Kind: taskCreate, Name: offer.Name, Offer: &offer}}
	_, err = m.acceptChild(now, sa, first, ps, hs.Nr, nil)
	return err
}

// noticeLifetime heeds AUTH_LIFETIME, RFC 4478.
func (m *Machine) noticeLifetime(now time.Time, ps []ikewire.Payload) {
	n, ok := ikewire.FindNotify(ps, ikewire.AuthLifetime)
	if !ok {
		return
	}
	seconds, err := n.AuthLifetime()
	if err != nil || !m.Initiator {
		return
	}
	d := time.Duration(seconds) * time.Second
	if at := now.Add(d - d/10); m.ReauthAt.IsZero() || at.Before(m.ReauthAt) {
		m.ReauthAt = at
	}
}
