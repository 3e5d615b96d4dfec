package ike

import (
	"bytes"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Additional key exchanges of CREATE_CHILD_SA, RFC 9370 section 2.2.4:
//
//	CREATE_CHILD_SA  SA with ADDKE, KE ──▶          ◀── SA, KE, N(ADDITIONAL_KEY_EXCHANGE)
//	IKE_FOLLOWUP_KE  KE, N(link)       ──▶          ◀── KE [, N(link)]
//	…                                               the last answer has no link: now the SA is made

// pendingSA is the responder's half of that.
type pendingSA struct {
	Link    []byte
	Methods []uint16 // yet to be done
	Child   *newChild
	IKE     *newIKE
}

// followup is the initiator's half.
type followup struct {
	Methods []uint16 // yet to be done; the first is under way
	Private key
	Secrets []key
	Nr      key
	First   ikewire.PayloadType // of Answer
	Answer  key                 // CREATE_CHILD_SA's, when it makes a child
	IKE     *newIKE             // when it rekeys the IKE SA
}

const linkLen = 16

// deferTo answers CREATE_CHILD_SA with a link to the exchanges that must follow.
func (m *Machine) deferTo(sa *ikeSA, reply []ikewire.Payload, p pendingSA) ([]ikewire.Payload, error) {
	link, err := m.newNonce()
	if err != nil {
		return nil, err
	}
	p.Link = link[:linkLen]
	sa.Linked = &p
	return append(reply, ikewire.NewAdditionalKeyExchange(p.Link)), nil
}

// answerFollowup answers IKE_FOLLOWUP_KE.
func (m *Machine) answerFollowup(now time.Time, path Path, sa *ikeSA, h ikewire.Header, ps []ikewire.Payload) ([]ikewire.Payload, error) {
	p := sa.Linked
	n, _ := ikewire.FindNotify(ps, ikewire.AdditionalKeyExchange)
	ke, ok := ikewire.Find[ikewire.KE](ps)
	switch {
	case p == nil || !bytes.Equal(n.Data, p.Link):
		return nil, refuse(ikewire.StateNotFound, UnexpectedExchange, "no exchange has that link")
	case !ok || ke.Method != p.Methods[0]:
		return nil, refuse(ikewire.InvalidSyntax, Malformed, "the KE payload is not of the method that is next")
	}
	public, secret, err := m.answerKE(ke.Method, ke.Data)
	if err != nil {
		return nil, badPublic(err)
	}
	reply := []ikewire.Payload{ikewire.KE{Method: ke.Method, Data: public}}
	secrets := append(p.secrets()[:len(p.secrets()):len(p.secrets())], secret)
	if len(p.Methods) > 1 {
		p.setSecrets(secrets)
		p.Methods = p.Methods[1:]
		return m.deferTo(sa, reply, *p)
	}
	if no := m.stillPossible(sa, p); no != nil {
		sa.Linked = nil
		return nil, no
	}
	p.setSecrets(secrets)
	sa.Linked = nil
	if p.IKE != nil {
		return reply, m.giveIKE(now, sa, p.IKE)
	}
	return reply, m.giveChild(now, sa, h, p.Child)
}

// stillPossible refuses what another exchange has made pointless meanwhile (RFC 7296 section 2.25).
func (m *Machine) stillPossible(sa *ikeSA, p *pendingSA) *refusal {
	if m.ending(sa) || p.IKE != nil && m.changingChildren() {
		return refuse(ikewire.TemporaryFailure, TemporaryFailure, "the IKE SA is replaced or being deleted")
	}
	if p.Child == nil || p.Child.Old == 0 {
		return nil
	}
	if old := m.byID(p.Child.Old); old == nil || old.Deleting || old.ReplacedBy != 0 {
		return refuse(ikewire.TemporaryFailure, TemporaryFailure, "the child is replaced or being deleted")
	}
	return nil
}

func (p *pendingSA) secrets() []key {
	if p.IKE != nil {
		return p.IKE.Secrets
	}
	return p.Child.Secrets
}

func (p *pendingSA) setSecrets(s []key) {
	if p.IKE != nil {
		p.IKE.Secrets = s
	} else {
		p.Child.Secrets = s
	}
}

// additional reports whether the answer chose additional key exchanges.
func (m *Machine) additional(r *request, ps []ikewire.Payload) (choice, bool) {
	sa, _ := ikewire.Find[ikewire.SA](ps)
	c, _, ok := accept(r.Task.Offer.Proposals, sa)
	return c, ok && len(c.Additional) > 0
}

func encodeAnswer(ps []ikewire.Payload) key {
	b, err := ikewire.AppendPayloads(nil, ps)
	if err != nil {
		return nil
	}
	return b
}

// follow sends the first IKE_FOLLOWUP_KE request, or the next.
func (m *Machine) follow(now time.Time, sa *ikeSA, r *request, methods []uint16, ps []ikewire.Payload, f followup) error {
	n, linked := ikewire.FindNotify(ps, ikewire.AdditionalKeyExchange)
	if !linked || len(n.Data) == 0 {
		m.unfollowed(now, r, "the answer has no ADDITIONAL_KEY_EXCHANGE")
		return nil
	}
	private, public, err := m.keyPair(methods[0])
	if err != nil {
		return err
	}
	f.Methods, f.Private = methods, private
	t := r.Task
	t.Follow = &f
	request := []ikewire.Payload{ikewire.KE{Method: methods[0], Data: public}, ikewire.NewAdditionalKeyExchange(n.Data)}
	_, err = m.request(now, sa, ikewire.IKEFollowupKE, request, t)
	return err
}

// takeFollowup takes the answer of IKE_FOLLOWUP_KE; after the last one the SA is made.
func (m *Machine) takeFollowup(now time.Time, sa *ikeSA, r *request, ps []ikewire.Payload) error {
	f := r.Task.Follow
	ke, ok := ikewire.Find[ikewire.KE](ps)
	if n, refused := firstError(ps); refused {
		r.Task.Follow = nil
		if f.IKE != nil {
			m.refusedIKE(now, sa, r, n)
		} else {
			m.refusedChild(now, r, n)
		}
		return nil
	}
	if !ok || ke.Method != f.Methods[0] {
		m.unfollowed(now, r, "the answer has not the KE payload that was agreed on")
		return nil
	}
	secret, err := finishKE(ke.Method, f.Private, ke.Data)
	if err != nil {
		m.unfollowed(now, r, err.Error())
		return nil
	}
	secrets := append(f.Secrets[:len(f.Secrets):len(f.Secrets)], secret)
	if len(f.Methods) > 1 {
		next := *f
		next.Secrets = secrets
		return m.follow(now, sa, r, f.Methods[1:], ps, next)
	}
	r.Task.Follow = nil
	if f.IKE != nil {
		f.IKE.Secrets = append(f.IKE.Secrets, secrets...)
		return m.takeIKE(now, sa, r.Task, f.IKE)
	}
	answer, err := ikewire.ParsePayloads(f.First, f.Answer)
	if err != nil {
		return err
	}
	_, err = m.acceptChild(now, sa, r, answer, f.Nr, secrets)
	return err
}

// unfollowed gives up an SA whose additional key exchanges the peer does not do as agreed.
func (m *Machine) unfollowed(now time.Time, r *request, why string) {
	if r.Task.Kind == taskRekeyIKE {
		m.ruined(now, r, why)
	} else {
		m.spoiled(now, r, why)
	}
}
