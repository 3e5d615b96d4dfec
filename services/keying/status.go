package keying

import (
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// tell writes down how the newest exchange with a peer has ended, for its status. What is lost is told the next time.
func (r *reign) tell(name, how string) {
	if name == "" {
		return
	}
	now := timestamppb.New(r.now())
	r.spawn(func() {
		if err := r.writeStatus(name, &operatorv1.PeerStatus{Exchange: how, ExchangeTime: now}); err != nil && r.ctx.Err() == nil {
			r.config.Log.Debug("a peer's status was not written", "peer", name, "err", err)
		}
	})
}

// writeStatus writes the status of a peer that there is.
func (r *reign) writeStatus(name string, s *operatorv1.PeerStatus) error {
	spec, err := store.SpecKey(store.KindPeer, name)
	if err != nil {
		return err
	}
	key, err := store.StatusKey(store.KindPeer, name)
	if err != nil {
		return err
	}
	put, err := store.PutRecord(key, s)
	if err != nil {
		return err
	}
	_, err = r.commit(store.Txn{Compares: []store.Compare{store.Exists(spec)}, Puts: []store.Put{put}})
	if errors.Is(err, store.ErrConflict) {
		return nil // it has been deleted
	}
	return err
}

// wished is a peer that nobody has taken down.
func (r *reign) wished(name string, uid plan.UID) bool { return !r.wish(name, uid).GetDown() }
