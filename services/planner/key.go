package planner

import (
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// replayWindow is the anti-replay window of every SA, packets.
const replayWindow = 2048

// randomise gives the generations that a work creates what plan leaves open: an id, and SPIs that their
// receivers do not have.
func (r *reign) randomise(w *work) (err error) {
	for i := range w.changes {
		g := &w.changes[i].Generation
		if w.changes[i].Kind != plan.Create {
			continue
		}
		if _, err := io.ReadFull(r.config.Random, g.ID[:]); err != nil {
			return fmt.Errorf("planner: random numbers: %w", err)
		}
		if g.SPIAB, err = r.spis.pick(r.config.Random, r.config.Shard, w.pair.B()); err != nil {
			return err
		}
		if g.SPIBA, err = r.spis.pick(r.config.Random, r.config.Shard, w.pair.A()); err != nil {
			r.spis.drop(w.pair.B(), g.SPIAB)
			g.SPIAB = 0
			return err
		}
	}
	return nil
}

// sealedKey makes the secret record of a new generation: fresh keys for both directions, sealed for its
// own place in the store under a traffic key that dies with it.
func (r *reign) sealedKey(pair plan.PairID, g *plan.Generation, life plan.Lifetime) (store.Put, error) {
	suite, err := g.Transform.Suite()
	if err != nil {
		return store.Put{}, fmt.Errorf("planner: %w", err)
	}
	keys := make([]byte, 2*suite.KeymatLen())
	defer clear(keys)
	if _, err := io.ReadFull(r.config.Random, keys); err != nil {
		return store.Put{}, fmt.Errorf("planner: random numbers: %w", err)
	}
	record := &controllerv1.GenerationKey{
		Id: g.ID[:], KeyAToB: keys[:suite.KeymatLen()], KeyBToA: keys[suite.KeymatLen():],
		SpiAToB: g.SPIAB, SpiBToA: g.SPIBA, ReplayWindow: replayWindow,
		Transform: world.TransformRecord(g.Transform),
		SoftBytes: soft(g, life, life.RekeyBytes), HardBytes: life.HardBytes,
		SoftPackets: soft(g, life, life.RekeyPackets), HardPackets: life.HardPackets,
	}
	plain, err := proto.MarshalOptions{Deterministic: true}.Marshal(record)
	if err != nil {
		return store.Put{}, fmt.Errorf("planner: %w", err)
	}
	defer clear(plain)
	key := store.SAKey(store.PairID(pair), g.Number)
	sealed, err := r.config.Store.SealTraffic(key, plain, time.Unix(int64(g.Hard), 0))
	return store.Put{Key: key, Value: sealed}, err
}

// soft is a limit less the jitter that the generation has in time.
func soft(g *plan.Generation, life plan.Lifetime, limit uint64) uint64 {
	rekey := uint64(life.Rekey / time.Second)
	if rekey == 0 {
		return limit
	}
	early := rekey - min(rekey, uint64(g.Soft-g.Create))
	// limit·early/rekey without overflow: early is at most a tenth of rekey, and both are small.
	return limit - limit/rekey*early
}
