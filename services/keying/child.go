package keying

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

const (
	// ackTimeout is how long an agent may take to install an inbound half.
	ackTimeout = 10 * time.Second
	// drainTime is how long an inbound half outlives its outbound one after a rekey, for what is on its way.
	drainTime = 5 * time.Second
)

// child is a child SA as it is recorded.
type child struct {
	id     plan.SAID
	record *controllerv1.IKEChild
	// dropAt is when a draining child is to go; zero: it does not drain.
	dropAt time.Time
	// told is what of its acks the machine has been told.
	told controllerv1.IKEChildAcks
}

var (
	errRefused = errors.New("keying: the agent refuses a child SA")
	errNoAck   = errors.New("keying: the agent has not installed a child SA in time")
	errNoHost  = errors.New("keying: the host has no agent that is connected")
	errProto   = errors.New("keying: only ESP is delivered")
)

// installInbound records a child SA with its inbound key, and waits until the agent has installed it.
func (a *association) installInbound(x ike.InstallInbound) error {
	c := a.children[x.Child.ID]
	if c == nil {
		var err error
		if c, err = a.newChild(x); err != nil {
			return err
		}
	}
	return a.awaitInbound(c)
}

func (a *association) newChild(x ike.InstallInbound) (*child, error) {
	if x.Child.Protocol != ikewire.ProtocolESP {
		return nil, errProto
	}
	peer, spec, err := a.r.spec(a.peer())
	if err != nil {
		return nil, err
	}
	uid := world.ChildUID(peer, x.Child.Name)
	c := &child{}
	copy(c.id[:], uid[:])
	rand.Read(c.id[len(uid):]) // never fails
	host, err := a.r.host(a.host)
	if err != nil {
		return nil, err
	}
	now := a.r.now()
	c.record = a.childRecord(x.Child, now)
	c.record.Peer, c.record.Epoch, c.record.Incarnation = a.peer(), host.Epoch[:], a.r.config.Incarnation
	c.record.InboundGeneration = a.r.generation(a.host, uid, now)
	limits(c.record, spec, x.Child.Name)
	if err := a.putChild(c, x.Keymat, true); err != nil {
		return nil, err
	}
	a.children[x.Child.ID] = c
	a.r.mu.Lock()
	a.r.bySA[c.id] = a
	a.r.mu.Unlock()
	return c, nil
}

// putChild writes a child's record, with the key of one half.
func (a *association) putChild(c *child, key ike.Secret, inbound bool) error {
	record, err := store.PutRecord(store.IKEChildPrefix+a.host+"/"+c.id.String(), c.record)
	if err != nil {
		return err
	}
	plain, err := store.Encode(&controllerv1.IKEChildKey{Id: c.id[:], Key: key})
	if err != nil {
		return err
	}
	defer clear(plain)
	keyKey := store.IKEKeyKey(store.PairID(c.id), inbound)
	sealed, err := a.r.config.Store.SealTraffic(keyKey, plain, time.Unix(int64(c.record.GetHardTime()), 0))
	if err != nil {
		return err
	}
	_, err = a.r.commit(store.Txn{Puts: []store.Put{record, {Key: keyKey, Value: sealed}}})
	return err
}

// awaitInbound waits for the agent's ack.
func (a *association) awaitInbound(c *child) error {
	ctx, cancel := context.WithTimeout(a.r.ctx, ackTimeout)
	defer cancel()
	for {
		acks, err := a.acksOf(c)
		switch {
		case err != nil:
			return err
		case acks.GetAcks()&world.PeerInbound != 0:
			return nil
		case acks.GetRefused()&world.PeerInbound != 0:
			return fmt.Errorf("%w: %s", errRefused, acks.GetDetail())
		}
		select {
		case <-a.acked:
		case <-ctx.Done():
			if a.r.ctx.Err() != nil {
				return a.r.ctx.Err()
			}
			return errNoAck
		}
	}
}

// acksOf is what the agent has said of a child SA.
func (a *association) acksOf(c *child) (*controllerv1.IKEChildAcks, error) {
	acks := &controllerv1.IKEChildAcks{}
	kv, ok := a.r.config.View.Get(store.IKEAcksPrefix + a.host + "/" + c.id.String())
	if !ok {
		return acks, nil
	}
	return acks, store.Decode(kv, acks)
}

// installOutbound lets the agent send.
func (a *association) installOutbound(x ike.InstallOutbound) error {
	c := a.children[x.Child.ID]
	if c == nil {
		return nil // removed meanwhile
	}
	if c.record.GetOutboundGeneration() == 0 {
		next := proto.CloneOf(c.record)
		next.OutboundGeneration = a.r.generation(a.host, plan.UID(c.id[:8]), a.r.now())
		return a.update(c, next, x.Keymat)
	}
	return nil
}

// update writes another state of a child's record; key is that of the outbound half, or nil.
func (a *association) update(c *child, next *controllerv1.IKEChild, key ike.Secret) error {
	before := c.record
	c.record = next
	var err error
	if key != nil {
		err = a.putChild(c, key, false)
	} else {
		var put store.Put
		if put, err = store.PutRecord(store.IKEChildPrefix+a.host+"/"+c.id.String(), next); err == nil {
			_, err = a.r.commit(store.Txn{Puts: []store.Put{put}})
		}
	}
	if err != nil {
		c.record = before
	}
	return err
}

// removeChild has the agent delete a child SA: its outbound half at once, its inbound one after what is on its way.
func (a *association) removeChild(x ike.RemoveChild) error {
	c := a.children[x.ID]
	if c == nil {
		return nil
	}
	next := proto.CloneOf(c.record)
	if x.Drain {
		next.Draining = true
		if err := a.update(c, next, nil); err != nil {
			return err
		}
		c.dropAt = a.r.now().Add(drainTime)
		return nil
	}
	next.Deleting = true
	if err := a.update(c, next, nil); err != nil {
		return err
	}
	a.dropped(x.ID, c)
	return nil
}

// dropped forgets a child SA that has a tombstone: the reign takes its records away when the agent has.
func (a *association) dropped(number uint64, c *child) {
	delete(a.children, number)
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	delete(a.r.bySA, c.id)
}

// nextDrain is when the next draining child is to go; zero: there is none.
func (a *association) nextDrain() (first time.Time) {
	for _, c := range a.children {
		if !c.dropAt.IsZero() && (first.IsZero() || c.dropAt.Before(first)) {
			first = c.dropAt
		}
	}
	return first
}

// drained deletes the children that have drained.
func (a *association) drained() {
	now := a.r.now()
	for number, c := range a.children {
		if c.dropAt.IsZero() || now.Before(c.dropAt) {
			continue
		}
		next := proto.CloneOf(c.record)
		next.Deleting = true
		if err := a.update(c, next, nil); err != nil {
			c.dropAt = now.Add(retryActions)
			continue
		}
		a.dropped(number, c)
	}
}

// moveChildren tells the agent where the peer is now.
func (a *association) moveChildren(x ike.MoveChildren) error {
	for _, c := range a.children {
		next := proto.CloneOf(c.record)
		next.LocalAddress, next.RemoteAddress, next.RemotePort = x.Path.Local.Addr().AsSlice(), x.Path.Remote.Addr().AsSlice(), espPort(x.Path)
		if proto.Equal(next, c.record) {
			continue
		}
		if err := a.update(c, next, nil); err != nil {
			return err
		}
	}
	return nil
}
