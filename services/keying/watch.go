package keying

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// changed takes in what has changed in the store.
func (r *reign) changed(b store.Batch) {
	for _, c := range b.Changes {
		switch {
		case strings.HasPrefix(c.Key, store.IKEAcksPrefix):
			if host, text, err := store.ParseIKEAcksKey(c.Key); err == nil && c.New != nil {
				r.said(host, text)
			}
		case strings.HasPrefix(c.Key, store.IKEAcquirePrefix):
			if host, uid, err := store.ParseIKEAcquireKey(c.Key); err == nil && c.New != nil {
				r.acquire(host, uid)
			}
		case strings.HasPrefix(c.Key, store.EpochPrefix):
			if host, err := store.ParseName(store.EpochPrefix, c.Key); err == nil && c.New != nil {
				r.newEpoch(host)
			}
		case strings.HasPrefix(c.Key, store.SpecPrefix):
			if kind, name, err := store.ParseSpecKey(c.Key); err == nil && kind == store.KindPeer {
				r.peerChanged(name, c)
			}
			r.nudge()
		default:
			r.nudge()
		}
	}
}

// said brings an agent's word about a child SA to its association, or takes its records away.
func (r *reign) said(host, text string) {
	id, err := world.ParseSAID(text)
	if err != nil {
		return
	}
	r.mu.Lock()
	a := r.bySA[id]
	r.mu.Unlock()
	if a == nil {
		r.sweepChild(host, id)
		return
	}
	select {
	case a.acked <- struct{}{}:
	default:
	}
}

// lookAtAcks tells the machine what agents have said that it should know.
func (a *association) lookAtAcks() {
	for number, c := range a.children {
		acks, err := a.acksOf(c)
		if err != nil || proto.Equal(acks, &c.told) {
			continue
		}
		var command ike.Command
		switch {
		case acks.GetHard() && !c.told.GetHard(), acks.GetRefused() != 0 && c.told.GetRefused() == 0:
			command = ike.DeleteChild{ID: number}
			a.r.records.fail(a.peer(), a.r.now(), "the host's agent has lost or refused a child SA: "+acks.GetDetail())
		case acks.GetSoft() && !c.told.GetSoft():
			command = ike.RekeyChild{ID: number}
		}
		proto.Reset(&c.told)
		proto.Merge(&c.told, acks)
		if command != nil {
			a.survives(a.machine.HandleCommand(a.r.now(), command))
		}
	}
}

// newEpoch rekeys the children of a host whose agent has begun a new life: it has none of their keys, and must not be
// given them again.
func (r *reign) newEpoch(host string) {
	var e controllerv1.Epoch
	if !r.load(store.EpochPrefix+host, &e) {
		return
	}
	for _, a := range r.associations(func(a *association) bool { return a.host == host && a.established() }) {
		r.spawn(func() {
			a.order(func(a *association, now time.Time) error {
				for number, c := range a.children {
					if string(c.record.GetEpoch()) == string(e.GetEpoch()) || !c.dropAt.IsZero() {
						continue
					}
					a.survives(a.machine.HandleCommand(now, ike.RekeyChild{ID: number}))
				}
				return nil
			})
		})
	}
}

// peerChanged brings the associations of a peer into step with its spec.
func (r *reign) peerChanged(name string, c store.Change) {
	var before, after operatorv1.Peer
	if c.Old != nil {
		_ = store.Decode(*c.Old, &before) // an unreadable one is like none
	}
	all := r.associations(func(a *association) bool { return a.peer() == name })
	another := c.Old != nil && c.New != nil && store.Decode(*c.New, &after) == nil && before.GetMetadata().GetUid() != after.GetMetadata().GetUid()
	if c.New == nil || another || store.Decode(*c.New, &after) != nil {
		for _, a := range all {
			r.spawn(func() { a.close("the peer was deleted") })
		}
		return
	}
	r.calls.forget(name)
	if c.Old == nil {
		r.records.forgetPeer(name)
	}
	for _, a := range all {
		if !sameIKE(before.GetSpec(), after.GetSpec()) || !serves(after.GetSpec(), a.host) {
			r.spawn(func() { a.close("the peer's spec was changed") })
			continue
		}
		r.spawn(func() {
			if policy, err := r.policy(Candidate{Name: name, Spec: after.GetSpec()}, a.host, a.status().Path.Local.Addr()); err == nil && a.setPolicy(policy, c.New.ModRevision) {
				r.complete(a, true)
			}
		})
	}
}

// setPolicy gives the machine the policy of a revision of the peer's spec.
func (a *association) setPolicy(p ike.Policy, revision int64) bool {
	return a.order(func(a *association, now time.Time) error {
		err := a.machine.HandleCommand(now, ike.SetPolicy{Policy: p})
		if err != nil {
			return err
		}
		a.setRevision(revision)
		if a.established() {
			if err := a.persist(); err != nil { // the next step tries again; till then a restart ends the IKE SA
				a.r.config.Log.Warn("a new policy was not written down", "ike_sa", a.name, "err", err)
			}
		}
		return nil
	})
}

// sameIKE reports whether two specs differ in their children only.
func sameIKE(a, b *operatorv1.PeerSpec) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	for _, s := range []*operatorv1.PeerSpec{a, b} {
		if s != nil {
			s.Children, s.Hosts = nil, nil
		}
	}
	return proto.Equal(a, b)
}

// graceOfPeer is how long a peer that has called may take to make its children itself.
const graceOfPeer = 3 * time.Second

// complete makes the children of an established association that are missing: at once when we have begun, later when
// the peer has, and then only if we are to call at all.
func (r *reign) complete(a *association, initiator bool) {
	_, spec, err := r.spec(a.peer())
	if err != nil || !initiator && spec.GetStart() != "always" {
		return
	}
	if !initiator {
		pause(r.ctx, graceOfPeer)
	}
	a.order(func(a *association, now time.Time) error {
		for _, name := range r.missing(a, spec) {
			a.survives(a.machine.HandleCommand(now, ike.CreateChild{Name: name}))
		}
		return nil
	})
}

// missing lists the children of a peer that no association has. Of a, whose goroutine calls it, it looks at the machine.
func (r *reign) missing(a *association, s *operatorv1.PeerSpec) (names []string) {
	peer, have := a.peer(), make(map[string]bool)
	note := func(status ike.Status) {
		for _, c := range status.Children {
			have[c.Name] = true
		}
	}
	note(a.machine.Status())
	for _, o := range r.associations(func(o *association) bool { return o != a && o.peer() == peer && o.established() }) {
		note(o.status())
	}
	for _, c := range s.GetChildren() {
		if !have[c.GetName()] {
			names = append(names, c.GetName())
		}
	}
	return names
}

// wish is what an operator has said of a peer beside its spec.
func (r *reign) wish(name string, uid plan.UID) *controllerv1.PeerWish {
	var w controllerv1.PeerWish
	if !r.load(store.PeerWishPrefix+name, &w) || !sameUID(w.GetPeerUid(), uid) {
		return &controllerv1.PeerWish{}
	}
	return &w
}
