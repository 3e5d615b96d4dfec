package fleet

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// burnPause is how often an agent may make a manual peer's generation higher.
const burnPause = 5 * time.Second

// manualKey fetches the key of one half for this one delivery.
func (st *stream) manualKey(ctx context.Context, o outgoing) (*fleetv1.SecurityAssociation, error) {
	s, phase := st.service, o.manual.peer.Phase
	key := store.ManualKeyPrefix + phase.GetPeer()
	kv, err := s.config.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, st.lostManualKey(ctx, o, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoKey, err)
	}
	plain, err := s.config.Store.Unseal(key, kv.Value)
	if err != nil {
		return nil, st.lostManualKey(ctx, o, err)
	}
	defer clear(plain)
	var record controllerv1.ManualKey
	if err := proto.Unmarshal(plain, &record); err != nil {
		return nil, st.lostManualKey(ctx, o, err)
	}
	if !bytes.Equal(record.GetId(), phase.GetKey()) {
		clear(record.GetInbound())
		clear(record.GetOutbound())
		if kv.ModRevision <= o.manual.peer.Revision {
			return nil, st.lostManualKey(ctx, o, errors.New("the stored keys are others"))
		}
		return nil, fmt.Errorf("%w: the keys have just been replaced", errNoKey)
	}
	sa := proto.CloneOf(o.template)
	// The other direction's key is not sent here.
	if o.resource.kind == kindInbound {
		sa.Key = record.GetInbound()
		clear(record.GetOutbound())
	} else {
		sa.Key = record.GetOutbound()
		clear(record.GetInbound())
	}
	return sa, nil
}

// lostManualKey tells operators that there is no key for a half, unless the half itself is wanted no more. It
// returns errKeyLost.
func (st *stream) lostManualKey(ctx context.Context, o outgoing, why error) error {
	s, phase := st.service, o.manual.peer.Phase
	var now controllerv1.ManualPhase
	_, err := store.Load(ctx, s.config.Store, manualPhaseKey(st.host, o.manual.peer.UID), &now)
	if err == nil && (now.GetDeleting() || !bytes.Equal(now.GetId(), phase.GetId())) || errors.Is(err, store.ErrNotFound) {
		return errKeyLost // as it should: the world will say so
	}
	st.mu.Lock()
	st.ledger.refused[o.resource] = versionInstalled // until the next report
	tell := s.now().Sub(st.nacked) >= tellPause
	if tell {
		st.nacked = s.now()
	}
	st.mu.Unlock()
	if !tell {
		return errKeyLost
	}
	s.log.Error("the keys of a manual peer cannot be delivered", "host", st.host, "peer", phase.GetPeer(), "err", why)
	s.tell(ctx, phase.GetPeer(), "KeysLost", "the stored keys cannot be opened or are gone: apply the manual peer with its keys again")
	return errKeyLost
}

func manualPhaseKey(host string, uid plan.UID) string {
	return store.ManualPhasePrefix + host + "/" + uid.String() // both have been parsed
}

// tell tells operators something about a manual peer.
func (s *Service) tell(ctx context.Context, peer, reason, message string) {
	if s.config.Events != nil {
		s.config.Events.Event(ctx, "ManualPeer", peer, reason, true, message)
	}
}

// submitManual queues an edit of a manual peer's phase, as long as it is of the same SA pair; the caller holds
// mu. change returns false when there is nothing to do; a nil one deletes the record.
func (st *stream) submitManual(uid plan.UID, id plan.SAID, change func(*controllerv1.ManualPhase) bool) {
	st.service.writer.submit(edit{
		key: manualPhaseKey(st.host, uid), while: st.current(),
		apply: func(have store.KV, exists bool) ([]byte, error) {
			var phase controllerv1.ManualPhase
			if !exists {
				return nil, nil
			}
			if err := store.Decode(have, &phase); err != nil {
				return nil, err
			}
			switch {
			case !bytes.Equal(phase.GetId(), id[:]):
				return nil, nil
			case change == nil:
				return deleteKey(), nil
			case !change(&phase):
				return nil, nil
			}
			return store.Encode(&phase)
		},
	})
}

// settleManual writes down what the agent has; the caller holds mu.
func (st *stream) settleManual(m *manualPair, finished bool) {
	if m.in == nil {
		if finished {
			st.submitManual(m.peer.UID, m.id, nil)
		}
		return
	}
	if acks := st.ledger.manualAcks(m.id); acksDue(m.peer.Phase, acks, st.epoch) {
		epoch := st.epoch
		st.submitManual(m.peer.UID, m.id, func(phase *controllerv1.ManualPhase) bool {
			phase.Acks, phase.Epoch = acks, epoch[:]
			return true
		})
	}
}

// refusedManual answers the refusal of a manual peer's half; the caller holds mu. A generation that is burnt
// becomes a higher one: so it is after a restore. What clashes with what is superseded waits for that to go.
// Anything else is tried again at the next report.
func (st *stream) refusedManual(r resource, n *fleetv1.Nack, pair plan.PairID) {
	uid, id := pair.Other(st.uid), plan.SAID(r.id)
	switch n.GetReason() {
	case fleetv1.NackReason_NACK_REASON_SPI_CLASH:
		if !st.ledger.clash[id] {
			st.ledger.clash[id] = true
			delete(st.ledger.refused, r)
		}
	case fleetv1.NackReason_NACK_REASON_BURNT:
		if now := st.service.now(); now.Sub(st.burnt) >= burnPause {
			st.burnt = now
			var next plan.SAID
			copy(next[:], uid[:])
			rand.Read(next[len(uid):]) // never fails
			highest := n.GetHighestGeneration()
			st.submitManual(uid, id, func(phase *controllerv1.ManualPhase) bool {
				if phase.GetDeleting() {
					return false
				}
				phase.Id, phase.Generation = next[:], refusedBelow(phase.GetGeneration(), highest)
				phase.Acks, phase.Epoch, phase.BreakFirst = 0, nil, true
				return true
			})
		}
	}
}

// expiredManual tells operators that a key comes to its end: only they can give another one. It returns the
// peer's pair.
func (st *stream) expiredManual(ctx context.Context, r resource, reason fleetv1.ExpireReason) {
	st.mu.Lock()
	pair, known := st.ledger.manual[plan.SAID(r.id)]
	if _, there := st.ledger.present(r); !known || !there {
		st.mu.Unlock()
		return
	}
	st.service.meter.expires.Add(1)
	hard := reason == fleetv1.ExpireReason_EXPIRE_REASON_HARD
	if hard {
		delete(st.ledger.held, r)
		st.ledger.refused[r] = versionSpent
		st.mark(pair)
	}
	st.mu.Unlock()
	peer := ""
	st.service.config.World.Read(func(w world.State) {
		if p, ok, err := world.ReadManualPeer(w.Snapshot, st.host, pair.Other(st.uid)); err == nil && ok {
			peer = p.Phase.GetPeer()
		}
	})
	if hard {
		st.service.tell(ctx, peer, "KeyUsedUp", fmt.Sprintf("%v has used up its sequence numbers and is gone: give both ends new keys", r))
		return
	}
	st.service.tell(ctx, peer, "KeyNearItsEnd", fmt.Sprintf("the sequence numbers of %v are nearly used up: give both ends new keys", r))
}
