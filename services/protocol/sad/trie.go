package sad

import "slices"

// trie is a persistent map: put and without return a new one that shares with the old, which does
// not change, all but the branches on one path. What they cost grows with the logarithm of the size.
//
//	hash:  … 01110 00010 00001      a branch has a slot for each value of five bits:
//	             │     │     └──▶ ┌ root ─────────┐    empty, one entry, or the branch of
//	             │     └────▶ ┌───┤ 1: branch     │    the two or more entries there
//	             └──▶ an entry    │ 7: an entry   │
//	                              └───────────────┘
//
// Branches are whole arrays: a lookup reads one slot of each and nothing else. The zero trie is
// empty. Keys whose whole hashes are equal are in a list at the end.
type trie[K comparable, V any] struct {
	root *branch[K, V]
}

const (
	trieBits  = 5
	trieDepth = 32 // bits of a hash; a branch this deep is a list
)

type branch[K comparable, V any] struct {
	used  int // slots
	slots [1 << trieBits]slot[K, V]
	list  []slot[K, V] // of entries
}

type slot[K comparable, V any] struct {
	key   K
	hash  uint32
	kind  kind
	value V
	below *branch[K, V]
}

type kind uint8

const (
	free kind = iota
	entry
	deeper
)

func at(hash uint32, depth int) uint32 { return hash >> depth & (1<<trieBits - 1) }

func (t trie[K, V]) empty() bool { return t.root == nil }

// get returns the value of a key, whose hash is the one it was put with.
func (t trie[K, V]) get(hash uint32, key K) (value V, ok bool) {
	b := t.root
	if b == nil {
		return value, false
	}
	for depth := 0; depth < trieDepth; depth += trieBits {
		s := &b.slots[at(hash, depth)]
		if s.kind != deeper {
			if s.kind == entry && s.key == key {
				return s.value, true
			}
			return value, false
		}
		b = s.below
	}
	if i := b.find(key); i >= 0 {
		return b.list[i].value, true
	}
	return value, false
}

// find returns a key's place in the list, or -1.
func (b *branch[K, V]) find(key K) int {
	return slices.IndexFunc(b.list, func(s slot[K, V]) bool { return s.key == key })
}

// put returns t with key's value set.
func (t trie[K, V]) put(hash uint32, key K, value V) trie[K, V] {
	return trie[K, V]{t.root.put(slot[K, V]{key: key, hash: hash, kind: entry, value: value}, 0)}
}

// put returns a copy of b, which may be nil, that has the entry.
func (b *branch[K, V]) put(e slot[K, V], depth int) *branch[K, V] {
	next := new(branch[K, V])
	if b != nil {
		*next = *b
	}
	if depth >= trieDepth {
		next.list = append(next.listWithout(e.key), e)
		return next
	}
	s := &next.slots[at(e.hash, depth)]
	switch {
	case s.kind == deeper:
		s.below = s.below.put(e, depth+trieBits)
	case s.kind == entry && s.key != e.key:
		var below *branch[K, V]
		*s = slot[K, V]{kind: deeper, below: below.put(*s, depth+trieBits).put(e, depth+trieBits)}
	default:
		if s.kind == free {
			next.used++
		}
		*s = e
	}
	return next
}

func (b *branch[K, V]) listWithout(key K) []slot[K, V] {
	return slices.DeleteFunc(slices.Clone(b.list), func(s slot[K, V]) bool { return s.key == key })
}

// without returns t without key.
func (t trie[K, V]) without(hash uint32, key K) trie[K, V] {
	if _, ok := t.get(hash, key); !ok {
		return t
	}
	return trie[K, V]{t.root.without(hash, key, 0)}
}

// without returns a copy of b, which has the key, without it, or nil when it would have nothing.
func (b *branch[K, V]) without(hash uint32, key K, depth int) *branch[K, V] {
	next := new(branch[K, V])
	*next = *b
	if depth >= trieDepth {
		next.list = next.listWithout(key)
		return next
	}
	s := &next.slots[at(hash, depth)]
	if s.kind == deeper {
		s.below = s.below.without(hash, key, depth+trieBits)
		if e, ok := s.below.last(); ok {
			*s = e
		}
		return next
	}
	*s = slot[K, V]{}
	if next.used--; next.used == 0 {
		return nil
	}
	return next
}

// last returns b's entry if it has but one and no branches: it belongs in the slot above.
func (b *branch[K, V]) last() (e slot[K, V], ok bool) {
	if len(b.list) == 1 {
		return b.list[0], true
	}
	if b.used != 1 {
		return e, false
	}
	for i := range b.slots {
		if b.slots[i].kind == entry {
			return b.slots[i], true
		}
	}
	return e, false
}
