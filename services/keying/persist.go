package keying

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikeid"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// persist seals and stores the machine, and beside it what of it is no secret.
func (a *association) persist() error {
	key := store.IKESAPrefix + a.name
	record := &controllerv1.IKESnapshot{Machine: a.machine.Snapshot().Bytes(), Peer: a.peer(), PeerRevision: a.revision(), Host: a.host}
	defer clear(record.Machine)
	for _, s := range a.machine.SPIs() {
		record.Spis = append(record.Spis, s.Local[:])
	}
	plain, err := store.Encode(record)
	if err != nil {
		return err
	}
	defer clear(plain)
	sealed, err := a.r.config.Store.SealTraffic(key, plain, a.r.now().Add(longest))
	if err != nil {
		return err
	}
	state, err := store.PutRecord(store.IKEStatePrefix+a.name, a.state())
	if err != nil {
		return err
	}
	_, err = a.r.commit(store.Txn{Puts: []store.Put{{Key: key, Value: sealed}, state}})
	return err
}

// state is what anybody may know.
func (a *association) state() *controllerv1.IKEState {
	status := a.machine.Status()
	s := &controllerv1.IKEState{
		Peer: a.peer(), Host: a.host, Incarnation: a.r.config.Incarnation, Initiator: status.Initiator, State: status.Phase,
		LocalId: ikeid.Text(status.LocalID), RemoteId: ikeid.Text(status.RemoteID),
		LocalAddress: status.Path.Local.String(), RemoteAddress: status.Path.Remote.String(), Proposal: status.IKE,
	}
	if uid, _, err := a.r.spec(s.Peer); err == nil {
		s.PeerUid = uid[:]
	}
	if all := a.machine.SPIs(); len(all) > 0 {
		own, other := all[0].Local, all[0].Remote
		s.InitiatorSpi, s.ResponderSpi = own[:], other[:]
		if !all[0].Initiator {
			s.InitiatorSpi, s.ResponderSpi = other[:], own[:]
		}
	}
	for _, t := range []struct {
		at time.Time
		to **timestamppb.Timestamp
	}{{status.Established, &s.EstablishTime}, {status.Rekey, &s.RekeyTime}} {
		if !t.at.IsZero() {
			*t.to = timestamppb.New(t.at)
		}
	}
	return s
}

// forget deletes what is stored of the association, and leaves tombstones for its children.
func (a *association) forget() error {
	t := store.Txn{Deletes: []string{store.IKESAPrefix + a.name, store.IKEStatePrefix + a.name}}
	for number, c := range a.children {
		next := proto.CloneOf(c.record)
		next.Deleting = true
		put, err := store.PutRecord(store.IKEChildPrefix+a.host+"/"+c.id.String(), next)
		if err != nil {
			return err
		}
		t.Puts = append(t.Puts, put)
		defer a.dropped(number, c)
	}
	_, err := a.r.commit(t)
	return err
}

// restore takes up all IKE SAs of this incarnation. What cannot be taken up ends: its peer will notice.
func (r *reign) restore(s *store.Snapshot) error {
	var err error
	s.Range(store.IKESAPrefix, func(kv store.KV) bool {
		var a *association
		if a, err = r.restoreOne(s, kv); err != nil {
			r.config.Log.Error("an IKE SA cannot be taken up; it ends", "key", kv.Key, "err", err)
			_, err = r.commit(store.Txn{Deletes: []string{kv.Key, store.IKEStatePrefix + strings.TrimPrefix(kv.Key, store.IKESAPrefix)}})
			return err == nil
		}
		r.start(a)
		a.command(ike.Probe{}) // the peer may have given up while nobody was there
		return true
	})
	if err != nil {
		return err
	}
	return r.buryOrphans(s)
}

// errOtherSpec: nobody was there to see the change, and what it was made for may be forbidden now.
var errOtherSpec = errors.New("keying: its peer was deleted or changed while nobody keyed")

var errOldIncarnation = errors.New("keying: it is of an older incarnation")

func (r *reign) restoreOne(s *store.Snapshot, kv store.KV) (*association, error) {
	name := strings.TrimPrefix(kv.Key, store.IKESAPrefix)
	var state controllerv1.IKEState
	if stateKV, ok := s.Get(store.IKEStatePrefix + name); !ok || store.Decode(stateKV, &state) != nil {
		return nil, errors.New("keying: its state is missing")
	}
	if state.GetIncarnation() != r.config.Incarnation {
		return nil, errOldIncarnation
	}
	plain, err := r.config.Store.UnsealTraffic(kv.Key, kv.Value)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var record controllerv1.IKESnapshot
	if err := proto.Unmarshal(plain, &record); err != nil {
		return nil, fmt.Errorf("keying: %w", err)
	}
	defer clear(record.Machine)
	m, err := ike.Restore(r.machineConfig(ike.Policy{}), ike.ParseSnapshot(bytes.Clone(record.GetMachine())))
	if err != nil {
		return nil, err
	}
	a := r.newAssociation(m, record.GetHost())
	a.name, a.fresh = name, state.GetEstablishTime().AsTime()
	a.setPeer(record.GetPeer())
	a.setRevision(record.GetPeerRevision())
	if uid, _, err := r.spec(a.peer()); err != nil || !sameUID(state.GetPeerUid(), uid) || !a.current() {
		return nil, errOtherSpec
	}
	return a, r.restoreChildren(s, a)
}

// restoreChildren finds the records of an association's children.
func (r *reign) restoreChildren(s *store.Snapshot, a *association) (err error) {
	prefix := store.IKEChildPrefix + a.host + "/"
	s.Range(prefix, func(kv store.KV) bool {
		c := &child{record: &controllerv1.IKEChild{}}
		if err = store.Decode(kv, c.record); err != nil {
			return false
		}
		if hex.EncodeToString(c.record.GetIkeSpi()) != a.name || c.record.GetDeleting() {
			return true
		}
		if c.id, err = world.ParseSAID(strings.TrimPrefix(kv.Key, prefix)); err != nil {
			return false
		}
		if c.record.GetDraining() {
			c.dropAt = r.now().Add(drainTime)
		}
		a.children[c.record.GetNumber()] = c
		r.mu.Lock()
		r.bySA[c.id] = a
		r.mu.Unlock()
		return true
	})
	return err
}

// buryOrphans leaves tombstones for the children of IKE SAs that are no more, and takes away what is gone.
func (r *reign) buryOrphans(s *store.Snapshot) (err error) {
	s.Range(store.IKEChildPrefix, func(kv store.KV) bool {
		var c controllerv1.IKEChild
		host, text, bad := store.ParseIKEChildKey(kv.Key)
		id, worse := world.ParseSAID(text)
		if bad != nil || worse != nil || store.Decode(kv, &c) != nil {
			return true
		}
		r.mu.Lock()
		_, owned := r.bySA[id]
		r.mu.Unlock()
		if owned {
			return true
		}
		if !c.GetDeleting() {
			c.Deleting = true
			var put store.Put
			if put, err = store.PutRecord(kv.Key, &c); err == nil {
				_, err = r.commit(store.Txn{Puts: []store.Put{put}})
			}
		}
		r.sweepChild(host, id)
		return err == nil
	})
	return err
}

// sweepChild deletes the records of a child SA whose tombstone has done its work.
func (r *reign) sweepChild(host string, id plan.SAID) {
	var c controllerv1.IKEChild
	var acks controllerv1.IKEChildAcks
	childKey, acksKey := store.IKEChildPrefix+host+"/"+id.String(), store.IKEAcksPrefix+host+"/"+id.String()
	there := r.load(childKey, &c)
	if there && !c.GetDeleting() || !r.load(acksKey, &acks) || there && !acks.GetGone() {
		return
	}
	pair := store.PairID(id)
	_, err := r.commit(store.Txn{Deletes: []string{childKey, acksKey, store.IKEKeyKey(pair, true), store.IKEKeyKey(pair, false)}})
	if err != nil && r.ctx.Err() == nil {
		r.config.Log.Warn("the records of a child SA stay for now", "id", id, "err", err)
	}
}
