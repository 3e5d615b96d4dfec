package ike

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// beginRekeyIKE asks to rekey the IKE SA, RFC 7296 section 1.3.2.
func (m *Machine) beginRekeyIKE(now time.Time, sa *ikeSA, t task) error {
	if m.ending(sa) {
		return nil
	}
	spi, err := m.newIKESPI()
	if err != nil {
		return err
	}
	o := &offer{IKESPI: spi, Proposals: offerOf(m.Policy.Proposals, spi[:]), Method: sa.Suite.KE}
	if !allowsKE(m.Policy.Proposals, o.Method) {
		o.Method = firstKE(m.Policy.Proposals)
	}
	if t.Method != 0 {
		o.Method = t.Method
	}
	if o.Nonce, err = m.newNonce(); err != nil {
		return err
	}
	private, public, err := m.keyPair(o.Method)
	if err != nil {
		return err
	}
	o.Private, t.Offer, t.SA = private, o, sa.local()
	m.note(now, Note{Exchange: ikewire.CreateChildSA, MessageID: sa.Out.NextID, Ours: true, Event: Asked,
		Offered: proposalStrings(o.Proposals), Detail: string(t.Kind)})
	ps := []ikewire.Payload{ikewire.SA{Proposals: o.Proposals}, ikewire.Nonce{Data: o.Nonce},
		ikewire.KE{Method: o.Method, Data: public}}
	_, err = m.request(now, sa, ikewire.CreateChildSA, ps, t)
	return err
}

// maxIKESAs bounds the replaced IKE SAs that a peer can leave behind.
const maxIKESAs = 8

// answerRekeyIKE answers a request to rekey the IKE SA, RFC 7296 sections 1.3.2, 2.18 and 2.25.
func (m *Machine) answerRekeyIKE(now time.Time, sa *ikeSA, h ikewire.Header, w wanted) ([]ikewire.Payload, error) {
	if m.ending(sa) || sa != m.current() {
		return nil, refuse(ikewire.TemporaryFailure, TemporaryFailure, "the IKE SA is replaced or being deleted")
	}
	if len(m.SAs) > maxIKESAs {
		return nil, refuse(ikewire.TemporaryFailure, TemporaryFailure, "too many replaced IKE SAs are there still")
	}
	if m.changingChildren() {
		return nil, refuse(ikewire.TemporaryFailure, TemporaryFailure, "a child is being made, rekeyed or deleted")
	}
	if !w.HasKE || len(w.Ni) == 0 {
		return nil, refuse(ikewire.InvalidSyntax, Malformed, "KE or nonce is missing")
	}
	c, no := m.chooseIKE(w.SA, w.KE.Method, m.Peer.Intermediate)
	if no != nil {
		return nil, no
	}
	theirs, ok := ikeSPIOf(w.SA, c.Answer.Number)
	if !ok || theirs == sa.local() || theirs == sa.remote() {
		return nil, refuse(ikewire.InvalidSyntax, Malformed, "the proposal has no new SPI")
	}
	return m.startRekeyIKE(now, sa, h, w, c, theirs)
}

// changingChildren reports whether an exchange of ours about children is under way.
func (m *Machine) changingChildren() bool {
	for _, sa := range m.SAs {
		if r := sa.Out.Request; r != nil {
			switch r.Task.Kind {
			case taskCreate, taskRekey, taskDelete:
				return true
			}
		}
	}
	return false
}

func ikeSPIOf(ps []ikewire.Proposal, number uint8) (ikewire.IKESPI, bool) {
	for _, p := range ps {
		if p.Number == number && len(p.SPI) == len(ikewire.IKESPI{}) {
			spi := ikewire.IKESPI(p.SPI)
			return spi, !spi.IsZero()
		}
	}
	return ikewire.IKESPI{}, false
}

// startRekeyIKE makes the new IKE SA at once, or after IKE_FOLLOWUP_KE.
func (m *Machine) startRekeyIKE(now time.Time, sa *ikeSA, h ikewire.Header, w wanted, c choice, theirs ikewire.IKESPI) ([]ikewire.Payload, error) {
	public, secret, err := m.answerKE(c.KE, w.KE.Data)
	if err != nil {
		return nil, badPublic(err)
	}
	spi, err := m.newIKESPI()
	if err != nil {
		return nil, err
	}
	nonce, err := m.newNonce()
	if err != nil {
		return nil, err
	}
	answer := c.Answer
	answer.SPI = spi[:]
	reply := []ikewire.Payload{ikewire.SA{Proposals: []ikewire.Proposal{answer}}, ikewire.Nonce{Data: nonce},
		ikewire.KE{Method: c.KE, Data: public}}
	p := &newIKE{Choice: c, SPIi: theirs, SPIr: spi, Ni: w.Ni, Nr: nonce, Secrets: []key{secret}}
	if len(c.Additional) > 0 {
		return m.deferTo(sa, reply, pendingSA{Methods: c.Additional, IKE: p})
	}
	return reply, m.giveIKE(now, sa, p)
}

// newIKE is what an IKE SA that replaces another is made of.
type newIKE struct {
	Choice     choice
	SPIi, SPIr ikewire.IKESPI
	Ni, Nr     key
	Secrets    []key
}

func (old *ikeSA) successor(p *newIKE, initiator bool) (*ikeSA, error) {
	suite := p.Choice.suite()
	rows, err := suite.rows()
	if err != nil {
		return nil, err
	}
	keys, err := old.keys()
	if err != nil {
		return nil, err
	}
	fresh, err := keys.Rekey(rows, p.Ni, p.Nr, p.SPIi, p.SPIr, plainBytes(p.Secrets)...)
	if err != nil {
		return nil, err
	}
	return &ikeSA{Initiator: initiator, SPIi: p.SPIi, SPIr: p.SPIr, Suite: suite, Keys: fresh.Marshal(),
		Chosen: proposalStrings([]ikewire.Proposal{p.Choice.Answer})[0], Low: lower(p.Ni, p.Nr)}, nil
}

// giveIKE is the responder's end of a rekeying. While ours is under way too, settleIKE decides later.
func (m *Machine) giveIKE(now time.Time, old *ikeSA, p *newIKE) error {
	fresh, err := old.successor(p, false)
	if err != nil {
		return err
	}
	m.SAs = append(m.SAs, fresh)
	if r := m.underWay(taskRekeyIKE, 0); r != nil {
		r.Task.Offer.RivalIKE = fresh.local()
		old.ReplacedBy = fresh.local()
		m.note(now, Note{Exchange: ikewire.CreateChildSA, Event: Collided, Detail: "both ends rekey the IKE SA"})
		return nil
	}
	m.inherit(now, old, fresh)
	return nil
}

// takeRekeyIKE takes the answer to beginRekeyIKE.
func (m *Machine) takeRekeyIKE(now time.Time, sa *ikeSA, r *request, ps []ikewire.Payload) error {
	t := r.Task
	if n, refused := firstError(ps); refused {
		m.refusedIKE(now, sa, r, n)
		return nil
	}
	m.Failing = time.Time{}
	got := readWanted(ps)
	c, b, ok := accept(t.Offer.Proposals, ikewire.SA{Proposals: got.SA})
	theirs, hasSPI := ikeSPIOf([]ikewire.Proposal{{SPI: b}}, 0)
	if !ok || !hasSPI || !got.HasKE || got.KE.Method != t.Offer.Method || c.KE != t.Offer.Method || len(got.Ni) == 0 {
		m.ruined(now, r, "the answer is not one to what was offered")
		return nil
	}
	secret, err := finishKE(c.KE, t.Offer.Private, got.KE.Data)
	if err != nil {
		m.ruined(now, r, err.Error())
		return nil
	}
	p := &newIKE{Choice: c, SPIi: t.Offer.IKESPI, SPIr: theirs, Ni: t.Offer.Nonce, Nr: got.Ni, Secrets: []key{secret}}
	if len(c.Additional) > 0 {
		return m.follow(now, sa, r, c.Additional, ps, followup{IKE: p})
	}
	return m.takeIKE(now, sa, t, p)
}

func (m *Machine) takeIKE(now time.Time, sa *ikeSA, t task, p *newIKE) error {
	fresh, err := sa.successor(p, true)
	if err != nil {
		return err
	}
	m.settleIKE(now, t, sa, fresh)
	return nil
}

// ruined ends an IKE SA that the peer believes to be replaced by one that this end cannot accept.
func (m *Machine) ruined(now time.Time, r *request, why string) {
	m.note(now, Note{Exchange: r.Exchange, MessageID: r.ID, Ours: true, Event: Failed, Reason: NoProposalChosen, Detail: why})
	m.queueFirst(task{Kind: taskDeleteIKE, Why: why})
}

// refusedIKE heeds a refusal to rekey the IKE SA.
func (m *Machine) refusedIKE(now time.Time, sa *ikeSA, r *request, n ikewire.Notify) {
	t := r.Task
	reason := reasonFor(n.Type)
	event := Failed
	if reason == TemporaryFailure || reason == InvalidKE {
		event = Retried
	}
	m.note(now, Note{Exchange: r.Exchange, MessageID: r.ID, Ours: true, Event: event, Reason: reason,
		Offered: proposalStrings(t.Offer.Proposals), Chosen: []string{n.Type.String()}})
	if m.rival(t) != nil {
		m.settleIKE(now, t, sa, nil)
		return
	}
	switch {
	case reason == TemporaryFailure:
		m.again(now, t)
	case reason == InvalidKE && t.Tries <= maxRetries:
		m.otherMethod(t, n)
	}
}
