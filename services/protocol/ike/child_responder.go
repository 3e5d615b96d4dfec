package ike

import (
	"fmt"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// answerCreate answers CREATE_CHILD_SA, RFC 7296 section 1.3: a new child, a rekeyed child, a rekeyed IKE SA.
func (m *Machine) answerCreate(now time.Time, path Path, sa *ikeSA, h ikewire.Header, ps []ikewire.Payload) ([]ikewire.Payload, error) {
	w := readWanted(ps)
	if len(w.SA) > 0 && w.SA[0].Protocol == ikewire.ProtocolIKE {
		return m.answerRekeyIKE(now, sa, h, w)
	}
	if m.ending(sa) || m.underWay(taskRekeyIKE, 0) != nil {
		return nil, refuse(ikewire.TemporaryFailure, TemporaryFailure, "the IKE SA is being rekeyed or deleted")
	}
	var old *child
	if n, rekey := ikewire.FindNotify(ps, ikewire.RekeySA); rekey {
		var no *refusal
		if old, no = m.rekeyed(n); no != nil {
			return nil, no
		}
	}
	if limit := m.Policy.maxChildren(); len(m.Children) >= 2*limit || old == nil && len(m.Children) >= limit {
		return nil, refuse(ikewire.NoAdditionalSAs, NoAdditionalSAs, "too many children")
	}
	g, no := m.grant(w, old)
	if no != nil {
		return nil, no
	}
	return m.startChild(now, sa, h, w, g, old)
}

// ending reports whether an IKE SA is replaced or being deleted, so that nothing new is made on it (RFC 7296 section
// 2.25).
func (m *Machine) ending(sa *ikeSA) bool {
	r := sa.Out.Request
	return sa.Dead || !sa.ReplacedBy.IsZero() || sa.Redundant || r != nil && (r.Task.Kind == taskDeleteIKE || r.Task.Kind == taskDropIKE)
}

// rekeyed finds the child that REKEY_SA names, RFC 7296 sections 1.3.3 and 2.25.1.
func (m *Machine) rekeyed(n ikewire.Notify) (*child, *refusal) {
	protocol, spi, err := n.ChildSPI()
	if err != nil {
		return nil, refuse(ikewire.InvalidSyntax, Malformed, err.Error())
	}
	old := m.byOutbound(protocol, spi)
	switch {
	case old == nil && len(m.offers()) > 0:
		// It may be the one that an answer on its way to us is about to make.
		return nil, refuse(ikewire.TemporaryFailure, TemporaryFailure, "a child is being made")
	case old == nil:
		no := refuse(ikewire.ChildSANotFound, ChildNotFound, fmt.Sprintf("%s SPI %08x", protocol, spi))
		no.Notify = ikewire.NewChildNotify(ikewire.ChildSANotFound, protocol, spi)
		return nil, no
	case old.Deleting || old.ReplacedBy != 0:
		return nil, refuse(ikewire.TemporaryFailure, TemporaryFailure, "the child is being deleted")
	}
	return old, nil
}

// startChild makes the child at once, or after IKE_FOLLOWUP_KE.
func (m *Machine) startChild(now time.Time, sa *ikeSA, h ikewire.Header, w wanted, g granted, old *child) ([]ikewire.Payload, error) {
	nonce, err := m.newNonce()
	if err != nil {
		return nil, err
	}
	var secrets []key
	var public []byte
	if g.Choice.KE != 0 {
		var secret []byte
		if public, secret, err = m.answerKE(g.Choice.KE, w.KE.Data); err != nil {
			return nil, badPublic(err)
		}
		secrets = []key{secret}
	}
	spi, err := m.newChildSPI()
	if err != nil {
		return nil, err
	}
	p := &newChild{Wanted: w, Name: g.Policy.Name, Granted: g, SPI: spi, Nr: nonce, Secrets: secrets}
	reply := append(p.reply(), ikewire.Nonce{Data: nonce})
	if public != nil {
		reply = append(reply, ikewire.KE{Method: g.Choice.KE, Data: public})
	}
	if old != nil {
		p.Old = old.ID
	}
	if len(g.Choice.Additional) > 0 {
		return m.deferTo(sa, reply, pendingSA{Methods: g.Choice.Additional, Child: p})
	}
	return reply, m.giveChild(now, sa, h, p)
}

// newChild is what a child is made of at its responder.
type newChild struct {
	Wanted  wanted
	Granted granted
	Name    string // of the policy
	SPI     uint32 // inbound
	Old     uint64 // ID of the child that it replaces; 0: none
	Nr      key
	Secrets []key
}

// reply is the answer's payloads, but for nonce and KE.
func (p *newChild) reply() []ikewire.Payload {
	answer := p.Granted.Choice.Answer
	answer.SPI = spiBytes(p.SPI)
	reply := []ikewire.Payload{ikewire.SA{Proposals: []ikewire.Proposal{answer}},
		ikewire.TSi{Selectors: p.Granted.TSi}, ikewire.TSr{Selectors: p.Granted.TSr}}
	if p.Granted.Transport {
		reply = append(reply, ikewire.Notify{Type: ikewire.UseTransportMode})
	}
	return reply
}

// badPublic turns a bad public value of a request into an answer; it is no other error's.
func badPublic(err error) error {
	if r, ok := err.(*Rejection); ok && r.Reason == BadPublicValue {
		return refuse(ikewire.InvalidSyntax, BadPublicValue, r.Error())
	}
	return err
}

// giveChild makes a child as responder. The sending half of one that replaces another waits until its initiator has
// shown that it has it (RFC 7296 section 2.8).
func (m *Machine) giveChild(now time.Time, sa *ikeSA, h ikewire.Header, p *newChild) error {
	policy := m.Policy.child(p.Name)
	if policy == nil {
		return refuse(ikewire.NoProposalChosen, NoProposalChosen, "the child policy is no more")
	}
	g, w := p.Granted, p.Wanted
	c := m.describe(now, policy, g.Choice, false, g.SeenTSi, g.SeenTSr)
	c.Inbound, c.Outbound, c.Transport, c.Low = p.SPI, g.SPI, g.Transport, lower(w.Ni, p.Nr)
	in, out, err := sa.keymat(c, w.Ni, p.Nr, p.Secrets)
	if err != nil {
		return err
	}
	old := m.byID(p.Old)
	if old != nil {
		m.replaceByPeer(now, old, c)
	}
	m.installInbound(c, in, out)
	if old == nil {
		m.installOutbound(c)
	}
	m.noteMade(now, h.Exchange, h.MessageID, false, c, w.SA, g.Choice.Answer)
	return nil
}

// replaceByPeer notes that the peer's exchange replaces a child. When ours does the same at this moment, takeChild
// decides between the two.
func (m *Machine) replaceByPeer(now time.Time, old, c *child) {
	c.Replaces = old.ID
	if r := m.underWay(taskRekey, old.ID); r != nil {
		r.Task.Offer.Rival = c.ID
		m.note(now, Note{Exchange: ikewire.CreateChildSA, Event: Collided, Child: c.Name,
			Detail: "both ends rekey the child"})
	}
	old.ReplacedBy = c.ID
	old.RekeyAt, old.EndAt = time.Time{}, time.Time{}
	old.GoneAt = now.Add(m.Policy.Timing.Linger)
}

func (m *Machine) noteMade(now time.Time, x ikewire.ExchangeType, id uint32, ours bool, c *child, offered []ikewire.Proposal, chosen ikewire.Proposal) {
	m.note(now, Note{Exchange: x, MessageID: id, Ours: ours, Event: Made, Child: c.Name, Offered: proposalStrings(offered),
		Chosen: proposalStrings([]ikewire.Proposal{chosen}), Detail: childDetail(c)})
}

func childDetail(c *child) string {
	s := fmt.Sprintf("%s in %08x out %08x: %v to %v", c.Protocol, c.Inbound, c.Outbound,
		selectorStrings(c.Local), selectorStrings(c.Remote))
	if c.Transport {
		s += ", transport mode"
	}
	return s
}
