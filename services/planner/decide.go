package planner

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// work is what shall be written about one pair, and what it was decided from.
type work struct {
	pair     plan.PairID
	changes  []plan.Change
	compares []store.Compare
	lifetime plan.Lifetime // of the policy that wants the pair
}

// decide steps pairs as they are at one revision and returns those with something to write. What takes
// time, the making of keys, comes afterwards.
func (r *reign) decide(pairs []plan.PairID, now time.Time) []work {
	var works []work
	r.config.Feed.Read(func(s world.State) {
		d := decider{reign: r, state: s, now: now}
		for _, id := range pairs {
			if w, ok := d.pair(id); ok {
				works = append(works, w)
			}
		}
	})
	return works
}

// decider decides under the feed's lock.
type decider struct {
	*reign
	state world.State
	now   time.Time
}

func (d *decider) pair(id plan.PairID) (work, bool) {
	generations, err := world.Generations(d.state.Snapshot, id)
	if err != nil { // without it no number can be chosen that is free
		d.config.Log.Error("a pair stands still because a record of it cannot be read", "pair", id, "err", err)
		return work{}, false
	}
	situation := d.state.World.Situation(id, generations)
	changes, deadline := plan.Step(situation, d.now, d.config.Limits)
	d.queue.at(id, deadline)
	d.linger(&situation)
	if len(changes) == 0 || d.held(&situation, changes) {
		delete(d.shy, id)
		return work{}, false
	}
	w := work{pair: id, changes: changes}
	if err := d.compare(&w, &situation); err != nil {
		d.config.Log.Error("a pair cannot be planned", "pair", id, "err", err)
		return work{}, false
	}
	d.reports.take(&situation, changes)
	return w, true
}

// linger remembers a pair of which the world will say no more.
func (d *decider) linger(s *plan.Situation) {
	if s.Policy == nil && len(s.Generations) > 0 {
		d.lingering.add(s.ID)
	} else {
		d.lingering.remove(s.ID)
	}
}

// compare notes what the decision was made from.
func (d *decider) compare(w *work, s *plan.Situation) error {
	for _, h := range []*plan.Host{s.A, s.B} {
		if h == nil {
			continue // a uid that is gone never comes back
		}
		key, err := store.EpochKey(h.Name)
		if err != nil {
			return err
		}
		w.compares = append(w.compares, store.Unchanged(key, d.revision(key)))
		if s.Policy == nil {
			if key, err = store.SpecKey(store.KindHost, h.Name); err != nil {
				return err
			}
			w.compares = append(w.compares, store.Unchanged(key, h.Revision))
		}
	}
	if s.Policy != nil {
		key, err := store.SpecKey(store.KindPolicy, s.Policy.Name)
		if err != nil {
			return err
		}
		w.lifetime = s.Policy.Lifetime
		w.compares = append(w.compares, store.Unchanged(key, s.Policy.Revision))
	}
	for _, c := range w.changes {
		key := store.SAPhaseKey(store.PairID(w.pair), c.Generation.Number)
		w.compares = append(w.compares, store.Unchanged(key, c.Generation.ModRevision))
	}
	return nil
}

// revision is the ModRevision of a key in the state, 0 when it is absent.
func (d *decider) revision(key string) int64 {
	kv, _ := d.state.Snapshot.Get(key)
	return kv.ModRevision
}
