package ike

import (
	"fmt"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// answerAuth begins to answer IKE_AUTH, RFC 7296 section 1.2:
//
//	IKE_AUTH ─▶ [FindPPK] ─▶ VerifyPeer ─▶ authenticated ─▶ [AssignAddresses] ─▶ SignAUTH ─▶ answer
//
// Until the peer is authenticated every error ends the machine.
func (m *Machine) answerAuth(now time.Time, path Path, sa *ikeSA, w whole, ps []ikewire.Payload) error {
	hs := m.Handshake
	if len(hs.Steps) > 0 {
		return reject(UnexpectedExchange, "IKE_AUTH before all key exchanges are done")
	}
	id, ok1 := ikewire.Find[ikewire.IDi](ps)
	_, ok2 := ikewire.Find[ikewire.AUTH](ps)
	sa.In.Asked = &asked{Header: w.Header, Path: path, First: w.First, Inside: w.Inside}
	m.Path = path
	switch {
	case !ok1:
		return m.failAuth(now, ikewire.InvalidSyntax, Malformed, "IKE_AUTH request without IDi")
	case !ok2:
		return m.failAuth(now, ikewire.AuthenticationFailed, AuthenticationFailed,
			"the peer wants EAP, which is not supported")
	}
	hs.AuthID = w.Header.MessageID
	m.Peer.RemoteID = id.Identification
	m.Peer.InitialContact = has(ps, ikewire.InitialContact)
	m.Peer.HTTPCertLookup = has(ps, ikewire.HTTPCertLookupSupported)
	m.Peer.MOBIKE = has(ps, ikewire.MOBIKESupported)
	m.Peer.learnAddresses(ps)
	m.Peer.CertRequests = ikewire.All[ikewire.CERTREQ](ps)
	if n, ok := ikewire.FindNotify(ps, ikewire.SupportedAuthMethods); ok {
		if methods, err := n.AuthAnnouncements(); err == nil {
			m.Peer.Methods = methods
		}
	}
	if n, ok := ikewire.FindNotify(ps, ikewire.PPKIdentity); ok && m.Peer.PPK {
		if id, err := n.PPKIdentity(); err == nil && id.Type != 0 {
			m.ask(FindPPK{ID: QuestionID(m.nextID()), PPK: id, IDi: m.Peer.RemoteID})
			return nil
		}
	}
	return m.verifyInitiator(now, ps)
}

// ppkFound goes on with the PPK, or without.
func (m *Machine) ppkFound(now time.Time, c PPKFound) error {
	if _, err := answered[FindPPK](m, c.ID); err != nil {
		return err
	}
	ps, err := m.askedPayloads()
	if err != nil {
		return err
	}
	m.settle(c.ID)
	if len(c.Key) > 0 {
		if err := m.mixPPK(c.Key); err != nil {
			return err
		}
	}
	return m.verifyInitiator(now, ps)
}

// askedPayloads reads the IKE_AUTH request that waits for its answer again.
func (m *Machine) askedPayloads() ([]ikewire.Payload, error) {
	a := m.current().In.Asked
	return ikewire.ParsePayloads(a.First, a.Inside)
}

// verifyInitiator asks about the peer. Without the PPK that it used, NO_PPK_AUTH counts (RFC 8784 section 3).
func (m *Machine) verifyInitiator(now time.Time, ps []ikewire.Payload) error {
	auth, _ := ikewire.Find[ikewire.AUTH](ps)
	k, err := m.current().keys()
	if err != nil {
		return err
	}
	if m.Handshake.PlainKeys == nil {
		plain, ok := ikewire.FindNotify(ps, ikewire.NoPPKAuth)
		if m.Policy.PPK.Required {
			return m.failAuth(now, ikewire.AuthenticationFailed, PPKRequired, "the peer used no PPK that we have")
		}
		if ok && has(ps, ikewire.PPKIdentity) {
			auth.Data = plain.Data
		}
	}
	m.ask(m.verifyQuestion(ps, k, auth))
	return nil
}

// failAuth answers IKE_AUTH with an error and ends the machine: nothing is told that helps an attacker.
func (m *Machine) failAuth(now time.Time, t ikewire.NotifyType, reason Reason, detail string) error {
	sa := m.current()
	a := sa.In.Asked
	if err := m.replyOr(now, a.Path, sa, a.Header, nil, refuse(t, reason, detail)); err != nil {
		return err
	}
	m.becomeClosing(now, reason, detail)
	return nil
}

// initiatorVerified goes on after the verdict.
func (m *Machine) initiatorVerified(now time.Time, c PeerVerified) error {
	ps, err := m.askedPayloads()
	if err != nil {
		return err
	}
	m.settle(c.ID)
	if !c.Accepted {
		return m.failAuth(now, ikewire.AuthenticationFailed, AuthenticationFailed, c.Reason)
	}
	if reason, why := m.unfit(c.Policy); reason != NoReason {
		return m.failAuth(now, ikewire.AuthenticationFailed, reason, why)
	}
	if err := m.adopt(c.Policy); err != nil {
		return err
	}
	m.authenticate(now)
	m.Handshake.Lifetime = c.AuthLifetime
	if request, ok := ikewire.Find[ikewire.CP](ps); ok && request.Type == ikewire.ConfigRequest {
		m.Handshake.Asked = true
		m.ask(AssignAddresses{ID: QuestionID(m.nextID()), Peer: m.Peer.RemoteID, Request: request.Attributes})
		return nil
	}
	return m.askSign()
}

func (m *Machine) addressesAssigned(c AddressesAssigned) error {
	if _, err := answered[AssignAddresses](m, c.ID); err != nil {
		return err
	}
	reply := ikewire.CP{Type: ikewire.ConfigReply, Attributes: c.Attributes}
	if _, err := ikewire.AppendPayloads(nil, []ikewire.Payload{reply}); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	m.settle(c.ID)
	m.Handshake.Assigned, m.Handshake.NoAddr = c.Attributes, c.Failed
	m.Peer.Configuration = c.Attributes
	return m.askSign()
}

func (m *Machine) askSign() error {
	q, err := m.signQuestion()
	if err != nil {
		return err
	}
	m.ask(q)
	return nil
}

// sendAuthAnswer answers IKE_AUTH.
func (m *Machine) sendAuthAnswer(now time.Time, c AUTHSigned) error {
	sa, hs := m.current(), m.Handshake
	a := sa.In.Asked
	request, err := m.askedPayloads()
	if err != nil {
		return err
	}
	if c.Failed != "" {
		return m.failAuth(now, ikewire.AuthenticationFailed, AuthenticationFailed, "no proof of ours: "+c.Failed)
	}
	ps := []ikewire.Payload{ikewire.IDr{Identification: m.Policy.LocalID}}
	for _, cert := range c.Certificates {
		ps = append(ps, cert)
	}
	ps = append(ps, c.AUTH)
	if hs.PlainKeys != nil {
		ps = append(ps, ikewire.NewPPKIdentity(ikewire.PPKID{}))
		m.Peer.PPKUsed = true
	}
	m.Peer.MOBIKE = m.Peer.MOBIKE && m.Policy.MOBIKE
	if m.Peer.MOBIKE {
		ps = append(ps, ikewire.Notify{Type: ikewire.MOBIKESupported})
	}
	if hs.Lifetime > 0 {
		ps = append(ps, ikewire.NewAuthLifetime(uint32(hs.Lifetime/time.Second)))
	}
	if hs.Asked && hs.NoAddr == "" {
		ps = append(ps, ikewire.CP{Type: ikewire.ConfigReply, Attributes: hs.Assigned})
	}
	child, err := m.answerFirstChild(now, sa, a.Header, request)
	if err != nil {
		return err
	}
	m.establish(now)
	return m.reply(a.Path, sa, a.Header, append(ps, child...))
}

// answerFirstChild makes the child that IKE_AUTH asks for, or says why there is none: then the IKE SA is there all the
// same (RFC 7296 section 1.2, RFC 6023).
func (m *Machine) answerFirstChild(now time.Time, sa *ikeSA, h ikewire.Header, request []ikewire.Payload) ([]ikewire.Payload, error) {
	want := readWanted(request)
	if want.childless() {
		return nil, nil
	}
	no := func(r *refusal) ([]ikewire.Payload, error) {
		m.noteRefusal(now, h, r)
		return []ikewire.Payload{r.Notify}, nil
	}
	if m.Handshake.NoAddr != "" {
		return no(refuse(ikewire.InternalAddressFailure, AddressFailure, m.Handshake.NoAddr))
	}
	want.Ni, want.First = m.Handshake.Ni, true
	g, r := m.grant(want, nil)
	if r != nil {
		return no(r)
	}
	spi, err := m.newChildSPI()
	if err != nil {
		return nil, err
	}
	p := &newChild{Wanted: want, Granted: g, Name: g.Policy.Name, SPI: spi, Nr: m.Handshake.Nr}
	return p.reply(), m.giveChild(now, sa, h, p)
}

// establish ends the handshake.
func (m *Machine) establish(now time.Time) {
	m.Peer.LocalID = m.Policy.LocalID
	m.step.after = append(m.step.after, Established{
		Initiator: m.Initiator, LocalID: m.Policy.LocalID, RemoteID: m.Peer.RemoteID,
		InitialContact: m.Peer.InitialContact, NATLocal: m.Peer.NATLocal, NATRemote: m.Peer.NATRemote, Path: m.Path,
		Configuration: m.Peer.Configuration, MOBIKE: m.Peer.MOBIKE, PPK: m.Peer.PPKUsed, IKE: m.current().Chosen,
	})
	m.note(now, Note{Exchange: ikewire.IKEAuth, Ours: m.Initiator, Event: Made, Chosen: []string{m.current().Chosen},
		Detail: m.Peer.RemoteID.String() + " is authenticated"})
	m.Handshake = nil
}
