package keying

import (
	"slices"
	"strings"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/store"
)

// acquire makes the child SA that a packet wants at a host: of peers that are to be called when there is traffic.
func (r *reign) acquire(host, uid string) {
	var entry controllerv1.PeerEntry
	if !r.load(store.PeerEntryPrefix+host+"/"+uid, &entry) {
		return
	}
	name, child := entry.GetPeer(), entry.GetChild()
	id, spec, err := r.spec(name)
	if err != nil || spec.GetStart() != "trap" && spec.GetLost() != "trap" || !r.wished(name, id) {
		return
	}
	if all := r.associations(func(a *association) bool { return a.peer() == name && a.live() }); len(all) > 0 {
		at := slices.IndexFunc(all, func(a *association) bool { return a.host == host && a.established() })
		if at >= 0 { // else it is being called
			r.spawn(func() { all[at].order(func(a *association, now time.Time) error { return a.makeChild(child, now) }) })
		}
		return
	}
	if !r.calls.due(name, r.now()) {
		return
	}
	r.spawn(func() {
		if err := r.call(name, spec); err != nil {
			r.calls.ended(name, r.now(), false)
			r.records.fail(name, r.now(), "traffic wants it, and it cannot be called: "+err.Error())
		}
	})
}

// makeChild makes a child unless there is one, or one is being made.
func (a *association) makeChild(name string, now time.Time) error {
	status := a.machine.Status()
	for _, c := range status.Children {
		if c.Name == name {
			return nil
		}
	}
	for _, waiting := range status.Waiting {
		if strings.HasPrefix(waiting, "creating") {
			return nil
		}
	}
	return a.machine.HandleCommand(now, ike.CreateChild{Name: name})
}
