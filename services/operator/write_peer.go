package operator

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// preparePeer completes and checks a peer, by itself and beside what there is of the fleet.
func (d *draft) preparePeer(want *operatorv1.Peer) (*operatorv1.Peer, spec.Report) {
	p := &operatorv1.Peer{Metadata: want.GetMetadata(), Spec: proto.CloneOf(want.GetSpec())}
	spec.CompletePeer(p)
	report := spec.CheckPeer(p, d.service.pools, d.service.identities)
	for i, host := range p.GetSpec().GetHosts() {
		if len(report.Problems) == 0 && !d.willExist(host) {
			report.Warnings = append(report.Warnings, fmt.Sprintf("spec.hosts[%d]: there is no host %q yet: it serves the peer when it has joined", i, host))
		}
	}
	for _, a := range []struct {
		field string
		auth  *operatorv1.PeerAuthentication
	}{{"spec.local", p.GetSpec().GetLocal()}, {"spec.remote", p.GetSpec().GetRemote()}} {
		name := a.auth.GetCredential()
		if _, there := d.snapshot.Get(keyPrefix(kindCredential) + name); name != "" && !there && !d.newCredentials[name] {
			report.Warnings = append(report.Warnings, fmt.Sprintf("%s.credential: there is no Credential %q yet: nobody is authenticated until there is", a.field, name))
		}
	}
	return p, report
}

func (d *draft) createPeer(want *operatorv1.Peer) (*operatorv1.Peer, []string, error) {
	name := want.GetMetadata().GetName()
	if revision, err := d.get(keyPrefix(kindPeer)+name, &operatorv1.Peer{}); err != nil {
		return nil, nil, err
	} else if revision != 0 {
		return nil, nil, alreadyExists(kindPeer, name)
	}
	p, report := d.preparePeer(want)
	if err := invalid(kindPeer, name, report); err != nil {
		return nil, nil, err
	}
	p.Metadata = d.metadata(want.GetMetadata())
	return p, report.Warnings, d.writePeer(nil, p)
}

func (d *draft) updatePeer(want *operatorv1.Peer) (before, after *operatorv1.Peer, warnings []string, err error) {
	name := want.GetMetadata().GetName()
	before = &operatorv1.Peer{}
	revision, err := d.get(keyPrefix(kindPeer)+name, before)
	if err != nil {
		return nil, nil, nil, err
	}
	if revision == 0 {
		return nil, nil, nil, absent(kindPeer, want.GetMetadata())
	}
	before.Metadata.Revision = revision
	after, report := d.preparePeer(want)
	if err := invalid(kindPeer, name, report); err != nil {
		return nil, nil, nil, err
	}
	after.Metadata = relabelled(before.GetMetadata(), want.GetMetadata())
	if sameLabels(before.GetMetadata(), after.GetMetadata()) && proto.Equal(before.GetSpec(), after.GetSpec()) {
		return before, before, report.Warnings, nil
	}
	if err := basedOn(kindPeer, before.GetMetadata(), want.GetMetadata()); err != nil {
		return nil, nil, nil, err
	}
	return before, after, report.Warnings, d.writePeer(before, after)
}

// writePeer puts the spec, and the SPD entries at the hosts that serve the peer, or have done so.
func (d *draft) writePeer(before, after *operatorv1.Peer) error {
	if err := d.putSpec(kindPeer, after); err != nil {
		return err
	}
	uid, err := plan.ParseUID(after.GetMetadata().GetUid())
	if err != nil {
		return err
	}
	for _, host := range after.GetSpec().GetHosts() {
		for _, c := range after.GetSpec().GetChildren() {
			key, err := store.PeerEntryKey(host, world.ChildUID(uid, c.GetName()).String())
			if err != nil {
				return err
			}
			d.compareNow(key)
			entry := &controllerv1.PeerEntry{Peer: after.GetMetadata().GetName(), PeerUid: uid[:], Child: c.GetName()}
			if err := d.put(key, entry); err != nil {
				return err
			}
		}
	}
	return d.buryEntries(uid, before.GetSpec(), after.GetSpec())
}

// compareNow makes the transaction depend on a key as it is now.
func (d *draft) compareNow(key string) {
	kv, _ := d.snapshot.Get(key)
	d.compare(store.Unchanged(key, kv.ModRevision))
}

// buryEntries leaves tombstones for the SPD entries that are no more: after is nil when none is.
func (d *draft) buryEntries(uid plan.UID, before, after *operatorv1.PeerSpec) error {
	for _, host := range before.GetHosts() {
		for _, c := range before.GetChildren() {
			stays := slices.Contains(after.GetHosts(), host) &&
				slices.ContainsFunc(after.GetChildren(), func(o *operatorv1.PeerChild) bool { return o.GetName() == c.GetName() })
			if stays {
				continue
			}
			if err := d.buryEntry(host, world.ChildUID(uid, c.GetName())); err != nil {
				return err
			}
		}
	}
	return nil
}

// buryEntry leaves a tombstone for a host that may have an SPD entry of a peer.
func (d *draft) buryEntry(host string, child plan.UID) error {
	key, err := store.PeerEntryKey(host, child.String())
	if err != nil {
		return err
	}
	var entry controllerv1.PeerEntry
	return d.bury(host, key, &entry, func() { entry.Deleting = true })
}

func (d *draft) deletePeer(name string, revision int64) (*operatorv1.Peer, error) {
	p := &operatorv1.Peer{}
	if err := d.doomed(kindPeer, name, revision, p); err != nil {
		return nil, err
	}
	uid, err := plan.ParseUID(p.GetMetadata().GetUid())
	if err != nil {
		return nil, err
	}
	if err := d.buryEntries(uid, p.GetSpec(), nil); err != nil {
		return nil, err
	}
	d.delete(keyPrefix(kindPeer)+name, store.StatusPrefix+string(store.KindPeer)+"/"+name, store.PeerWishPrefix+name)
	d.revoke(store.AuditPeerRemoved, name, "deleted by an operator")
	return p, d.event("Peer", name, "PeerRemoved", false, fmt.Sprintf("peer %s was removed by %s", name, actor(d.ctx)))
}
