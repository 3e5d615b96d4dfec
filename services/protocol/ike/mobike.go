package ike

import (
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// How the association moves between addresses:
//
//	MOBIKE (RFC 4555)       the initiator: Move ─▶ UPDATE_SA_ADDRESSES from the new path ─▶ answer ─▶ MoveChildren
//	                        the responder: UPDATE_SA_ADDRESSES ─▶ answer, COOKIE2 to the new path ─▶ MoveChildren
//	a NAT's new mapping     a peer behind a NAT is heard from elsewhere ─▶ probe there ─▶ answer ─▶ MoveChildren
//	(RFC 7296 section 2.23)

const cookie2Len = 16

// noticePath probes the path of an authentic message that came from elsewhere, if this end may follow at all: only when
// it is not behind a NAT itself, the peer is, and there is no MOBIKE.
func (m *Machine) noticePath(now time.Time, path Path, sa *ikeSA) {
	if path == m.Path || sa != m.current() || m.Probing != nil || m.Peer.MOBIKE || !m.Peer.NATRemote || m.Peer.NATLocal {
		return
	}
	m.probePath(now, path)
}

// probePath has the peer asked along a path, before all else that waits. What is under way, an older probe too, is
// repeated along both paths: the one that it went may be gone, and it holds the window.
func (m *Machine) probePath(now time.Time, path Path) {
	m.Probing = &path
	m.Work = slices.DeleteFunc(slices.Clone(m.Work), func(t task) bool { return t.Kind == taskPath })
	if r := m.current().Out.Request; r != nil {
		if r.Task.Kind == taskPath {
			if *r.Task.Path == path {
				return
			}
			r.Task.Kind, r.Path = taskProbe, m.Path
		}
		r.Attempt, r.Next = 0, now
	}
	m.Work = slices.Insert(m.Work, 0, task{Kind: taskPath, Path: &path})
}

// takePath moves to where a probe was answered from.
func (m *Machine) takePath(now time.Time, path Path, r *request, ps []ikewire.Payload) {
	m.Probing = nil
	if path == *r.Task.Path && sameCookie2(r.Task.Cookie2, ps) {
		m.moveTo(now, path)
	}
}

// moveTo moves the association and its children.
func (m *Machine) moveTo(now time.Time, path Path) {
	m.Path = path
	for _, c := range m.Children {
		c.Path, c.UDP = path, m.udp()
	}
	m.step.inbound = append(m.step.inbound, MoveChildren{Path: path, UDP: m.udp()})
	m.note(now, Note{Exchange: ikewire.Informational, Event: Moved, Detail: fmt.Sprintf("%s to %s", path.Local, path.Remote)})
}

// moveNotifies are what goes with a probe of a path, and with UPDATE_SA_ADDRESSES.
func (m *Machine) moveNotifies(h ikewire.Header, t *task) ([]ikewire.Payload, error) {
	cookie, err := m.newNonce()
	if err != nil {
		return nil, err
	}
	if !m.Peer.MOBIKE {
		return nil, nil
	}
	t.Cookie2 = cookie[:cookie2Len]
	ps := []ikewire.Payload{ikewire.NewCookie2(t.Cookie2)}
	if t.Kind == taskMove {
		ps = append(ps, ikewire.Notify{Type: ikewire.UpdateSAAddresses})
	}
	return append(ps, natDetection(h, *t.Path, m.Policy.ForceNAT)...), nil
}

// takeMove ends a move of ours, RFC 4555 section 3.5.
func (m *Machine) takeMove(now time.Time, path Path, r *request, ps []ikewire.Payload) {
	if n, refused := firstError(ps); refused || !sameCookie2(r.Task.Cookie2, ps) {
		m.note(now, Note{Exchange: ikewire.Informational, MessageID: r.ID, Ours: true, Event: Failed,
			Reason: PeerRefused, Detail: "the peer will not move: " + n.String()})
		return
	}
	h := m.current().header(ikewire.Informational, r.ID, true)
	if local, remote, supported := detectNAT(h, ps, path); supported {
		m.Peer.NATLocal, m.Peer.NATRemote = local || m.Policy.ForceNAT, remote
	}
	m.moveTo(now, *r.Task.Path)
}

// learnAddresses keeps the peer's other addresses, if the message speaks of them (RFC 4555 section 3.6).
func (p *peer) learnAddresses(ps []ikewire.Payload) {
	if addrs, told, err := ikewire.AdditionalAddresses(ps); err == nil && told {
		p.Additional = addrs
	}
}

// answerMOBIKE answers what RFC 4555 puts into INFORMATIONAL requests.
func (m *Machine) answerMOBIKE(now time.Time, path Path, sa *ikeSA, h ikewire.Header, ps []ikewire.Payload) ([]ikewire.Payload, error) {
	if !m.Peer.MOBIKE {
		return nil, nil
	}
	var reply []ikewire.Payload
	if n, ok := ikewire.FindNotify(ps, ikewire.Cookie2); ok {
		reply = append(reply, ikewire.Notify{Type: ikewire.Cookie2, Data: n.Data})
	}
	m.Peer.learnAddresses(ps)
	local, remote, supported := detectNAT(h, ps, path)
	if supported {
		reply = append(reply, natDetection(sa.header(h.Exchange, h.MessageID, true), path, m.Policy.ForceNAT)...)
	}
	if !has(ps, ikewire.UpdateSAAddresses) || m.Initiator {
		return reply, nil
	}
	if has(ps, ikewire.NoNATsAllowed) && (local || remote) {
		return nil, refuse(ikewire.UnexpectedNATDetected, PeerRefused, "NO_NATS_ALLOWED, but there is one")
	}
	udp := m.udp()
	if supported {
		m.Peer.NATLocal, m.Peer.NATRemote = local || m.Policy.ForceNAT, remote
	}
	switch {
	case path != m.Path:
		m.probePath(now, path)
	case udp != m.udp():
		m.moveTo(now, path)
	}
	return reply, nil
}
