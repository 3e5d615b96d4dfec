package ike

import (
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// HandleCommand takes an answer to a question, or a wish. Errors: ErrStale, ErrNotFound, ErrNotPossible, ErrConfig,
// ErrClosed, with which nothing has changed; what Config's sources return, see HandlePacket.
func (m *Machine) HandleCommand(now time.Time, c Command) error {
	if m.Phase == closed || m.Phase == closing {
		return ErrClosed
	}
	if err := m.obey(now, c); err != nil {
		return err
	}
	return m.proceed(now)
}

func (m *Machine) obey(now time.Time, c Command) error {
	switch c := c.(type) {
	case PeerVerified:
		return m.peerVerified(now, c)
	case AUTHSigned:
		return m.authSigned(now, c)
	case PPKFound:
		return m.ppkFound(now, c)
	case AddressesAssigned:
		return m.addressesAssigned(c)
	case DeleteIKE:
		m.deleteIKE(now, c)
		return nil
	}
	if m.Phase != established || m.Handshake != nil {
		return fmt.Errorf("%w: %T before the IKE SA is established", ErrNotPossible, c)
	}
	return m.obeyEstablished(now, c)
}

func (m *Machine) obeyEstablished(now time.Time, c Command) error {
	switch c := c.(type) {
	case CreateChild:
		if m.Policy.child(c.Name) == nil {
			return fmt.Errorf("%w: child policy %q", ErrNotFound, c.Name)
		}
		m.queue(task{Kind: taskCreate, Name: c.Name, Packet: c.Packet})
	case RekeyChild:
		return m.withChild(c.ID, func(old *child) { m.queue(task{Kind: taskRekey, Child: old.ID, Name: old.Name}) })
	case DeleteChild:
		return m.withChild(c.ID, func(old *child) { m.deleteChild(old, LocallyDeleted) })
	case RekeyIKE:
		m.queue(task{Kind: taskRekeyIKE})
	case Probe:
		m.queue(task{Kind: taskProbe})
	case InboundUsed:
		return m.withChild(c.ID, m.installOutbound)
	case Move:
		return m.move(now, c)
	case Redirect:
		return m.sendElsewhere(c)
	case SetPolicy:
		return m.setPolicy(c.Policy)
	default:
		return fmt.Errorf("%w: command %T", ErrNotPossible, c)
	}
	return nil
}

func (m *Machine) withChild(id uint64, do func(*child)) error {
	c := m.byID(id)
	if c == nil {
		return fmt.Errorf("%w: child %d", ErrNotFound, id)
	}
	do(c)
	return nil
}

// deleteChild queues the deletion of a child, and of what has replaced it.
func (m *Machine) deleteChild(c *child, why Reason) {
	for ; c != nil; c = m.byID(c.ReplacedBy) {
		if !c.Deleting {
			c.Deleting = true
			m.queue(task{Kind: taskDelete, Child: c.ID, Why: string(why)})
		}
	}
}

func (m *Machine) deleteIKE(now time.Time, c DeleteIKE) {
	if m.Phase == established && m.Handshake == nil && !m.wanted(taskDeleteIKE, 0) {
		m.queueFirst(task{Kind: taskDeleteIKE, Why: c.Why})
		return
	}
	m.becomeClosed(now, LocallyDeleted, c.Why)
}

func (m *Machine) peerVerified(now time.Time, c PeerVerified) error {
	if _, err := answered[VerifyPeer](m, c.ID); err != nil {
		return err
	}
	if c.Accepted && c.Policy != nil {
		next := c.Policy.withDefaults()
		if err := next.check(); err != nil {
			return err
		}
	}
	if m.Initiator {
		return m.responderVerified(now, c)
	}
	return m.initiatorVerified(now, c)
}

func (m *Machine) authSigned(now time.Time, c AUTHSigned) error {
	if _, err := answered[SignAUTH](m, c.ID); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	m.settle(c.ID)
	if m.Initiator {
		return m.sendAuth(now, c)
	}
	return m.sendAuthAnswer(now, c)
}

// check returns ErrConfig for what could not be sent.
func (c AUTHSigned) check() error {
	if c.Failed != "" {
		return nil
	}
	ps := []ikewire.Payload{c.AUTH}
	for _, cert := range c.Certificates {
		ps = append(ps, cert)
	}
	for _, r := range c.CertRequests {
		ps = append(ps, r)
	}
	if _, err := ikewire.AppendPayloads(nil, ps); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// move begins to move to another path, RFC 4555 section 3.5: only the initiator may, and only with MOBIKE.
func (m *Machine) move(now time.Time, c Move) error {
	if !m.Peer.MOBIKE || !m.Initiator {
		return fmt.Errorf("%w: only the initiator moves, and only with MOBIKE", ErrNotPossible)
	}
	path := c.Path
	if m.Path.Local.Port() == PortNAT {
		path = path.floated()
	}
	m.Work = append(m.Work, task{Kind: taskMove, Path: &path, Notifies: c.Additional})
	if r := m.current().Out.Request; r != nil {
		r.Path, r.Attempt, r.Next = path, 0, now // the old address may be gone (RFC 4555 section 3.5)
	}
	return nil
}

func (m *Machine) sendElsewhere(c Redirect) error {
	if m.Initiator || !m.Peer.Redirects {
		return fmt.Errorf("%w: the peer has not said REDIRECT_SUPPORTED", ErrNotPossible)
	}
	c.To.Nonce = nil
	n, err := ikewire.NewRedirect(ikewire.RedirectTo, c.To)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	m.queue(task{Kind: taskRedirect, Notifies: []ikewire.Notify{n}})
	return nil
}

// setPolicy changes the policy and deletes the children that it has no more, or not as wide. Those that this end had
// asked for are made again.
func (m *Machine) setPolicy(p Policy) error {
	if err := m.adopt(&p); err != nil {
		return err
	}
	for _, sa := range m.SAs {
		sa.Linked = nil // it was granted by the policy before
	}
	for _, c := range append([]*child(nil), m.Children...) {
		policy := m.Policy.child(c.Name)
		if policy.permits(c.Local, c.Remote) || c.Deleting {
			continue
		}
		m.deleteChild(c, LocallyDeleted)
		if again := (task{Kind: taskCreate, Name: c.Name}); policy != nil && c.Initiator && !m.waits(again) {
			m.queue(again)
		}
	}
	return nil
}

// waits reports whether a child of that policy is to be made already.
func (m *Machine) waits(t task) bool {
	return slices.ContainsFunc(m.Work, func(other task) bool { return other.Kind == t.Kind && other.Name == t.Name })
}
