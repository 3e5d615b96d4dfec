package manual

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
)

// retryExtend is how long after a failure of the disk the numbers are asked for again.
const retryExtend = time.Second

// Raiser lets an SA use more sequence numbers; a *datapath.Datapath.
type Raiser interface {
	// RaiseCeiling lets an outbound SA use numbers up to n; datapath.ErrNoSA if there is none.
	RaiseCeiling(id datapath.SAID, n uint64) error
}

// Keeper gives installed SAs the sequence numbers that they need, and tells people when a key ends.
//
//	half of the block is used ──▶ CeilingNear ──▶ reserve the next one ──▶ RaiseCeiling
type Keeper struct {
	reservations *Reservations
	raiser       Raiser
	log          *slog.Logger

	mu   sync.Mutex
	held map[datapath.SAID]*holding
	// unused are blocks that were reserved for SAs which were never installed.
	unused map[Fingerprint]block
}

// block is the numbers from first+1 to ceiling.
type block struct{ first, ceiling uint64 }

// holding is an outbound SA and what is reserved for it.
type holding struct {
	policy string
	key    Fingerprint
	esn    bool
	block       // the last one that was reserved
	wanted bool // an extension failed and is tried again
}

// NewKeeper makes a keeper of what is reserved in r.
func NewKeeper(r *Reservations, raiser Raiser, log *slog.Logger) *Keeper {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Keeper{reservations: r, raiser: raiser, log: log, held: make(map[datapath.SAID]*holding), unused: make(map[Fingerprint]block)}
}

// reserve reserves the first block of an SA that is to be installed, and keeps it from then on.
func (k *Keeper) reserve(policy string, id datapath.SAID, key Fingerprint, esn bool) (sequence, ceiling uint64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b, ok := k.unused[key]
	if ok = ok && b.ceiling <= lastOf(esn); ok {
		delete(k.unused, key)
	} else if b.first, b.ceiling, err = k.reservations.Reserve(key, esn); err != nil {
		return 0, 0, err
	}
	k.held[id] = &holding{policy: policy, key: key, esn: esn, block: b}
	return b.first, b.ceiling, nil
}

// giveBack takes the block of an SA that was not installed after all. The next SA of its key begins with it.
func (k *Keeper) giveBack(id datapath.SAID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h := k.held[id]; h != nil {
		delete(k.held, id)
		k.unused[h.key] = h.block
	}
}

// forget ends the keeping of an SA that is gone.
func (k *Keeper) forget(id datapath.SAID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, id)
}

// Run takes the datapath's events until ctx ends.
func (k *Keeper) Run(ctx context.Context, events <-chan datapath.Event) error {
	retry := time.NewTicker(retryExtend)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-events:
			k.handle(e)
		case <-retry.C:
			k.again()
		}
	}
}

func (k *Keeper) handle(e datapath.Event) {
	log := k.log.With("policy", e.RemoteHost, "sa", e.SA, "inbound", e.Inbound)
	switch e.Kind {
	case datapath.CeilingNear:
		k.extend(e.SA)
	case datapath.SoftLifetime:
		log.Warn("an association has passed its soft lifetime: give both ends new keys")
	case datapath.HardLifetime:
		log.Error("an association has reached its hard lifetime and is deleted: its traffic is dropped until both ends have new keys")
	case datapath.PathChanged:
		log.Info("the other end has another address", "address", e.Addr)
	}
}

// again tries once more what has failed.
func (k *Keeper) again() {
	k.mu.Lock()
	var wanted []datapath.SAID
	for id, h := range k.held {
		if h.wanted {
			wanted = append(wanted, id)
		}
	}
	k.mu.Unlock()
	for _, id := range wanted {
		k.extend(id)
	}
}

// extend reserves the next block of an SA and lets it use that. The disk is waited for with the lock held:
// nobody else is in a hurry.
func (k *Keeper) extend(id datapath.SAID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.held[id]
	if h == nil {
		return // removed meanwhile
	}
	ceiling, err := k.next(h)
	h.wanted = err != nil && !errors.Is(err, ErrExhausted)
	switch {
	case errors.Is(err, ErrNotLast):
		return // its successor of the same key has those: the SA is about to be removed, or they are given back
	case errors.Is(err, ErrExhausted):
		k.log.Error("the sequence numbers of a key are nearly used up: its traffic will be dropped until both ends have a new key",
			"policy", h.policy, "sa", id, "last", h.ceiling)
		return
	case err != nil:
		k.log.Error("no more sequence numbers can be reserved; trying again", "policy", h.policy, "sa", id, "err", err)
		return
	}
	h.block = block{h.ceiling, ceiling}
	if last := lastOf(h.esn); last-ceiling < last/10 {
		k.log.Warn("nine tenths of a key's sequence numbers are used: give both ends a new key", "policy", h.policy, "sa", id)
	}
	if err := k.raiser.RaiseCeiling(id, ceiling); err != nil && !errors.Is(err, datapath.ErrNoSA) {
		k.log.Error("an association cannot use its sequence numbers", "policy", h.policy, "sa", id, "err", err)
	}
}

// next reserves the block behind that of an SA. The caller holds mu.
func (k *Keeper) next(h *holding) (uint64, error) {
	if b, ok := k.unused[h.key]; ok && b.first == h.ceiling && b.ceiling <= lastOf(h.esn) {
		delete(k.unused, h.key)
		return b.ceiling, nil
	}
	return k.reservations.Extend(h.key, h.esn, h.ceiling)
}
