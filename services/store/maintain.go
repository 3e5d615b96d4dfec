package store

import (
	"context"
	"slices"
	"time"
)

const (
	maintainEvery = time.Minute
	// defragmentPause is the least time between two defragmentations: each stops a member for a moment.
	defragmentPause = 10 * time.Minute
	// leastFree is how much a defragmentation must give back to be worth its stop, bytes.
	leastFree = 256 << 20
)

// Maintain defragments etcd's database while that is worth it and due says that this process shall, until
// ctx ends. Compaction, which etcd does by itself, only makes room inside the file.
func (s *Store) Maintain(ctx context.Context, due func() bool) error {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	var last time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if now := s.now(); due() && now.Sub(last) >= defragmentPause && s.maintain(ctx, leastFree) {
			last = now
		}
	}
}

// maintain defragments if need be, and reports whether it tried.
func (s *Store) maintain(ctx context.Context, least int64) bool {
	before, err := s.Status(ctx)
	if err != nil || !before.worthDefragmenting(least) {
		return false // without an answer everybody else complains
	}
	began := s.now()
	if err := s.Defragment(ctx); err != nil {
		s.log.Error("etcd's database could not be defragmented", "err", err)
		return true
	}
	s.log.Info("etcd's database was defragmented", "free_bytes", before.free(), "took", s.now().Sub(began))
	return true
}

// worthDefragmenting: half of a file is free and that is not little, or etcd refuses writes and there is
// something to gain.
func (s Status) worthDefragmenting(least int64) bool {
	if s.Alarmed("NOSPACE") {
		return s.roomy() || s.free() >= least
	}
	return slices.ContainsFunc(s.Endpoints, func(e EndpointStatus) bool {
		return e.Err == nil && e.Size-e.InUse >= max(least, e.Size/2)
	})
}

// free is the most that a member can give back, bytes.
func (s Status) free() (most int64) {
	for _, e := range s.Endpoints {
		if e.Err == nil {
			most = max(most, e.Size-e.InUse)
		}
	}
	return most
}
