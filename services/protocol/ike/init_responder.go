package ike

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// maxHello bounds what a half-open machine keeps of a request: more than the largest key exchange needs.
const maxHello = 16 << 10

// Respond answers an IKE_SA_INIT request. Cookies were the caller's matter before (ParseHello, CookieSecret). With an
// error there is no machine; what it returns beside it, if not nil, is the datagram that tells the initiator. Errors:
// *Rejection, ErrConfig, what Config's sources return.
func Respond(now time.Time, cfg Config, path Path, datagram []byte) (*Machine, []byte, error) {
	if len(datagram) > maxHello {
		return nil, nil, reject(TooMany, "IKE_SA_INIT request of %d bytes", len(datagram))
	}
	msg, err := ikewire.Parse(bytes.Clone(datagram))
	if err != nil {
		return nil, refuseHello(datagram, err), malformed(err)
	}
	if err := checkHello(msg.Header); err != nil {
		return nil, nil, err
	}
	m := &Machine{cfg: cfg}
	m.Policy = cfg.Policy.withDefaults()
	if err := m.check(); err != nil {
		return nil, nil, err
	}
	m.Path = path
	no, err := m.greet(now, msg)
	if no != nil {
		reply, _ := answerHello(msg.Header.InitiatorSPI, no.Notify)
		return nil, reply, reject(no.Reason, "%s", no.Detail)
	}
	if err != nil {
		return nil, nil, err
	}
	return m, nil, m.proceed(now)
}

// refuseHello answers a request that cannot be read, if it is one.
func refuseHello(datagram []byte, cause error) []byte {
	h, err := ikewire.ParseHeader(datagram)
	n, ok := ikewire.NotifyFor(cause)
	_, version := errors.AsType[*ikewire.VersionError](err)
	if err != nil && !version || !ok || !version && checkHello(h) != nil || h.Flags.Response() {
		return nil
	}
	reply, _ := answerHello(h.InitiatorSPI, n)
	return reply
}

// greet makes the responder's half of an IKE SA.
func (m *Machine) greet(now time.Time, msg *ikewire.Message) (*refusal, error) {
	ps := msg.Payloads
	offer, ok1 := ikewire.Find[ikewire.SA](ps)
	ke, ok2 := ikewire.Find[ikewire.KE](ps)
	nonce, ok3 := ikewire.Find[ikewire.Nonce](ps)
	if !ok1 || !ok2 || !ok3 {
		return refuse(ikewire.InvalidSyntax, Malformed, "IKE_SA_INIT request without SA, KE or Nonce"), nil
	}
	c, no := m.chooseIKE(offer.Proposals, ke.Method, has(ps, ikewire.IntermediateExchangeSupported))
	if no != nil {
		return no, nil
	}
	if m.Policy.PPK.Required && !has(ps, ikewire.UsePPK) {
		return refuse(ikewire.NoProposalChosen, PPKRequired, "the peer has no USE_PPK"), nil
	}
	rows, err := c.suite().rows()
	if err != nil {
		return nil, err
	}
	public, secret, err := m.answerKE(c.KE, ke.Data)
	if err != nil {
		return nil, err
	}
	sa := &ikeSA{SPIi: msg.Header.InitiatorSPI, Suite: c.suite(), In: inbound{NextID: 1}}
	sa.Chosen = proposalStrings([]ikewire.Proposal{c.Answer})[0]
	if sa.SPIr, err = m.newIKESPI(); err != nil {
		return nil, err
	}
	if sa.SPIr == sa.SPIi {
		return nil, reject(Reflected, "our own SPI")
	}
	hs := &handshake{Began: now, Ni: nonce.Data, InitI: msg.Raw(), Steps: c.Additional}
	if hs.Nr, err = m.newNonce(); err != nil {
		return nil, err
	}
	keys, err := ikekeys.Derive(rows, hs.Ni, hs.Nr, secret, sa.SPIi, sa.SPIr)
	if err != nil {
		return nil, &Rejection{Malformed, err}
	}
	sa.Keys = keys.Marshal()
	m.SAs, m.Handshake = []*ikeSA{sa}, hs
	m.Peer.learn(ps)
	m.Peer.PPK = has(ps, ikewire.UsePPK) && m.Policy.PPK.Use
	m.Peer.NATLocal, m.Peer.NATRemote, m.Peer.SupportsNAT = detectNAT(msg.Header, ps, m.Path)
	m.Peer.NATLocal = m.Peer.NATLocal || m.Policy.ForceNAT && m.Peer.SupportsNAT
	m.note(now, Note{Exchange: ikewire.IKESAInit, Event: Answered, Offered: proposalStrings(offer.Proposals),
		Chosen: []string{sa.Chosen}, Detail: fmt.Sprintf("from %s", m.Path.Remote)})
	return nil, m.replyInit(sa, c, public)
}

// chooseIKE chooses the transforms of an IKE SA for a request whose KE payload is of the method.
func (m *Machine) chooseIKE(offered []ikewire.Proposal, method uint16, intermediate bool) (choice, *refusal) {
	ours := m.Policy.Proposals
	if !intermediate {
		ours = withoutAdditional(ours)
	}
	c, ok := choose(ours, offered)
	switch {
	case !ok:
		return choice{}, refuse(ikewire.NoProposalChosen, NoProposalChosen, fmt.Sprintf("offered %v, allowed %v",
			proposalStrings(offered), proposalStrings(offerOf(ours, nil))))
	case c.KE != method:
		no := refuse(ikewire.InvalidKEPayload, InvalidKE,
			fmt.Sprintf("%s instead of %s", methodName(c.KE), methodName(method)))
		no.Notify = ikewire.NewInvalidKE(c.KE)
		return choice{}, no
	}
	return c, nil
}

// replyInit sends the IKE_SA_INIT response, RFC 7296 section 1.2.
func (m *Machine) replyInit(sa *ikeSA, c choice, public []byte) error {
	h := sa.header(ikewire.IKESAInit, 0, true)
	ps := []ikewire.Payload{ikewire.SA{Proposals: []ikewire.Proposal{c.Answer}},
		ikewire.KE{Method: c.KE, Data: public}, ikewire.Nonce{Data: m.Handshake.Nr}}
	ps = append(ps, natDetection(h, m.Path, m.Policy.ForceNAT)...)
	for _, r := range m.Policy.CertRequests {
		ps = append(ps, r)
	}
	ps = append(ps, m.features()...)
	ps = append(ps, ikewire.Notify{Type: ikewire.ChildlessIKEv2Supported})
	if len(c.Additional) > 0 {
		ps = append(ps, ikewire.Notify{Type: ikewire.IntermediateExchangeSupported})
	}
	if m.Peer.PPK {
		ps = append(ps, ikewire.Notify{Type: ikewire.UsePPK})
	}
	raw, err := (&ikewire.Message{Header: h, Payloads: ps}).Append(nil)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	m.Handshake.InitR = raw
	m.transmit(m.Path, [][]byte{raw})
	return nil
}
