package ike

import (
	"bytes"
	"fmt"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Initiate begins an association. Errors: ErrConfig, what Config's sources return.
func Initiate(now time.Time, cfg Config, path Path) (*Machine, error) {
	m := &Machine{cfg: cfg}
	m.Policy = cfg.Policy.withDefaults()
	if err := m.check(); err != nil {
		return nil, err
	}
	m.Initiator, m.Path = true, path
	m.Handshake = &handshake{Began: now}
	sa := &ikeSA{Initiator: true}
	m.SAs = []*ikeSA{sa}
	var err error
	if sa.SPIi, err = m.newIKESPI(); err != nil {
		return nil, err
	}
	if m.Handshake.Ni, err = m.newNonce(); err != nil {
		return nil, err
	}
	m.Handshake.Offer.Method = firstKE(m.Policy.Proposals)
	if err := m.sendInit(now, sa); err != nil {
		return nil, err
	}
	return m, m.proceed(now)
}

// sendInit sends the IKE_SA_INIT request, RFC 7296 section 1.2: at first, and again with a COOKIE or another key
// exchange. The nonce stays, so that a cookie stays good.
func (m *Machine) sendInit(now time.Time, sa *ikeSA) error {
	hs := m.Handshake
	hs.Offer.Proposals = offerOf(m.Policy.Proposals, nil)
	private, public, err := m.keyPair(hs.Offer.Method)
	if err != nil {
		return err
	}
	hs.Offer.Private = private
	return m.sendInitWith(now, sa, public)
}

func (m *Machine) sendInitWith(now time.Time, sa *ikeSA, public []byte) error {
	hs := m.Handshake
	h := sa.header(ikewire.IKESAInit, 0, false)
	var ps []ikewire.Payload
	if hs.Cookie != nil {
		ps = append(ps, ikewire.NewCookie(hs.Cookie))
	}
	ps = append(ps, ikewire.SA{Proposals: hs.Offer.Proposals}, ikewire.KE{Method: hs.Offer.Method, Data: public},
		ikewire.Nonce{Data: hs.Ni})
	ps = append(ps, natDetection(h, m.Path, m.Policy.ForceNAT)...)
	ps = append(ps, m.features()...)
	ps = append(ps, m.initiatorFeatures()...)
	raw, err := (&ikewire.Message{Header: h, Payloads: ps}).Append(nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	hs.InitI, hs.Public = raw, public
	sa.Out.NextID = 0
	m.await(now, sa, ikewire.IKESAInit, m.Path, [][]byte{raw}, task{Kind: taskInit})
	m.note(now, Note{Exchange: ikewire.IKESAInit, Ours: true, Event: Asked, Offered: proposalStrings(hs.Offer.Proposals),
		Detail: fmt.Sprintf("to %s with %s", m.Path.Remote, methodName(hs.Offer.Method))})
	return nil
}

// initiatorFeatures are the notifies of IKE_SA_INIT that only an initiator sends.
func (m *Machine) initiatorFeatures() []ikewire.Payload {
	var ps []ikewire.Payload
	if m.Policy.wantsAdditional() {
		ps = append(ps, ikewire.Notify{Type: ikewire.IntermediateExchangeSupported})
	}
	if m.Policy.PPK.ID.Type != 0 {
		ps = append(ps, ikewire.Notify{Type: ikewire.UsePPK})
	}
	from := m.Policy.RedirectedFrom
	if from.Addr.IsValid() || from.Name != "" {
		if n, err := ikewire.NewRedirect(ikewire.RedirectedFrom, from); err == nil {
			return append(ps, n)
		}
	}
	if m.Policy.Redirects {
		ps = append(ps, ikewire.Notify{Type: ikewire.RedirectSupported})
	}
	return ps
}

// takeInit takes the IKE_SA_INIT response. It is not protected: whatever it says may be forged, so a refusal does not
// end the attempt before a true answer has had its time (RFC 7296 section 2.21.1).
func (m *Machine) takeInit(now time.Time, path Path, sa *ikeSA, msg *ikewire.Message) error {
	ps := msg.Payloads
	switch n, refused := firstError(ps); {
	case has(ps, ikewire.Cookie):
		return m.obeyCookie(now, sa, ps)
	case refused && n.Type == ikewire.InvalidKEPayload:
		return m.obeyInvalidKE(now, sa, n)
	case has(ps, ikewire.RedirectTo):
		return m.obeyRedirect(now, ps, m.Handshake.Ni)
	case refused:
		return m.heedRefusal(now, sa, n)
	}
	return m.acceptInit(now, path, sa, msg)
}

const maxRetries = 4 // COOKIE and INVALID_KE_PAYLOAD that are obeyed: an attacker may send any number

func (m *Machine) obeyCookie(now time.Time, sa *ikeSA, ps []ikewire.Payload) error {
	n, _ := ikewire.FindNotify(ps, ikewire.Cookie)
	cookie, err := n.Cookie()
	if err != nil {
		return malformed(err)
	}
	hs := m.Handshake
	if hs.Cookies == maxRetries || bytes.Equal(cookie, hs.Cookie) {
		return reject(TooMany, "cookies")
	}
	hs.Cookies++
	hs.Cookie = cookie
	m.note(now, Note{Exchange: ikewire.IKESAInit, Ours: true, Event: Retried, Reason: CookieWanted})
	return m.sendInitWith(now, sa, hs.Public)
}

func (m *Machine) obeyInvalidKE(now time.Time, sa *ikeSA, n ikewire.Notify) error {
	method, err := n.KeyExchangeMethod()
	hs := m.Handshake
	switch {
	case err != nil:
		return malformed(err)
	case hs.KERetries == maxRetries, method == hs.Offer.Method:
		return reject(TooMany, "INVALID_KE_PAYLOAD for %s", methodName(method))
	case !allowsKE(m.Policy.Proposals, method):
		return reject(InvalidKE, "the peer wants %s, which was not offered", methodName(method))
	}
	hs.KERetries++
	hs.Offer.Method = method
	m.note(now, Note{Exchange: ikewire.IKESAInit, Ours: true, Event: Retried, Reason: InvalidKE,
		Chosen: []string{methodName(method)}})
	return m.sendInit(now, sa)
}

// heedRefusal remembers a refusal that nobody has signed, and gives a true answer one more chance.
func (m *Machine) heedRefusal(now time.Time, sa *ikeSA, n ikewire.Notify) error {
	if m.CloseWhy != NoReason {
		return reject(reasonFor(n.Type), "again")
	}
	m.CloseWhy = reasonFor(n.Type)
	r := sa.Out.Request
	r.Attempt = max(r.Attempt, m.Policy.Timing.Retransmits-1)
	m.note(now, Note{Exchange: ikewire.IKESAInit, Ours: true, Event: Failed, Reason: m.CloseWhy,
		Offered: proposalStrings(m.Handshake.Offer.Proposals), Chosen: []string{n.Type.String()}})
	return nil
}

// acceptInit checks the whole answer before anything changes.
func (m *Machine) acceptInit(now time.Time, path Path, sa *ikeSA, msg *ikewire.Message) error {
	hs, ps := m.Handshake, msg.Payloads
	answer, ok1 := ikewire.Find[ikewire.SA](ps)
	ke, ok2 := ikewire.Find[ikewire.KE](ps)
	nonce, ok3 := ikewire.Find[ikewire.Nonce](ps)
	spi := msg.Header.ResponderSPI
	switch {
	case !ok1 || !ok2 || !ok3 || spi.IsZero():
		return reject(Malformed, "IKE_SA_INIT response without SA, KE, Nonce or SPI")
	case spi == sa.SPIi || bytes.Equal(nonce.Data, hs.Ni) || bytes.Equal(ke.Data, hs.Public):
		return reject(Reflected, "IKE_SA_INIT response with our own SPI, nonce or public value")
	}
	c, _, ok := accept(hs.Offer.Proposals, answer)
	if !ok || c.KE != hs.Offer.Method || ke.Method != c.KE {
		return reject(NoProposalChosen, "the peer chose what was not offered: %v", proposalStrings(answer.Proposals))
	}
	if len(c.Additional) > 0 && !has(ps, ikewire.IntermediateExchangeSupported) {
		return reject(Malformed, "additional key exchanges without INTERMEDIATE_EXCHANGE_SUPPORTED")
	}
	if m.Policy.PPK.Required && !has(ps, ikewire.UsePPK) {
		return reject(PPKRequired, "the peer has no USE_PPK")
	}
	rows, err := c.suite().rows()
	if err != nil {
		return &Rejection{NoProposalChosen, err}
	}
	secret, err := finishKE(c.KE, hs.Offer.Private, ke.Data)
	if err != nil {
		return err
	}
	keys, err := ikekeys.Derive(rows, hs.Ni, nonce.Data, secret, sa.SPIi, spi)
	if err != nil {
		return &Rejection{Malformed, err}
	}
	sa.SPIr, sa.Suite, sa.Keys = spi, c.suite(), keys.Marshal()
	sa.Chosen = proposalStrings([]ikewire.Proposal{c.Answer})[0]
	sa.Out.Request = nil
	hs.Nr, hs.InitR, hs.Offer.Private = nonce.Data, msg.Raw(), nil
	m.CloseWhy = NoReason
	m.Peer.learn(ps)
	m.Peer.PPK = has(ps, ikewire.UsePPK) && m.Policy.PPK.ID.Type != 0
	m.note(now, Note{Exchange: ikewire.IKESAInit, Ours: true, Event: Answered,
		Offered: proposalStrings(hs.Offer.Proposals), Chosen: []string{sa.Chosen}})
	m.float(now, msg, path)
	hs.Steps = c.Additional
	return m.afterInit(now, sa)
}

// float moves to port 4500 when there is a NAT, or when MOBIKE may need it (RFC 7296 section 2.23, RFC 4555 section 3.3).
func (m *Machine) float(now time.Time, msg *ikewire.Message, path Path) {
	p := &m.Peer
	p.NATLocal, p.NATRemote, p.SupportsNAT = detectNAT(msg.Header, msg.Payloads, path)
	p.NATLocal = p.NATLocal || m.Policy.ForceNAT && p.SupportsNAT
	if !m.udp() && !(m.Policy.MOBIKE && p.SupportsNAT) || path.Local.Port() == PortNAT {
		return
	}
	m.Path = m.Path.floated()
	m.note(now, Note{Exchange: ikewire.IKESAInit, Ours: true, Event: Moved,
		Detail: fmt.Sprintf("to port %d; NAT here %v, there %v", PortNAT, p.NATLocal, p.NATRemote)})
}
