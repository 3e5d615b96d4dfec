package store

import (
	"strings"

	"github.com/google/btree"
)

// treeDegree trades the cost of copying a node on write against depth.
const treeDegree = 32

func newTree() *btree.BTreeG[*KV] {
	return btree.NewG(treeDegree, func(a, b *KV) bool { return a.Key < b.Key })
}

// Snapshot is everything a View held at one revision. It never changes and is
// safe for concurrent use; it keeps its values in memory while it is held.
type Snapshot struct {
	tree     *btree.BTreeG[*KV]
	revision int64
}

// Revision is the etcd revision that the snapshot shows.
func (s *Snapshot) Revision() int64 { return s.revision }

// Len is the number of keys.
func (s *Snapshot) Len() int { return s.tree.Len() }

// Get returns the value of one key.
func (s *Snapshot) Get(key string) (KV, bool) {
	kv, ok := s.tree.Get(&KV{Key: key})
	if !ok {
		return KV{}, false
	}
	return *kv, true
}

// Range calls f for the keys that begin with prefix, in key order, until f
// returns false. The values must not be changed.
func (s *Snapshot) Range(prefix string, f func(KV) bool) { s.RangeFrom(prefix, "", f) }

// RangeFrom is Range that begins at the key from, inclusive.
func (s *Snapshot) RangeFrom(prefix, from string, f func(KV) bool) {
	s.tree.AscendGreaterOrEqual(&KV{Key: max(prefix, from)}, func(kv *KV) bool {
		return strings.HasPrefix(kv.Key, prefix) && f(*kv)
	})
}
