package ike

import (
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// beginDelete asks the peer to delete a child, RFC 7296 section 1.4.1, unless it is gone already.
func (m *Machine) beginDelete(now time.Time, sa *ikeSA, t task) error {
	protocol, spi := t.Protocol, t.SPI
	if t.Child != 0 {
		c := m.byID(t.Child)
		if c == nil {
			return nil
		}
		protocol, spi = c.Protocol, c.Inbound
	}
	_, err := m.request(now, sa, ikewire.Informational, []ikewire.Payload{ikewire.NewDelete(protocol, []uint32{spi})}, t)
	return err
}

// takeDelete removes the child, whatever the peer answered: it has heard of it.
func (m *Machine) takeDelete(now time.Time, sa *ikeSA, r *request, ps []ikewire.Payload) error {
	if c := m.byID(r.Task.Child); c != nil && r.Task.Child != 0 {
		m.remove(now, c, Reason(r.Task.Why))
	}
	return nil
}

// beginDeleteIKE asks the peer to delete the IKE SA: the association, or one that has been replaced.
func (m *Machine) beginDeleteIKE(now time.Time, sa *ikeSA, t task) error {
	_, err := m.request(now, sa, ikewire.Informational, []ikewire.Payload{ikewire.Delete{Protocol: ikewire.ProtocolIKE}}, t)
	return err
}

func (m *Machine) takeDeleteIKE(now time.Time, t task) error {
	reason := LocallyDeleted
	if m.CloseWhy != NoReason {
		reason = m.CloseWhy
	} else if t.Why == string(Expired) {
		reason = Expired
	}
	m.becomeClosed(now, reason, t.Why)
	return nil
}

// deletedChildren removes what the peer's Delete payloads name, by the SPIs that it receives with, and returns those of
// the other halves. Of children that this end is deleting too nothing is returned (RFC 7296 section 1.4.1).
func (m *Machine) deletedChildren(now time.Time, h ikewire.Header, ps []ikewire.Payload) []ikewire.Payload {
	var reply []ikewire.Payload
	for _, protocol := range []ikewire.ProtocolID{ikewire.ProtocolESP, ikewire.ProtocolAH} {
		var ours []uint32
		for _, d := range ikewire.All[ikewire.Delete](ps) {
			if d.Protocol != protocol {
				continue
			}
			for _, spi := range d.ChildSPIs() {
				c := m.byOutbound(protocol, spi)
				if c == nil {
					m.deletedUnknown(spi)
					continue
				}
				if m.underWay(taskDelete, c.ID) == nil {
					ours = append(ours, c.Inbound)
				}
				m.deletedChild(now, c)
			}
		}
		if len(ours) > 0 {
			reply = append(reply, ikewire.NewDelete(protocol, ours))
		}
	}
	return reply
}

const maxDeleted = 64 // SPIs that a peer can have us remember

// deletedUnknown remembers the SPI of a child that this end has not. When it is one that the peer has made for our
// request, and deleted before its answer came, the answer must not make it here.
func (m *Machine) deletedUnknown(spi uint32) {
	for _, o := range m.offers() {
		if len(o.Deleted) < maxDeleted {
			o.Deleted = append(o.Deleted, spi)
		}
	}
}

// offers are those of requests of ours that will make a child.
func (m *Machine) offers() []*offer {
	var all []*offer
	for _, sa := range m.SAs {
		if r := sa.Out.Request; r != nil && r.Task.Offer != nil && (r.Task.Kind == taskCreate || r.Task.Kind == taskRekey) {
			all = append(all, r.Task.Offer)
		}
	}
	return all
}

func (m *Machine) deletedChild(now time.Time, c *child) {
	reason := PeerDeleted
	switch {
	case c.ReplacedBy != 0:
		reason = Replaced
	case c.Replaces != 0 && c.Out != nil:
		reason = Redundant
	}
	ours := c.Deleting
	m.remove(now, c, reason)
	if p := m.Policy.child(c.Name); reason == PeerDeleted && !ours && p != nil && p.Reestablish && m.none(c.Name) {
		m.queue(task{Kind: taskCreate, Name: c.Name, NotBefore: now.Add(m.Policy.Timing.Retry)})
	}
}

// none reports whether there is no child of that policy, nor one that waits to be made.
func (m *Machine) none(name string) bool {
	for _, c := range m.Children {
		if c.Name == name && !c.Deleting {
			return false
		}
	}
	return !slices.ContainsFunc(m.Work, func(t task) bool { return t.Kind == taskCreate && t.Name == name })
}

// deletedIKE takes the peer's Delete of an IKE SA. Three things may be meant (RFC 7296 sections 2.8.2 and 2.25.2): one
// that has been replaced; the old one in a collision that the peer has not noticed, so that ours is forgotten; or all.
func (m *Machine) deletedIKE(now time.Time, sa *ikeSA) ([]ikewire.Payload, error) {
	if sa == m.current() {
		r := sa.Out.Request
		if r == nil || m.rival(r.Task) == nil {
			m.becomeClosing(now, PeerDeleted, "")
			return nil, nil
		}
		m.inherit(now, sa, m.rival(r.Task))
	}
	sa.Dead, sa.Out.Request, sa.Linked = true, nil, nil
	sa.GoneAt = now.Add(m.Policy.Timing.Linger)
	m.note(now, Note{Exchange: ikewire.Informational, Event: Ended, Reason: Replaced, Detail: "IKE SA " + sa.local().String()})
	return nil, nil
}
