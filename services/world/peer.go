package world

import (
	"crypto/sha256"
	"fmt"
	"strings"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// PeerEntry is an SPD entry of a peer at one host, and the child SAs under it. plan knows nothing of it: package keying
// decides, together with the peer. It makes a pair all the same, with the child's uid in the place of a host's.
type PeerEntry struct {
	UID    plan.UID
	Record *controllerv1.PeerEntry
	// Peer and Child are the spec; nil when the host is to delete what it holds of the entry.
	Peer  *operatorv1.PeerSpec
	Child *operatorv1.PeerChild
	SAs   []PeerSA // in the order of their identifiers
}

// PeerSA is one child SA.
type PeerSA struct {
	ID     plan.SAID
	Record *controllerv1.IKEChild
	Acks   *controllerv1.IKEChildAcks // never nil
}

// What an agent has installed of a child SA, one bit each, as in IKEChildAcks.acks.
const (
	PeerInbound  = 1
	PeerOutbound = 2
)

// ChildUID is the uid of a peer's child: a hash of the peer's uid and the child's name.
func ChildUID(peer plan.UID, child string) plan.UID {
	sum := sha256.Sum256(append(append([]byte("sallyport peer child\x00"), peer[:]...), child...))
	return plan.UID(sum[:len(plan.UID{})])
}

// ReadPeerEntry reads what a host should hold of a peer's child. It returns false when nothing is recorded, and an
// error when a record cannot be read.
func ReadPeerEntry(s *store.Snapshot, host string, uid plan.UID) (PeerEntry, bool, error) {
	e := PeerEntry{UID: uid, Record: &controllerv1.PeerEntry{}}
	key, err := store.PeerEntryKey(host, uid.String())
	if err != nil {
		return PeerEntry{}, false, err
	}
	_, found, err := record(s, key, e.Record)
	if err != nil || !found {
		return PeerEntry{}, false, err
	}
	if e.SAs, err = peerSAs(s, host, uid); err != nil {
		return PeerEntry{}, false, err
	}
	if e.Record.GetDeleting() {
		return e, true, nil
	}
	var peer operatorv1.Peer
	_, there, err := record(s, store.SpecPrefix+string(store.KindPeer)+"/"+e.Record.GetPeer(), &peer)
	if err != nil {
		return PeerEntry{}, false, err
	}
	// A spec that is gone without a tombstone was replayed out of the audit file, which is one.
	if id, err := plan.ParseUID(peer.GetMetadata().GetUid()); there && err == nil && string(id[:]) == string(e.Record.GetPeerUid()) {
		for _, c := range peer.GetSpec().GetChildren() {
			if ChildUID(id, c.GetName()) == uid {
				e.Peer, e.Child = peer.GetSpec(), c
			}
		}
	}
	return e, true, nil
}

// peerSAs reads the child SAs under an entry.
func peerSAs(s *store.Snapshot, host string, uid plan.UID) (sas []PeerSA, err error) {
	prefix := store.IKEChildPrefix + host + "/"
	s.Range(prefix+uid.String(), func(kv store.KV) bool {
		sa := PeerSA{Record: &controllerv1.IKEChild{}, Acks: &controllerv1.IKEChildAcks{}}
		id := strings.TrimPrefix(kv.Key, prefix)
		if sa.ID, err = ParseSAID(id); err != nil {
			return false
		}
		if err = store.Decode(kv, sa.Record); err != nil {
			return false
		}
		if _, _, err = record(s, store.IKEAcksPrefix+host+"/"+id, sa.Acks); err != nil {
			return false
		}
		sas = append(sas, sa)
		return true
	})
	return sas, err
}

// ParseSAID reads the 32 hexadecimal digits of an SA pair's id.
func ParseSAID(text string) (plan.SAID, error) {
	id, err := store.ParsePairID(text)
	if err != nil {
		return plan.SAID{}, fmt.Errorf("id of an SA pair: %w", err)
	}
	return plan.SAID(id), nil
}

// PeerEntriesOf lists the uids of the peers' children that have an entry at a host.
func PeerEntriesOf(s *store.Snapshot, host string) (uids []plan.UID) {
	prefix := store.PeerEntryPrefix + host + "/"
	s.Range(prefix, func(kv store.KV) bool {
		if uid, err := plan.ParseUID(strings.TrimPrefix(kv.Key, prefix)); err == nil {
			uids = append(uids, uid)
		}
		return true
	})
	return uids
}

// touchPeer touches the pair that a key of a peer's entry or child SA is about; false for other keys.
func (f *Feed) touchPeer(key string, t *touched) bool {
	host, uid, err := store.ParsePeerEntryKey(key)
	if err != nil {
		var id string
		if host, id, err = store.ParseIKEChildKey(key); err != nil {
			return false
		}
		uid = id[:min(len(id), 2*len(plan.UID{}))]
	}
	f.touchManual(host, uid, t)
	return true
}
