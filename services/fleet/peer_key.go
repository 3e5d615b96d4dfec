package fleet

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// peerKey fetches the key of one half of a child SA for this one delivery.
func (st *stream) peerKey(ctx context.Context, pair plan.PairID, o outgoing) (*fleetv1.SecurityAssociation, error) {
	s := st.service
	inbound := o.resource.kind == kindInbound
	sa, err := peerHalf(*o.child, pair, inbound, s.now())
	if err != nil {
		return nil, st.lostPeerKey(o, err)
	}
	key := store.IKEKeyKey(store.PairID(o.child.ID), inbound)
	kv, err := s.config.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, st.lostPeerKey(o, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoKey, err)
	}
	plain, err := s.config.Store.UnsealTraffic(key, kv.Value)
	if err != nil {
		return nil, st.lostPeerKey(o, err)
	}
	defer clear(plain)
	var record controllerv1.IKEChildKey
	if err := proto.Unmarshal(plain, &record); err != nil {
		return nil, st.lostPeerKey(o, err)
	}
	if string(record.GetId()) != string(o.child.ID[:]) {
		clear(record.GetKey())
		return nil, st.lostPeerKey(o, errors.New("the key is of another SA pair"))
	}
	sa.Key = record.GetKey()
	return sa, nil
}

// lostPeerKey makes package keying make another child SA: it reads as a refusal. It returns errKeyLost.
func (st *stream) lostPeerKey(o outgoing, why error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ledger.refused[o.resource] = versionInstalled
	d := st.ledger.details[o.child.ID]
	d.text = "there is no key to deliver: " + why.Error()
	st.ledger.details[o.child.ID] = d
	st.submitChildAcks(*o.child)
	return errKeyLost
}

// settlePeer writes down what the agent has of a peer's entry; the caller holds mu.
func (st *stream) settlePeer(pair plan.PairID, p *peerPair) {
	for _, sa := range p.entry.SAs {
		if !proto.Equal(st.ledger.childAcks(st.asEnd(), sa), sa.Acks) {
			st.submitChildAcks(sa)
		}
	}
	held, there := st.ledger.present(pairResource(pair))
	if p.gone && !held && !there && !st.ledger.holdsOf(p.entry.UID) {
		st.service.writer.submit(edit{
			key: store.PeerEntryPrefix + st.host + "/" + p.entry.UID.String(), while: st.current(), apply: endEntry,
		})
	}
}

// endEntry drops a tombstone that has done its work.
func endEntry(have store.KV, exists bool) ([]byte, error) {
	var e controllerv1.PeerEntry
	if !exists {
		return nil, nil
	}
	if err := store.Decode(have, &e); err != nil || !e.GetDeleting() {
		return nil, err
	}
	return deleteKey(), nil
}

// asEnd is this stream's end of its pairs.
func (st *stream) asEnd() end {
	return end{uid: st.uid, epoch: st.epoch, incarnation: st.service.config.Incarnation, now: st.service.now()}
}

// submitChildAcks queues what the agent has said of a child SA; the caller holds mu.
func (st *stream) submitChildAcks(sa world.PeerSA) {
	acks := st.ledger.childAcks(st.asEnd(), sa)
	st.service.writer.submit(edit{
		key: store.IKEAcksPrefix + st.host + "/" + sa.ID.String(), slot: "acks", while: st.current(),
		apply: func(have store.KV, exists bool) ([]byte, error) {
			var before controllerv1.IKEChildAcks
			if exists {
				if err := store.Decode(have, &before); err != nil {
					return nil, err
				}
			}
			if proto.Equal(&before, acks) {
				return nil, nil
			}
			return store.Encode(acks)
		},
	})
}

// saidOf notes something that the agent has said of a child SA, and writes it down; the caller holds mu.
func (st *stream) saidOf(id plan.SAID, note func(*said)) {
	pair, known := st.ledger.peers[id]
	if !known {
		return
	}
	d := st.ledger.details[id]
	note(&d)
	st.ledger.details[id] = d
	st.mark(pair)
}

// expiredPeer writes down that a child SA is at a limit; the caller holds mu.
func (st *stream) expiredPeer(r resource, reason fleetv1.ExpireReason) {
	if _, there := st.ledger.present(r); !there {
		return
	}
	st.saidOf(plan.SAID(r.id), func(d *said) {
		d.soft = true
		if reason == fleetv1.ExpireReason_EXPIRE_REASON_HARD {
			d.hard = true
			delete(st.ledger.held, r)
			st.ledger.refused[r] = versionSpent
		}
	})
}

// acquired writes down that a packet wants a child SA: package keying makes it.
func (st *stream) acquired(a *fleetv1.Acquire) {
	pair, err := plan.ParsePairID(a.GetPair())
	if err != nil || !pair.Has(st.uid) {
		return
	}
	key, err := store.IKEAcquireKey(st.host, pair.Other(st.uid).String())
	if err != nil {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if held, _ := st.ledger.present(pairResource(pair)); !held {
		return
	}
	record := &controllerv1.IKEAcquire{Time: uint32(st.service.now().Unix()), Local: a.GetLocal(), Remote: a.GetRemote()}
	st.service.writer.submit(edit{
		key: key, slot: "acquire", while: st.current(),
		apply: func(have store.KV, exists bool) ([]byte, error) {
			var before controllerv1.IKEAcquire
			if exists && store.Decode(have, &before) == nil && before.GetTime() == record.GetTime() {
				return nil, nil // a hostile agent must not make us write without end
			}
			return store.Encode(record)
		},
	})
}
