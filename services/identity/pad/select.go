package pad

import (
	"fmt"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// serves reports whether the host serves the entry.
func (e *entry) serves(host string) bool { return len(e.Hosts) == 0 || slices.Contains(e.Hosts, host) }

func (e *entry) sharesHost(other *entry) bool {
	return len(e.Hosts) == 0 || slices.ContainsFunc(e.Hosts, other.serves)
}

// clash: two entries that could both be chosen for an identity, neither more specific, are refused. Entries to
// which we are different ends are kept apart by the identity that the peer asks for.
func (e *entry) clash(other *entry) error {
	switch {
	case e.Name == other.Name:
		return fmt.Errorf("peer %q is there twice", e.Name)
	case !e.sharesHost(other), !e.Remote.Overlaps(other.Remote), !e.local.equal(other.local):
		return nil
	case e.Remote.Covers(other.Remote) != other.Remote.Covers(e.Remote):
		return nil
	}
	return fmt.Errorf("peers %q and %q on one host both take identities that are in %s and in %s: give one of them a pattern "+
		"inside the other's, another host, or another identity of ours", other.Name, e.Name, other.Remote, e.Remote)
}

// choose returns the one entry that the claim is judged by.
func (d *Database) choose(c Claim) (*entry, *Refusal) {
	called := d.find(c.Entry)
	if c.Entry != "" && called == nil {
		return nil, refuse(Misuse, "", "there is no peer %q", c.Entry)
	}
	id, err := exactly(c.Remote)
	if c.AUTH.Method == ikewire.AuthNull {
		id, err = NullIdentity(), nil // RFC 7619 section 2.2: what such a peer calls itself is ignored
	}
	if err != nil {
		return nil, refuse(BadIdentity, "give the peer an identity that is well-formed", "the peer's %s %s: %v", c.Role.payload(), c.Remote, err)
	}
	var fit []*entry
	for _, e := range d.entries {
		if e.serves(c.Host) && e.Remote.Covers(id) && (called == nil || e.local.equal(called.local)) {
			fit = append(fit, e)
		}
	}
	if len(fit) == 0 {
		return nil, d.unknown(c, id)
	}
	fit, refusal := c.asked(fit)
	if refusal != nil {
		return fit[0], refusal
	}
	best, refusal := mostSpecific(fit, id)
	if refusal == nil && called != nil && best != called {
		return called, refuse(OtherEntry, fmt.Sprintf("give the peer that answers an identity that is in %s only", called.Remote),
			"we called this peer, and who answered is %s, which is peer %s", id, best.Name)
	}
	return best, refusal
}

// unknown says why no entry fits.
func (d *Database) unknown(c Claim, id Pattern) *Refusal {
	if id.isNull() && c.AUTH.Method != ikewire.AuthNull {
		return refuse(BadIdentity, "give the peer an identity", "the peer says ID_NULL and authenticates by %s", c.AUTH.Method)
	}
	for _, e := range d.entries {
		if e.Remote.Covers(id) && !e.serves(c.Host) {
			return refuse(UnknownIdentity, fmt.Sprintf("let host %s serve peer %s, or send the peer to its hosts", c.Host, e.Name),
				"peer %s, whose identity is %s, spoke to host %s, which does not serve it", e.Name, id, c.Host)
		}
	}
	if e := d.find(c.Entry); e != nil {
		r := refuse(UnknownIdentity, fmt.Sprintf("change the peer's own identity to that, or the remote identity here to %s", id),
			"the peer says that it is %s, and %s is expected", id, e.Remote)
		r.Entry = e.Name
		return r
	}
	return refuse(UnknownIdentity, fmt.Sprintf("if it is a peer of yours, set the remote identity of one to %s", id),
		"no peer that host %s serves has the identity %s", c.Host, id)
}

// asked keeps the entries to which we are who the initiator asks for, if it asks (RFC 7296 section 2.6's IDr).
func (c Claim) asked(fit []*entry) ([]*entry, *Refusal) {
	if c.Role == Responder || c.Local.Type == 0 {
		return fit, nil
	}
	var kept []*entry
	for _, e := range fit {
		if e.local.Match(c.Local) {
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 {
		return fit, refuse(OtherLocalIdentity, fmt.Sprintf("change the remote identity on the peer to %s, or our identity here", fit[0].local),
			"the peer asks for %s, and to it we are %s", FormatIdentity(c.Local), fit[0].local)
	}
	return kept, nil
}

// mostSpecific returns the entry whose pattern is inside all others'. New has seen to it that there is one
// among those to which we are the same end.
func mostSpecific(fit []*entry, id Pattern) (*entry, *Refusal) {
	best := fit[0]
	for _, e := range fit[1:] {
		if best.Remote.Covers(e.Remote) {
			best = e
		}
	}
	for _, e := range fit {
		if e != best && (!e.Remote.Covers(best.Remote) || best.Remote.Covers(e.Remote)) {
			return best, refuse(AmbiguousIdentity, fmt.Sprintf("set the remote identity on the peer to %s or %s, so that it asks for one", best.local, e.local),
				"%s is both peer %s and peer %s, and it does not ask for one of our identities", id, best.Name, e.Name)
		}
	}
	return best, nil
}
