package operator

import (
	"encoding/hex"
	"strings"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/store"
)

const (
	added    = operatorv1.ChangeType_CHANGE_TYPE_ADDED
	modified = operatorv1.ChangeType_CHANGE_TYPE_MODIFIED
	deleted  = operatorv1.ChangeType_CHANGE_TYPE_DELETED
)

// chunk is how many changes are turned into resources under one read lock.
const chunk = 256

// changes turns a batch of keys into changes of resources. A resource whose status alone has changed is
// MODIFIED; one that was deleted and made again is DELETED and ADDED.
func (w *watch) changes(b store.Batch) error {
	specs := make(map[string]struct{}) // spec keys that the batch itself has
	for _, c := range b.Changes {
		specs[c.Key] = struct{}{}
	}
	for changes := b.Changes; len(changes) > 0; {
		n := min(len(changes), chunk)
		var out []*operatorv1.WatchResponse
		err := w.read(b.State, func(r reader) error {
			for _, c := range changes[:n] {
				more, err := w.change(r, c, specs)
				if err != nil {
					return err
				}
				out = append(out, more...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, m := range out {
			m.Revision = b.Revision
			if err := w.push(m); err != nil {
				return err
			}
		}
		changes = changes[n:]
	}
	return nil
}

// change is what one key's change means. done holds the specs that are reported for themselves, and those
// whose status has been.
func (w *watch) change(r reader, c store.Change, done map[string]struct{}) ([]*operatorv1.WatchResponse, error) {
	k, ok := kindOfKey(c.Key)
	if !ok {
		// Some status: the resource is as its spec, which exists or has been reported as deleted.
		kind, name := subjectOf(c)
		spec := keyPrefix(kind) + name
		kv, exists := r.snapshot.Get(spec)
		if _, reported := done[spec]; reported || !exists || !w.watches(kind) {
			return nil, nil
		}
		done[spec] = struct{}{}
		return w.compare(r, kind, &kv, &kv)
	}
	if !w.watches(k) {
		return nil, nil
	}
	if c.Old != nil && c.New != nil && c.Old.CreateRevision != 0 && c.Old.CreateRevision != c.New.CreateRevision {
		gone, err := w.compare(r, k, c.Old, nil)
		if err != nil {
			return nil, err
		}
		made, err := w.compare(r, k, nil, c.New)
		return append(gone, made...), err
	}
	return w.compare(r, k, c.Old, c.New)
}

// compare is what a watcher is told that sees only what matches its selector.
func (w *watch) compare(r reader, k operatorv1.Kind, before, after *store.KV) ([]*operatorv1.WatchResponse, error) {
	was, err := w.visible(r, k, before)
	if err != nil {
		return nil, err
	}
	is, err := w.visible(r, k, after)
	if err != nil {
		return nil, err
	}
	var out []*operatorv1.WatchResponse
	for name, old := range was {
		if _, still := is[name]; !still {
			out = append(out, &operatorv1.WatchResponse{Type: deleted, Resource: old})
		}
	}
	for name, now := range is {
		t := added
		if _, known := was[name]; known {
			t = modified
		}
		out = append(out, &operatorv1.WatchResponse{Type: t, Resource: now})
	}
	return out, nil
}

// visible reads the resources that a key shows and the selector selects, by name.
func (w *watch) visible(r reader, k operatorv1.Kind, kv *store.KV) (map[string]*operatorv1.Resource, error) {
	if kv == nil {
		return nil, nil
	}
	if len(kv.Value) == 0 { // etcd has compacted what it was: only the name is known
		return w.forgotten(k, kv.Key), nil
	}
	all, err := r.resources(k, *kv)
	if err != nil {
		return nil, unreadable(*kv, err)
	}
	out := make(map[string]*operatorv1.Resource, len(all))
	for _, one := range all {
		if _, md := kindOf(one); w.match(md) {
			out[md.GetName()] = one
		}
	}
	return out, nil
}

// forgotten is a resource of which nothing but the name is known.
func (w *watch) forgotten(k operatorv1.Kind, key string) map[string]*operatorv1.Resource {
	md := &operatorv1.Metadata{Name: strings.TrimPrefix(key, keyPrefix(k))}
	switch k {
	case kindHost:
		return map[string]*operatorv1.Resource{md.Name: ofHost(&operatorv1.Host{Metadata: md})}
	case kindPolicy:
		return map[string]*operatorv1.Resource{md.Name: ofPolicy(&operatorv1.Policy{Metadata: md})}
	case kindToken:
		return map[string]*operatorv1.Resource{md.Name: ofToken(&operatorv1.JoinToken{Metadata: md})}
	case kindManual:
		return map[string]*operatorv1.Resource{md.Name: ofManual(&operatorv1.ManualPeer{Metadata: md})}
	case kindPeer:
		return map[string]*operatorv1.Resource{md.Name: ofPeer(&operatorv1.Peer{Metadata: md})}
	case kindCredential:
		return map[string]*operatorv1.Resource{md.Name: ofCredential(&operatorv1.Credential{Metadata: md})}
	case kindIKESA:
		return map[string]*operatorv1.Resource{md.Name: ofIKESA(&operatorv1.IKESecurityAssociation{Metadata: md})}
	}
	return nil
}

// kindOfKey is the kind whose resources a key shows; false for a status.
func kindOfKey(key string) (operatorv1.Kind, bool) {
	for _, k := range []operatorv1.Kind{kindHost, kindPolicy, kindToken, kindSA, kindEvent, kindManual, kindPeer, kindCredential, kindIKESA} {
		if strings.HasPrefix(key, keyPrefix(k)) {
			return k, true
		}
	}
	return operatorv1.Kind_KIND_UNSPECIFIED, false
}

// subjectOf is the resource whose status a key is.
func subjectOf(c store.Change) (operatorv1.Kind, string) {
	key := c.Key
	if strings.HasPrefix(key, store.ManualPhasePrefix) {
		return kindManual, manualPeerIn(c)
	}
	if strings.HasPrefix(key, store.IKEChildPrefix) {
		return kindIKESA, ikeSAIn(c)
	}
	if name, ok := strings.CutPrefix(key, store.PeerWishPrefix); ok {
		return kindPeer, name
	}
	for _, k := range []operatorv1.Kind{kindPolicy, kindToken, kindHost, kindManual, kindPeer, kindCredential} {
		sk, _ := storeKind(k)
		if name, ok := strings.CutPrefix(key, store.StatusPrefix+string(sk)+"/"); ok {
			return k, name
		}
	}
	for _, prefix := range []string{store.EpochPrefix, store.LivePrefix, store.HostIDPrefix} {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			return kindHost, name
		}
	}
	return operatorv1.Kind_KIND_UNSPECIFIED, ""
}

// ikeSAIn is the name of the IKE SA that a changed child SA is of; "" when it cannot be told.
func ikeSAIn(c store.Change) string {
	for _, kv := range []*store.KV{c.New, c.Old} {
		var child controllerv1.IKEChild
		if kv != nil && len(kv.Value) > 0 && store.Decode(*kv, &child) == nil {
			return hex.EncodeToString(child.GetIkeSpi())
		}
	}
	return ""
}

// manualPeerIn is the name of the manual peer that a changed phase is of; "" when it cannot be told.
func manualPeerIn(c store.Change) string {
	for _, kv := range []*store.KV{c.New, c.Old} {
		var phase controllerv1.ManualPhase
		if kv != nil && len(kv.Value) > 0 && store.Decode(*kv, &phase) == nil {
			return phase.GetPeer()
		}
	}
	return ""
}
