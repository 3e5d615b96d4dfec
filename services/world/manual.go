package world

import (
	"fmt"
	"strings"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// ManualPeer is a manual peer at one host. plan knows nothing of it: there is nothing to decide about keys
// that an operator gives. It makes a pair all the same, with the peer's uid in the place of a host's.
type ManualPeer struct {
	UID   plan.UID
	Phase *controllerv1.ManualPhase
	// Spec is nil when the host is to delete what it holds of the peer.
	Spec *operatorv1.ManualPeerSpec
	// Revision of Phase's record.
	Revision int64
}

// What an agent has installed of a manual peer, one bit each, as in ManualPhase.acks.
const (
	ManualInbound   = 1
	ManualOutbound  = 2
	ManualInstalled = ManualInbound | ManualOutbound
)

// ReadManualPeer reads what a host should hold of a manual peer. It returns false when nothing is recorded,
// and an error when a record cannot be read.
func ReadManualPeer(s *store.Snapshot, host string, uid plan.UID) (ManualPeer, bool, error) {
	p := ManualPeer{UID: uid, Phase: &controllerv1.ManualPhase{}}
	key, err := store.ManualPhaseKey(host, uid.String())
	if err != nil {
		return ManualPeer{}, false, err
	}
	kv, found, err := record(s, key, p.Phase)
	if err != nil || !found {
		return ManualPeer{}, false, err
	}
	p.Revision = kv.ModRevision
	if len(p.Phase.GetId()) != len(plan.SAID{}) || string(p.Phase.GetId()[:len(uid)]) != string(uid[:]) {
		return ManualPeer{}, false, fmt.Errorf("%s: the id is not one of this peer", key)
	}
	if p.Phase.GetDeleting() {
		return p, true, nil
	}
	var peer operatorv1.ManualPeer
	_, there, err := record(s, store.SpecPrefix+string(store.KindManualPeer)+"/"+p.Phase.GetPeer(), &peer)
	if err != nil {
		return ManualPeer{}, false, err
	}
	// A spec that is gone without a tombstone was replayed out of the audit file, which is one.
	if there && peer.GetMetadata().GetUid() == uid.String() && peer.GetSpec().GetHost() == host {
		p.Spec = peer.GetSpec()
	}
	return p, true, nil
}

// ManualPeersOf lists the uids of the manual peers that have a record at a host.
func ManualPeersOf(s *store.Snapshot, host string) (uids []plan.UID) {
	prefix := store.ManualPhasePrefix + host + "/"
	s.Range(prefix, func(kv store.KV) bool {
		if uid, err := plan.ParseUID(strings.TrimPrefix(kv.Key, prefix)); err == nil {
			uids = append(uids, uid)
		}
		return true
	})
	return uids
}

// touchManual touches the pair of a manual peer, or of a peer's child, and its host, if there is such a host.
func (f *Feed) touchManual(host, text string, t *touched) {
	at, known := f.uids[host]
	uid, err := plan.ParseUID(text)
	if known && err == nil && uid != at {
		t.pairs[plan.PairOf(at, uid)] = struct{}{}
	}
}
