package ike

import (
	"fmt"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// newOffer is what a request for a child of that policy has in it. packet is the one that asks for the child.
func (m *Machine) newOffer(p *ChildPolicy, proposals []Proposal, packet *Packet) (*offer, error) {
	spi, err := m.newChildSPI()
	if err != nil {
		return nil, err
	}
	nonce, err := m.newNonce()
	if err != nil {
		return nil, err
	}
	o := &offer{Name: p.Name, SPI: spi, Nonce: nonce, Proposals: offerOf(proposals, spiBytes(spi)), Transport: p.Mode != Tunnel}
	o.TSi, o.TSr = m.selectors(p)
	if packet != nil {
		o.TSi = append([]ikewire.TrafficSelector{packet.Local}, o.TSi...)
		o.TSr = append([]ikewire.TrafficSelector{packet.Remote}, o.TSr...)
	}
	return o, nil
}

// payloads are the request's; public is the value of the KE payload, nil without one.
func (o *offer) payloads(public []byte) []ikewire.Payload {
	ps := []ikewire.Payload{ikewire.SA{Proposals: o.Proposals}}
	if public != nil {
		ps = append(ps, ikewire.Nonce{Data: o.Nonce}, ikewire.KE{Method: o.Method, Data: public})
	}
	ps = append(ps, ikewire.TSi{Selectors: o.TSi}, ikewire.TSr{Selectors: o.TSr})
	if o.Transport {
		ps = append(ps, ikewire.Notify{Type: ikewire.UseTransportMode})
	}
	return ps
}

// beginCreate asks for a new child, RFC 7296 section 1.3.1.
func (m *Machine) beginCreate(now time.Time, sa *ikeSA, t task) error {
	p := m.Policy.child(t.Name)
	if p == nil {
		return nil
	}
	return m.askChild(now, sa, t, p, nil)
}

// beginRekey asks to rekey a child, RFC 7296 section 1.3.3, unless it is gone or replaced.
func (m *Machine) beginRekey(now time.Time, sa *ikeSA, t task) error {
	old := m.byID(t.Child)
	if old == nil || old.Deleting || old.ReplacedBy != 0 {
		return nil
	}
	p := m.Policy.child(old.Name)
	if p == nil {
		return nil
	}
	return m.askChild(now, sa, t, p, old)
}

func (m *Machine) askChild(now time.Time, sa *ikeSA, t task, p *ChildPolicy, old *child) error {
	o, err := m.newOffer(p, p.Proposals, t.Packet)
	if err != nil {
		return err
	}
	var public []byte
	if o.Method = firstKE(p.Proposals); t.Method != 0 && o.Method != 0 {
		o.Method = t.Method
	}
	if o.Method != 0 {
		if o.Private, public, err = m.keyPair(o.Method); err != nil {
			return err
		}
	}
	var ps []ikewire.Payload
	if old != nil {
		ps = append(ps, ikewire.NewChildNotify(ikewire.RekeySA, old.Protocol, old.Inbound))
	}
	ps = append(ps, o.payloads(public)...)
	if public == nil {
		ps = append(ps, ikewire.Nonce{Data: o.Nonce})
	}
	t.Offer = o
	m.note(now, Note{Exchange: ikewire.CreateChildSA, MessageID: sa.Out.NextID, Ours: true, Event: Asked, Child: p.Name,
		Offered: proposalStrings(o.Proposals), Detail: string(t.Kind)})
	_, err = m.request(now, sa, ikewire.CreateChildSA, ps, t)
	return err
}

// takeChild takes the answer of CREATE_CHILD_SA for a child.
func (m *Machine) takeChild(now time.Time, sa *ikeSA, r *request, ps []ikewire.Payload) error {
	if n, refused := firstError(ps); refused {
		m.refusedChild(now, r, n)
		return nil
	}
	m.Failing = time.Time{}
	nonce, ok := ikewire.Find[ikewire.Nonce](ps)
	if !ok {
		m.spoiled(now, r, "the answer has no nonce")
		return nil
	}
	if c, ok := m.additional(r, ps); ok {
		return m.follow(now, sa, r, c.Additional, ps, followup{Answer: encodeAnswer(ps), First: ikewire.FirstType(ps), Nr: nonce.Data})
	}
	_, err := m.acceptChild(now, sa, r, ps, nonce.Data, nil)
	return err
}

// acceptChild makes the child that the peer has agreed to, with the secrets of follow-up exchanges. What it cannot
// accept it deletes at the peer.
func (m *Machine) acceptChild(now time.Time, sa *ikeSA, r *request, ps []ikewire.Payload, nr key, more []key) (*child, error) {
	o := r.Task.Offer
	if n, refused := firstError(ps); refused {
		m.refusedChild(now, r, n)
		return nil, nil
	}
	c, secret, why := m.checkChild(now, r, ps)
	if why != "" {
		m.spoiled(now, r, why)
		return nil, nil
	}
	var secrets []key
	if secret != nil {
		secrets = append([]key{secret}, more...)
	}
	c.Inbound, c.Low = o.SPI, lower(o.Nonce, nr)
	in, out, err := sa.keymat(c, o.Nonce, nr, secrets)
	if err != nil {
		return nil, err
	}
	m.noteMade(now, r.Exchange, r.ID, true, c, o.Proposals, chosenOf(ps))
	m.settleChild(now, r.Task, c, in, out)
	return c, nil
}

func chosenOf(ps []ikewire.Payload) ikewire.Proposal {
	sa, _ := ikewire.Find[ikewire.SA](ps)
	return sa.Proposals[0]
}

// checkChild checks the answer: nothing that was not offered. why says what is wrong with it.
func (m *Machine) checkChild(now time.Time, r *request, ps []ikewire.Payload) (made *child, secret []byte, why string) {
	o, got := r.Task.Offer, readWanted(ps)
	policy := m.Policy.child(o.Name)
	if policy == nil {
		return nil, nil, "the policy is no more"
	}
	c, spi, ok := accept(o.Proposals, ikewire.SA{Proposals: got.SA})
	switch {
	case !ok || spiOf(spi) < minSPI:
		return nil, nil, fmt.Sprintf("the peer chose what was not offered: %v", proposalStrings(got.SA))
	case !within(got.TSi, o.TSi) || !within(got.TSr, o.TSr):
		return nil, nil, fmt.Sprintf("the peer chose selectors that were not offered: %v to %v",
			selectorStrings(got.TSi), selectorStrings(got.TSr))
	case !policy.permits(got.TSi, got.TSr):
		return nil, nil, "the policy, which has changed meanwhile, does not allow what was offered"
	case got.Transport && !o.Transport:
		return nil, nil, "the peer chose transport mode, which was not offered"
	case policy.Mode == Transport && !got.Transport:
		return nil, nil, "the peer will not use transport mode"
	case m.byOutbound(c.Answer.Protocol, spiOf(spi)) != nil:
		return nil, nil, "the peer chose an SPI that it has already"
	}
	if c.KE != 0 {
		var err error
		if !got.HasKE || got.KE.Method != c.KE || c.KE != o.Method {
			return nil, nil, "the answer has not the KE payload that was agreed on"
		}
		if secret, err = finishKE(c.KE, o.Private, got.KE.Data); err != nil {
			return nil, nil, err.Error()
		}
	}
	made = m.describe(now, policy, c, true, got.TSi, got.TSr)
	made.Outbound, made.Transport = spiOf(spi), got.Transport
	return made, secret, ""
}

// spoiled deletes at the peer what this end does not accept.
func (m *Machine) spoiled(now time.Time, r *request, why string) {
	m.note(now, Note{Exchange: r.Exchange, MessageID: r.ID, Ours: true, Event: Failed, Reason: NoProposalChosen,
		Child: r.Task.Name, Detail: why})
	m.deleteOrphan(r.Task.Offer)
}

// deleteOrphan deletes a child that only the peer has.
func (m *Machine) deleteOrphan(o *offer) {
	m.Work = append(m.Work, task{Kind: taskDelete, Protocol: o.Proposals[0].Protocol, SPI: o.SPI, Why: string(Redundant)})
}

// refusedChild heeds a refusal.
func (m *Machine) refusedChild(now time.Time, r *request, n ikewire.Notify) {
	t := r.Task
	reason := reasonFor(n.Type)
	event := Failed
	switch {
	case reason == TemporaryFailure, reason == InvalidKE:
		event = Retried
	default:
		m.Failing = time.Time{}
	}
	m.note(now, Note{Exchange: r.Exchange, MessageID: r.ID, Ours: true, Event: event, Reason: reason, Child: t.Name,
		Offered: proposalStrings(t.Offer.Proposals), Chosen: []string{n.Type.String()}})
	old := m.byID(t.Child)
	switch {
	case reason == TemporaryFailure:
		m.again(now, t)
	case reason == InvalidKE && t.Tries <= maxRetries:
		m.otherMethod(t, n)
	case reason == ChildNotFound && old != nil && old.ReplacedBy == 0:
		// The peer has it no more: make it anew (RFC 7296 section 2.25).
		m.remove(now, old, ChildNotFound)
		m.queue(task{Kind: taskCreate, Name: old.Name})
	}
}

// otherMethod asks again with the key exchange that the peer wants, if it was offered.
func (m *Machine) otherMethod(t task, n ikewire.Notify) {
	method, err := n.KeyExchangeMethod()
	if err != nil {
		return
	}
	for _, p := range t.Offer.Proposals {
		if containsTransform(p.Transforms, ikewire.Transform{Type: ikewire.TransformKE, ID: method}) {
			t.Method = method
			m.Work = append([]task{t}, m.Work...)
			return
		}
	}
}
