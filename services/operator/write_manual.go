package operator

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/store"
)

// manualWrite is a manual peer as it was and as it will be, with both its keys.
type manualWrite struct {
	before *operatorv1.ManualPeer // nil: there is none
	after  *operatorv1.ManualPeer // without keys
	keys   spec.ManualKeys        // what is stored under after's fingerprints
	report spec.Report
	stored bool // before's keys are there
}

// prepareManual completes and checks a manual peer, by itself, with the keys that are stored, and beside the
// others of the fleet. Whoever calls it clears the keys.
func (d *draft) prepareManual(want *operatorv1.ManualPeer) (w manualWrite, err error) {
	name := want.GetMetadata().GetName()
	before := &operatorv1.ManualPeer{}
	revision, err := d.get(keyPrefix(kindManual)+name, before)
	if err != nil {
		return w, err
	}
	if revision != 0 {
		before.Metadata.Revision = revision
		w.before = before
	}
	w.after = &operatorv1.ManualPeer{Metadata: want.GetMetadata(), Spec: proto.CloneOf(want.GetSpec())}
	spec.CompleteManualPeer(w.after)
	w.keys, w.report = spec.CheckManualPeer(w.after, d.service.pools)
	if err := d.keepKeys(&w); err != nil {
		return w, err
	}
	if len(w.report.Problems) == 0 && !d.willExist(w.after.GetSpec().GetHost()) {
		w.report.Warnings = append(w.report.Warnings, fmt.Sprintf("there is no host %q yet: nothing is installed until it joins", w.after.GetSpec().GetHost()))
	}
	d.eachManual(func(other *operatorv1.ManualPeer) {
		if other.GetMetadata().GetName() != name {
			w.report.Problems = append(w.report.Problems, spec.Clash(w.after, other).Problems...)
		}
	})
	return w, nil
}

// keepKeys fills in the stored key where the operator gives none, and marks every key by its fingerprint.
func (d *draft) keepKeys(w *manualWrite) error {
	name := w.after.GetMetadata().GetName()
	stored, err := d.storedKeys(name)
	if err != nil {
		return err
	}
	w.stored = len(stored.GetId()) > 0
	want := spec.KeyBytes(w.after.GetSpec())
	fill := func(direction string, to, was *operatorv1.ManualAssociation, given *[]byte, old []byte) error {
		if to == nil {
			return nil // reported
		}
		field := "spec." + direction + ".key"
		isGiven := to.GetKey() != "" && to.GetKey() != spec.Redacted
		switch mark := to.GetFingerprint(); {
		case isGiven && *given == nil: // reported
			clear(old)
		case isGiven:
			clear(old)
		case was == nil || len(old) == 0:
			w.report.Problem(field, "is missing: give %d bytes, 0x and hexadecimal digits", want)
		case mark != "" && mark != was.GetFingerprint():
			clear(old)
			w.report.Problem(field, "is not given, and the fingerprint %s is of another key than the stored one (%s): give the key", brief(mark), was.GetFingerprint())
		case want != 0 && len(old) != want:
			w.report.Problem(field, "is not given, and the stored one has %d bytes where %s wants %d: give a new key", len(old), w.after.GetSpec().GetProposal(), want)
			clear(old)
		default:
			*given = old
		}
		to.Key, to.Fingerprint = spec.Redacted, ""
		if *given == nil {
			return nil
		}
		to.Fingerprint, err = d.service.store.Fingerprint(*given)
		return err
	}
	var was operatorv1.ManualPeerSpec
	if w.before != nil {
		was = operatorv1.ManualPeerSpec{Inbound: w.before.GetSpec().GetInbound(), Outbound: w.before.GetSpec().GetOutbound()}
	}
	if err := fill("inbound", w.after.Spec.GetInbound(), was.GetInbound(), &w.keys.Inbound, stored.GetInbound()); err != nil {
		return err
	}
	if err := fill("outbound", w.after.Spec.GetOutbound(), was.GetOutbound(), &w.keys.Outbound, stored.GetOutbound()); err != nil {
		return err
	}
	w.report.SameKey(w.after.GetSpec())
	return nil
}

// willExist reports whether there is a host of that name, or the same request makes it.
func (d *draft) willExist(host string) bool {
	_, there := d.snapshot.Get(keyPrefix(kindHost) + host)
	return there || d.newHosts[host]
}

// brief bounds a text of an operator's.
func brief(s string) string { return s[:min(len(s), 64)] }

// storedKeys opens the keys of a manual peer; empty when there are none.
func (d *draft) storedKeys(name string) (*controllerv1.ManualKey, error) {
	key := store.ManualKeyPrefix + name
	keys := &controllerv1.ManualKey{}
	kv, found := d.snapshot.Get(key)
	d.compare(store.Unchanged(key, kv.ModRevision))
	if !found {
		return keys, nil
	}
	plain, err := d.service.store.Unseal(key, kv.Value)
	if err != nil {
		return nil, unreadable(kv, err)
	}
	defer clear(plain)
	if err := proto.Unmarshal(plain, keys); err != nil {
		return nil, unreadable(kv, err)
	}
	return keys, nil
}

// eachManual yields the manual peers of the fleet as they will be. What one is checked against must not
// change meanwhile: hence the guard.
func (d *draft) eachManual(do func(*operatorv1.ManualPeer)) {
	prefix := keyPrefix(kindManual)
	d.snapshot.Range(prefix, func(kv store.KV) bool {
		var p operatorv1.ManualPeer
		if _, planned := d.manual[kv.Key[len(prefix):]]; !planned && store.Decode(kv, &p) == nil {
			do(&p)
		}
		return true
	})
	for _, p := range d.manual {
		if p != nil {
			do(p)
		}
	}
}

func (d *draft) createManual(want *operatorv1.ManualPeer) (*operatorv1.ManualPeer, []string, error) {
	name := want.GetMetadata().GetName()
	w, err := d.prepareManual(want)
	defer w.keys.Clear()
	switch {
	case err != nil:
		return nil, nil, err
	case w.before != nil:
		return nil, nil, alreadyExists(kindManual, name)
	}
	if err := invalid(kindManual, name, w.report); err != nil {
		return nil, nil, err
	}
	w.after.Metadata = d.metadata(want.GetMetadata())
	return w.after, w.report.Warnings, d.writeManual(w)
}

func (d *draft) updateManual(want *operatorv1.ManualPeer) (before, after *operatorv1.ManualPeer, warnings []string, err error) {
	name := want.GetMetadata().GetName()
	w, err := d.prepareManual(want)
	defer w.keys.Clear()
	switch {
	case err != nil:
		return nil, nil, nil, err
	case w.before == nil:
		return nil, nil, nil, absent(kindManual, want.GetMetadata())
	}
	if err := invalid(kindManual, name, w.report); err != nil {
		return nil, nil, nil, err
	}
	w.after.Metadata = relabelled(w.before.GetMetadata(), want.GetMetadata())
	if w.stored && sameLabels(w.before.GetMetadata(), w.after.GetMetadata()) && proto.Equal(w.before.GetSpec(), w.after.GetSpec()) {
		return w.before, w.before, w.report.Warnings, nil
	}
	if err := basedOn(kindManual, w.before.GetMetadata(), want.GetMetadata()); err != nil {
		return nil, nil, nil, err
	}
	return w.before, w.after, w.report.Warnings, d.writeManual(w)
}

// writeManual puts the spec, the keys where they are new, and what the host should hold.
func (d *draft) writeManual(w manualWrite) error {
	if err := d.guardManual(); err != nil {
		return err
	}
	if err := d.putSpec(kindManual, w.after); err != nil {
		return err
	}
	key, err := d.putKeys(w)
	if err != nil {
		return err
	}
	return d.putPhase(w, key)
}

// guardManual makes two changes of manual peers at the same time conflict.
func (d *draft) guardManual() error {
	if _, done := d.compared[store.ManualGuardKey]; done {
		return nil
	}
	var guard controllerv1.ManualGuard
	if _, err := d.get(store.ManualGuardKey, &guard); err != nil {
		return err
	}
	guard.Changes++
	return d.put(store.ManualGuardKey, &guard)
}

// putKeys seals new keys and returns their identifier, or that of the keys that stay.
func (d *draft) putKeys(w manualWrite) ([]byte, error) {
	name := w.after.GetMetadata().GetName()
	stored, err := d.storedKeys(name)
	if err != nil {
		return nil, err
	}
	defer spec.ManualKeys{Inbound: stored.GetInbound(), Outbound: stored.GetOutbound()}.Clear()
	if w.before != nil && len(stored.GetId()) > 0 && sameKeys(w.before.GetSpec(), w.after.GetSpec()) {
		return stored.GetId(), nil
	}
	record := &controllerv1.ManualKey{Id: random(16), Inbound: w.keys.Inbound, Outbound: w.keys.Outbound}
	plain, err := store.Encode(record)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	key := store.ManualKeyPrefix + name
	sealed, err := d.service.store.Seal(key, plain)
	if err != nil {
		return nil, err
	}
	d.txn.Puts = append(d.txn.Puts, store.Put{Key: key, Value: sealed})
	if len(stored.GetId()) > 0 {
		d.revoke(store.AuditManualKeyReplaced, name, "new keys by an operator")
	}
	return record.GetId(), nil
}

func sameKeys(a, b *operatorv1.ManualPeerSpec) bool {
	return a.GetInbound().GetFingerprint() == b.GetInbound().GetFingerprint() &&
		a.GetOutbound().GetFingerprint() == b.GetOutbound().GetFingerprint()
}

// putPhase tells the host, and the one that had the peer before. An association never changes: what is
// different from the last one is another one, of the next generation.
func (d *draft) putPhase(w manualWrite, key []byte) error {
	md, to := w.after.GetMetadata(), w.after.GetSpec()
	status := &operatorv1.ManualPeerStatus{}
	statusKey := store.StatusPrefix + string(store.KindManualPeer) + "/" + md.GetName()
	if _, err := d.get(statusKey, status); err != nil {
		return err
	}
	var phase controllerv1.ManualPhase
	phaseKey, err := store.ManualPhaseKey(to.GetHost(), md.GetUid())
	if err != nil {
		return err
	}
	if _, err := d.get(phaseKey, &phase); err != nil {
		return err
	}
	was := w.before.GetSpec()
	moved := was.GetHost() != to.GetHost()
	if moved && w.before != nil {
		if err := d.buryManual(was.GetHost(), md.GetUid()); err != nil {
			return err
		}
	}
	if moved || phase.GetDeleting() || string(phase.GetKey()) != string(key) || !sameAssociations(was, to) {
		uid, err := hex.DecodeString(md.GetUid())
		if err != nil {
			return err
		}
		status.Generation++
		generation := max(status.GetGeneration(), phase.GetGeneration()+1)
		status.Generation = generation
		id := append(uid, random(8)...)
		status.Id = hex.EncodeToString(id)
		phase = controllerv1.ManualPhase{
			Peer: md.GetName(), Id: id, Generation: generation, Key: key,
			BreakFirst: !moved && was.GetInbound().GetSpi() == to.GetInbound().GetSpi(),
		}
		if err := d.put(statusKey, status); err != nil {
			return err
		}
	}
	w.after.Status = &operatorv1.ManualPeerStatus{Generation: status.GetGeneration(), Id: status.GetId()}
	return d.put(phaseKey, &phase)
}

// sameAssociations compares all but what is the SPD entry's: the traffic and the path.
func sameAssociations(a, b *operatorv1.ManualPeerSpec) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	for _, s := range []*operatorv1.ManualPeerSpec{a, b} {
		if s != nil {
			s.Local, s.Remote, s.Order, s.LocalAddress, s.RemoteAddress = nil, nil, 0, "", ""
		}
	}
	return proto.Equal(a, b)
}

// buryManual leaves a tombstone for a host that may hold associations of a manual peer.
func (d *draft) buryManual(host, uid string) error {
	key, err := store.ManualPhaseKey(host, uid)
	if err != nil {
		return err
	}
	var phase controllerv1.ManualPhase
	return d.bury(host, key, &phase, func() { phase.Deleting = true })
}

// bury makes a tombstone of what a host is to hold, if it is recorded.
func (d *draft) bury(host, key string, record proto.Message, mark func()) error {
	if revision, err := d.get(key, record); err != nil || revision == 0 {
		return err
	}
	hostKey := keyPrefix(kindHost) + host
	if _, there := d.snapshot.Get(hostKey); !there {
		d.compare(store.Unchanged(hostKey, 0))
		d.delete(key) // nobody is there to hold any
		return nil
	}
	mark()
	return d.put(key, record)
}

func (d *draft) deleteManual(name string, revision int64) (*operatorv1.ManualPeer, error) {
	p := &operatorv1.ManualPeer{}
	if err := d.doomed(kindManual, name, revision, p); err != nil {
		return nil, err
	}
	if err := d.guardManual(); err != nil {
		return nil, err
	}
	if err := d.buryManual(p.GetSpec().GetHost(), p.GetMetadata().GetUid()); err != nil {
		return nil, err
	}
	d.delete(keyPrefix(kindManual)+name, store.StatusPrefix+string(store.KindManualPeer)+"/"+name, store.ManualKeyPrefix+name)
	d.revoke(store.AuditManualPeerRemoved, name, "deleted by an operator")
	return p, d.event("ManualPeer", name, "ManualPeerRemoved", false, fmt.Sprintf("manual peer %s was removed by %s", name, actor(d.ctx)))
}

// forgetTombstones drops the tombstones of a host that is deleted: its agent deletes everything.
func (d *draft) forgetTombstones(host string) {
	var keys []string
	d.snapshot.Range(store.ManualPhasePrefix+host+"/", func(kv store.KV) bool {
		var phase controllerv1.ManualPhase
		if store.Decode(kv, &phase) == nil && phase.GetDeleting() {
			d.compare(store.Unchanged(kv.Key, kv.ModRevision))
			keys = append(keys, kv.Key)
		}
		return len(keys) < maxTokensWithHost
	})
	slices.Sort(keys)
	d.delete(keys...)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
