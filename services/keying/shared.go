package keying

import (
	"sync"

	"sallyport.dev/sallyport/services/protocol/ike"
)

// shared is what others may know of an association while it runs.
type shared struct {
	mu        sync.Mutex
	peer      string // name; empty while nobody is authenticated, but of one that we have called
	revision  int64  // of the peer's spec that the machine's policy was made of
	initiator bool
	done      bool // the peer is authenticated
	status    ike.Status
	closing   bool // somebody has asked for its end
}

// peer is the name of the peer, if it is known.
func (a *association) peer() string {
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	return a.shared.peer
}

func (a *association) setPeer(name string) {
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	a.shared.peer = name
}

// setRevision notes which revision of the peer's spec the machine goes by.
func (a *association) setRevision(revision int64) {
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	a.shared.revision = revision
}

func (a *association) revision() int64 {
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	return a.shared.revision
}

// current reports whether the machine goes by the peer's spec as it is now.
func (a *association) current() bool {
	a.shared.mu.Lock()
	name, revision := a.shared.peer, a.shared.revision
	a.shared.mu.Unlock()
	p, ok := a.r.peerSpec(name)
	return ok && p.GetMetadata().GetRevision() == revision && serves(p.GetSpec(), a.host)
}

// established reports whether the peer is authenticated, and the end not near.
func (a *association) established() bool {
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	return a.shared.done && !a.shared.closing && a.shared.status.Phase == "established"
}

// live reports whether the association is not asked to end.
func (a *association) live() bool {
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	return !a.shared.closing && a.shared.status.Phase != "closing"
}

// status is the machine's as it was after the last step.
func (a *association) status() ike.Status {
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	return a.shared.status
}

// publish shows the machine as it is now.
func (a *association) publish() {
	s := a.machine.Status()
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	a.shared.status, a.shared.initiator = s, s.Initiator
	a.shared.done = !s.Established.IsZero()
}

// close asks the peer to end it all; false when that has been asked before.
func (a *association) close(why string) bool {
	a.shared.mu.Lock()
	first := !a.shared.closing
	a.shared.closing = true
	a.shared.mu.Unlock()
	return first && a.command(ike.DeleteIKE{Why: why})
}
