package ike

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// settleChild puts a child of ours to use. When the peer has rekeyed the same child at the same time, the exchange with
// the lowest of the four nonces has lost, and who began it deletes what it made (RFC 7296 section 2.8.1):
//
//	ours lost:  delete our new child at the peer; the peer deletes the old one
//	ours won:   delete the old child; the peer deletes its new one
func (m *Machine) settleChild(now time.Time, t task, c *child, in, out key) {
	old, rival := m.byID(t.Child), m.byID(t.Offer.Rival)
	if rival != nil && bytes.Compare(c.Low, rival.Low) < 0 {
		m.note(now, Note{Exchange: ikewire.CreateChildSA, Ours: true, Event: Collided, Child: c.Name,
			Detail: fmt.Sprintf("the peer's child %08x stays, ours %08x goes", rival.Inbound, c.Inbound)})
		m.deleteOrphan(t.Offer)
		return
	}
	if old != nil {
		c.Replaces = old.ID
	}
	if slices.Contains(t.Offer.Deleted, c.Outbound) {
		m.note(now, Note{Exchange: ikewire.CreateChildSA, Ours: true, Event: Ended, Reason: PeerDeleted, Child: c.Name,
			Detail: "the peer has deleted it before its answer came"})
	} else {
		m.installInbound(c, in, out)
		m.installOutbound(c)
	}
	if old == nil {
		return
	}
	if rival != nil {
		m.note(now, Note{Exchange: ikewire.CreateChildSA, Ours: true, Event: Collided, Child: c.Name,
			Detail: fmt.Sprintf("our child %08x stays, the peer's %08x goes", c.Inbound, rival.Inbound)})
		rival.GoneAt = now.Add(m.Policy.Timing.Linger)
	}
	old.ReplacedBy, old.Deleting = c.ID, true
	old.RekeyAt, old.EndAt, old.GoneAt = time.Time{}, time.Time{}, time.Time{}
	m.Work = append(m.Work, task{Kind: taskDelete, Child: old.ID, Why: string(Replaced)})
}

// rival returns the IKE SA that the peer's rekeying has made while ours was under way; nil: there is none.
func (m *Machine) rival(t task) *ikeSA {
	if t.Offer == nil || t.Offer.RivalIKE.IsZero() {
		return nil
	}
	if sa := m.byLocal(t.Offer.RivalIKE); sa != nil && !sa.Dead {
		return sa
	}
	return nil
}

// settleIKE does the same for IKE SAs (RFC 7296 section 2.8.2). fresh is ours, nil when our exchange has failed.
func (m *Machine) settleIKE(now time.Time, t task, old, fresh *ikeSA) {
	rival := m.rival(t)
	switch {
	case fresh == nil && rival == nil:
		return
	case fresh == nil:
		m.inherit(now, old, rival)
	case rival != nil && bytes.Compare(fresh.Low, rival.Low) < 0:
		m.note(now, Note{Exchange: ikewire.CreateChildSA, Ours: true, Event: Collided,
			Detail: fmt.Sprintf("the peer's IKE SA %s stays, ours %s goes", rival.local(), fresh.local())})
		m.SAs = append(m.SAs, fresh)
		fresh.Redundant = true
		m.Work = append(m.Work, task{Kind: taskDropIKE, SA: fresh.local(), Why: string(Redundant)})
		m.inherit(now, old, rival)
	default:
		if rival != nil {
			m.note(now, Note{Exchange: ikewire.CreateChildSA, Ours: true, Event: Collided,
				Detail: fmt.Sprintf("our IKE SA %s stays, the peer's %s goes", fresh.local(), rival.local())})
			rival.Redundant, rival.RekeyAt = true, time.Time{}
			rival.GoneAt = now.Add(m.Policy.Timing.Linger)
		}
		m.SAs = append(m.SAs, fresh)
		m.inherit(now, old, fresh)
		old.GoneAt = time.Time{}
		m.Work = append(m.Work, task{Kind: taskDropIKE, SA: old.local(), Why: string(Replaced)})
	}
}

// inherit gives all children to the IKE SA that replaces the old one (RFC 7296 section 2.8). The peer, or a task, will
// delete the old one.
func (m *Machine) inherit(now time.Time, old, next *ikeSA) {
	old.ReplacedBy, old.RekeyAt = next.local(), time.Time{}
	old.GoneAt = now.Add(m.Policy.Timing.Linger)
	m.promote(next)
	next.GoneAt, next.Redundant = time.Time{}, false
	next.RekeyAt = m.soon(now, m.Policy.Timing.Rekey)
	if d := m.Policy.Timing.Lifetime; d > 0 {
		m.EndAt = now.Add(d)
	}
	m.note(now, Note{Exchange: ikewire.CreateChildSA, Event: Made, Chosen: []string{next.Chosen},
		Detail: fmt.Sprintf("IKE SA %s replaces %s", next.local(), old.local())})
}
