package keying

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// reign is one leadership: all machines, and the ways to them.
type reign struct {
	config  Config
	ctx     context.Context
	cancel  context.CancelCauseFunc
	fence   store.Compare
	token   uint32 // fencing token of the IVs
	relays  relays
	records *records
	cookies cookies
	calls   *calls
	nudged  chan struct{}  // capacity 1: it is time to look at all peers
	running sync.WaitGroup // see spawn

	mu     sync.Mutex
	bySPI  map[ikewire.IKESPI]*association
	begun  map[beginning]*association // by their first message, until the peer is authenticated
	byName map[string]*association
	bySA   map[plan.SAID]*association
	over   bool // nothing new is begun
}

// beginning is what an IKE_SA_INIT request is known again by.
type beginning struct {
	host string
	path ike.Path
	spi  ikewire.IKESPI
}

func newReign(ctx context.Context, c Config, fence store.Compare) (*reign, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &reign{
		config: c, ctx: ctx, cancel: cancel, fence: fence, relays: relays{byHost: make(map[string]*relay)}, records: newRecords(), calls: newCalls(),
		nudged: make(chan struct{}, 1), bySPI: make(map[ikewire.IKESPI]*association), begun: make(map[beginning]*association),
		byName: make(map[string]*association), bySA: make(map[plan.SAID]*association),
	}
	var err error
	if r.token, err = r.nextToken(); err != nil {
		cancel(err)
	}
	return r, err
}

// errTokens: IVs would repeat.
var errTokens = errors.New("keying: all fencing tokens of the shard are used")

// nextToken draws a token that nobody has had.
func (r *reign) nextToken() (uint32, error) {
	key, err := store.IKEShardKey(strconv.Itoa(int(r.config.Shard)))
	if err != nil {
		return 0, err
	}
	var shard controllerv1.IKEShard
	revision, err := store.Load(r.ctx, r.config.Store, key, &shard)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	if shard.GetToken() == math.MaxUint32 {
		return 0, errTokens
	}
	shard.Token++
	put, err := store.PutRecord(key, &shard)
	if err != nil {
		return 0, err
	}
	_, err = r.commit(store.Txn{Compares: []store.Compare{store.Unchanged(key, revision)}, Puts: []store.Put{put}})
	return shard.GetToken(), err
}

// commit writes under the fence of the leadership.
func (r *reign) commit(t store.Txn) (int64, error) {
	t.Compares = append([]store.Compare{r.fence}, t.Compares...)
	return r.config.Store.Commit(r.ctx, t)
}

// run takes up what the forerunner left, and follows the store, until the leadership ends.
func (r *reign) run() error {
	defer r.end()
	head, err := r.config.Store.HeadRevision(r.ctx)
	if err != nil {
		return err
	}
	if err := r.config.World.WaitRevision(r.ctx, head); err != nil {
		return err
	}
	sub := r.config.View.Subscribe(prefixes()...)
	defer sub.Close()
	if err := r.restore(sub.Start()); err != nil {
		return err
	}
	r.spawn(r.watchPeers)
	r.config.Log.Info("peers are keyed here", "token", r.token, "ike_sas", r.count())
	r.nudge()
	for {
		batch, err := sub.Next(r.ctx)
		if err != nil {
			if cause := context.Cause(r.ctx); cause != nil {
				return cause
			}
			return err
		}
		r.changed(batch)
	}
}

// spawn runs f as a part of the reign, unless that is over.
func (r *reign) spawn(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.running.Go(f)
	}
}

// end ends all that runs, and waits for it.
func (r *reign) end() {
	r.cancel(store.ErrDeposed)
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.running.Wait()
}

// prefixes are the keys that a reign follows.
func prefixes() []string {
	return []string{
		store.SpecPrefix + string(store.KindPeer) + "/", store.SpecPrefix + string(store.KindHost) + "/",
		store.PeerWishPrefix, store.EpochPrefix, store.IKEAcksPrefix, store.IKEAcquirePrefix,
	}
}

// nudge has all peers looked at.
func (r *reign) nudge() {
	select {
	case r.nudged <- struct{}{}:
	default:
	}
}

func (r *reign) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byName)
}

// associations lists those that want picks.
func (r *reign) associations(want func(*association) bool) (out []*association) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.byName {
		if want(a) {
			out = append(out, a)
		}
	}
	return out
}

// machineConfig is what a machine needs from here.
func (r *reign) machineConfig(p ike.Policy) ike.Config {
	return ike.Config{
		Random: r.config.Random, Token: r.token, Policy: p,
		NewIKESPI: r.newIKESPI, NewChildSPI: r.newChildSPI,
	}
}

// tries bounds the search for a free SPI.
const tries = 16

// newIKESPI draws an SPI with the shard in its top bits.
func (r *reign) newIKESPI() (ikewire.IKESPI, error) {
	for range tries {
		var s ikewire.IKESPI
		rand.Read(s[:]) // never fails
		s[0] = r.config.Shard
		r.mu.Lock()
		_, taken := r.bySPI[s]
		r.mu.Unlock()
		if !taken {
			return s, nil
		}
	}
	return ikewire.IKESPI{}, fmt.Errorf("keying: no free SPI of shard %d was found", r.config.Shard)
}

// newChildSPI draws one likewise. That it is free, its host says.
func (r *reign) newChildSPI() (uint32, error) {
	var b [3]byte
	rand.Read(b[:]) // never fails
	return uint32(r.config.Shard)<<24 | uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), nil
}

func (r *reign) now() time.Time { return r.config.Now() }
