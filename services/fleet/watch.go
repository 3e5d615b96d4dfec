package fleet

import (
	"bytes"
	"context"
	"strings"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

const specHostPrefix = store.SpecPrefix + string(store.KindHost) + "/"

// tombstones are the pairs, by host, that have a generation in the phase Deleting: what an agent that
// connects must be told even if no policy wants the pair and it does not hold it.
type tombstones map[plan.UID]map[plan.PairID]struct{}

func (t tombstones) add(pair plan.PairID) {
	for _, uid := range []plan.UID{pair.A(), pair.B()} {
		if t[uid] == nil {
			t[uid] = make(map[plan.PairID]struct{})
		}
		t[uid][pair] = struct{}{}
	}
}

func (t tombstones) remove(pair plan.PairID) {
	for _, uid := range []plan.UID{pair.A(), pair.B()} {
		if delete(t[uid], pair); len(t[uid]) == 0 {
			delete(t, uid)
		}
	}
}

// watch tells streams what changes around them.
func (s *Service) watch(ctx context.Context) error {
	sub := s.config.View.Subscribe(specHostPrefix, store.EpochPrefix, store.HostIDPrefix, store.CAPrefix,
		store.SAPhasePrefix, store.IntentPrefix+haltScope+"/")
	defer sub.Close()
	start := sub.Start()
	start.Range(store.SAPhasePrefix, func(kv store.KV) bool {
		s.noteGeneration(start, store.Change{Key: kv.Key, New: &kv})
		return true
	})
	start.Range(store.IntentPrefix+haltScope+"/", func(kv store.KV) bool {
		s.heedHalt(&kv)
		return true
	})
	start.Range(store.EpochPrefix, func(kv store.KV) bool { // of streams that opened before Run
		s.epochChanged(store.Change{Key: kv.Key, New: &kv})
		return true
	})
	for {
		batch, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		snapshot := s.config.View.Snapshot()
		roots := false
		for _, c := range batch.Changes {
			roots = roots || strings.HasPrefix(c.Key, store.CAPrefix)
			s.changed(snapshot, c)
		}
		if roots {
			for _, st := range s.open() {
				st.welcomeAgain()
			}
		}
	}
}

func (s *Service) changed(snapshot *store.Snapshot, c store.Change) {
	switch {
	case strings.HasPrefix(c.Key, store.SAPhasePrefix):
		s.noteGeneration(snapshot, c)
	case strings.HasPrefix(c.Key, specHostPrefix):
		s.hostChanged(c)
	case strings.HasPrefix(c.Key, store.EpochPrefix):
		s.epochChanged(c)
	case strings.HasPrefix(c.Key, store.HostIDPrefix):
		if st, ok := s.streamOf(strings.TrimPrefix(c.Key, store.HostIDPrefix)); ok {
			st.checkKey(snapshot)
		}
	case strings.HasPrefix(c.Key, store.IntentPrefix) && c.New != nil:
		s.heedHalt(c.New)
	}
}

func (s *Service) noteGeneration(snapshot *store.Snapshot, c store.Change) {
	id, _, err := store.ParseSAPhaseKey(c.Key)
	if err != nil {
		return
	}
	pair := plan.PairID(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.New == nil {
		if more, _ := world.Generations(snapshot, pair); len(more) == 0 {
			s.tombstones.remove(pair)
		}
		return
	}
	if _, g, err := world.Generation(*c.New); err == nil && g.Phase == plan.Deleting {
		s.tombstones.add(pair)
	}
}

// hostChanged ends the stream of a host that was removed, or removed and made again.
func (s *Service) hostChanged(c store.Change) {
	st, ok := s.streamOf(strings.TrimPrefix(c.Key, specHostPrefix))
	if !ok {
		return
	}
	if c.New == nil || c.New.CreateRevision != st.created {
		st.end(errRemoved)
	}
}

// epochChanged ends a stream that is no longer the newest of its host: another controller has admitted
// one.
func (s *Service) epochChanged(c store.Change) {
	st, ok := s.streamOf(strings.TrimPrefix(c.Key, store.EpochPrefix))
	if !ok || c.New == nil || c.New.ModRevision <= st.admitted {
		return
	}
	var record controllerv1.Epoch
	if store.Decode(*c.New, &record) == nil &&
		bytes.Equal(record.GetEpoch(), st.epoch[:]) && record.GetStream() == st.number {
		return
	}
	st.end(errSuperseded)
}
