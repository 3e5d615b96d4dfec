package keying

import (
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikeid"
)

// do runs one action. It may be run again.
func (a *association) do(action ike.Action) error {
	switch x := action.(type) {
	case ike.Note:
		a.note(x)
	case ike.Persist:
		return a.persist()
	case ike.InstallInbound:
		return a.installInbound(x)
	case ike.Send:
		a.r.relays.send(a.host, x.Path, x.Datagrams)
	case ike.InstallOutbound:
		return a.installOutbound(x)
	case ike.RemoveChild:
		return a.removeChild(x)
	case ike.MoveChildren:
		return a.moveChildren(x)
	case ike.VerifyPeer:
		a.verify(x)
	case ike.SignAUTH:
		a.sign(x)
	case ike.FindPPK:
		a.answer(ike.PPKFound{ID: x.ID})
	case ike.AssignAddresses:
		a.answer(ike.AddressesAssigned{ID: x.ID, Failed: "the peer has no addresses to give"})
	case ike.Established:
		a.establish(x)
	case ike.Reauthenticate:
		a.r.replace(a)
	case ike.Redirected:
		a.r.records.fail(a.peer(), a.r.now(), "the peer wants to be left for another gateway, which its spec does not name")
	case ike.Closed:
		return a.closed(x)
	default:
		return fmt.Errorf("keying: nobody knows what %T asks for", action)
	}
	return nil
}

// answer gives a command back to the machine, from another goroutine than its own.
func (a *association) answer(c ike.Command) {
	a.r.spawn(func() { a.command(c) })
}

// verify has the peer's claim checked. The machine gets the policy of whoever it is.
func (a *association) verify(q ike.VerifyPeer) {
	claim := Claim{Question: q, Host: a.host, Candidates: slices.Clone(a.candidates)}
	initiator := a.machine.Status().Initiator
	if initiator { // we have called this one, and nobody else may answer
		claim.Candidates = a.r.candidate(a.peer())
	}
	a.r.spawn(func() {
		for i, c := range claim.Candidates { // they may have changed since the first message
			if now := a.r.candidate(c.Name); len(now) > 0 {
				claim.Candidates[i] = now[0]
			}
		}
		verdict := a.r.config.Authenticator.Verify(a.r.ctx, claim)
		result := ike.PeerVerified{ID: q.ID, Accepted: verdict.Peer != "", Reason: verdict.Reason}
		if result.Accepted && !initiator {
			a.setPeer(verdict.Peer) // from now on whoever changes the peer finds this association
		}
		chosen := a.r.candidate(verdict.Peer)
		if result.Accepted && (len(chosen) == 0 || !serves(chosen[0].Spec, a.host) || chosen[0].revision != revisionIn(claim.Candidates, verdict.Peer)) {
			result.Accepted, result.Reason = false, "the peer has just been changed"
		}
		if result.Accepted && !initiator {
			policy, err := a.r.policy(chosen[0], a.host, q.Path.Local.Addr())
			if err != nil {
				result.Accepted, result.Reason = false, "the peer's spec makes no policy: "+err.Error()
			}
			result.Policy = &policy
			a.setRevision(chosen[0].revision)
		}
		if life := verdict.Expires.Sub(a.r.now()); !verdict.Expires.IsZero() && result.Accepted {
			result.AuthLifetime = max(life, time.Second)
		}
		if known := initiator || len(claim.Candidates) > 0 && claim.Candidates[0].Name == verdict.Suspect; !known && verdict.Suspect != "" && !result.Accepted {
			a.r.records.fail(verdict.Suspect, a.r.now(), "refused: "+result.Reason)
		}
		a.command(result)
	})
}

// revisionIn is the revision of a candidate's spec.
func revisionIn(all []Candidate, name string) int64 {
	for _, c := range all {
		if c.Name == name {
			return c.revision
		}
	}
	return 0
}

// sign has our end proven.
func (a *association) sign(q ike.SignAUTH) {
	peer := a.r.candidate(a.peer())
	if len(peer) == 0 {
		a.answer(ike.AUTHSigned{ID: q.ID, Failed: "the peer has just been deleted"})
		return
	}
	a.r.spawn(func() {
		a.command(a.r.config.Authenticator.Sign(a.r.ctx, Proof{Question: q, Host: a.host, Peer: peer[0]}))
	})
}

// establish notes that the peer is authenticated.
func (a *association) establish(x ike.Established) {
	r, name := a.r, a.peer()
	r.mu.Lock()
	a.forgetBeginning()
	r.mu.Unlock()
	if a.fresh.IsZero() {
		a.fresh = r.now()
		r.calls.succeeded(name)
		r.tell(name, "authenticated")
		r.config.Log.Info("peer authenticated", "peer", name, "host", a.host, "ike_sa", a.name, "remote", x.Path.Remote,
			"remote_id", ikeid.Text(x.RemoteID), "initiator", x.Initiator, "proposal", x.IKE)
		r.config.Events.Event(r.ctx, "Peer", name, "PeerAuthenticated", false,
			fmt.Sprintf("peer %s is authenticated as %s at %v, by host %s", name, ikeid.Text(x.RemoteID), x.Path.Remote, a.host))
	}
	if !a.current() { // changed after the policy was made, and before anybody could find this association
		r.spawn(func() { a.close("the peer's spec was changed") })
		return
	}
	r.bound(a, x)
	if x.InitialContact {
		r.initialContact(a, x)
	}
	if old := a.replaces; old != nil {
		a.replaces = nil
		r.spawn(func() { old.close("reauthenticated") })
	}
	r.spawn(func() { r.complete(a, x.Initiator) })
}

// initialContact ends the other IKE SAs of the same two identities at the same host: the peer has forgotten them
// (RFC 7296 section 2.4).
func (r *reign) initialContact(a *association, x ike.Established) {
	others := r.associations(func(o *association) bool {
		s := o.status()
		return o != a && o.host == a.host && o.peer() == a.peer() && o.established() &&
			ikeid.Equal(s.LocalID, x.LocalID) && ikeid.Equal(s.RemoteID, x.RemoteID)
	})
	for _, o := range others {
		r.spawn(func() {
			o.order(func(o *association, _ time.Time) error {
				o.giveUp("INITIAL_CONTACT: the peer has forgotten it")
				return nil
			})
		})
	}
}

// closed takes away what there is of the association.
func (a *association) closed(x ike.Closed) error {
	if err := a.forget(); err != nil {
		return err
	}
	a.deposed = true
	name := a.peer()
	a.r.records.ended(name, a.r.now(), x)
	a.r.tell(name, "ended: "+describe(x.Reason, x.Detail))
	if name != "" && !a.fresh.IsZero() {
		a.r.config.Events.Event(a.r.ctx, "Peer", name, "PeerClosed", x.Reason != ike.LocallyDeleted,
			fmt.Sprintf("the IKE SA with peer %s has ended: %s", name, describe(x.Reason, x.Detail)))
	}
	a.r.config.Log.Info("IKE SA ended", "peer", name, "host", a.host, "ike_sa", a.name, "reason", x.Reason, "detail", x.Detail)
	a.r.calls.ended(name, a.r.now(), x.Reason == ike.LocallyDeleted || x.Reason == ike.PeerDeleted)
	return nil
}

// giveUp ends the association without the peer, and takes away what there is of it.
func (a *association) giveUp(why string) {
	a.deposed = true
	if err := a.forget(); err != nil && a.r.ctx.Err() == nil {
		a.r.config.Log.Error("the records of an IKE SA stay", "ike_sa", a.name, "err", err)
	}
	a.r.records.fail(a.peer(), a.r.now(), why)
	a.r.tell(a.peer(), "ended: "+why)
	a.r.calls.ended(a.peer(), a.r.now(), false)
}
