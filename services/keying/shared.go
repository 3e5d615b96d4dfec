package keying

import (
	"sync"

	"sallyport.dev/sallyport/services/protocol/ike"
)

// shared is what others may know of an association while it runs.
type shared struct {
	mu        sync.Mutex
	peer      string // name; empty while nobody is authenticated, but of one that we have called
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
