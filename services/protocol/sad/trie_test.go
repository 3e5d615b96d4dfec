package sad

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// Random changes against Go's map, with hashes that collide in every depth; no earlier trie changes.
func TestTrieAgainstMap(t *testing.T) {
	for name, hash := range map[string]func(uint32) uint32{
		"the SPI's":       hashSPI,
		"few":             func(k uint32) uint32 { return k % 5 },
		"one":             func(uint32) uint32 { return 7 },
		"high bits alone": func(k uint32) uint32 { return k << 27 },
		"last bits alone": func(k uint32) uint32 { return k << 31 },
		"identity":        func(k uint32) uint32 { return k },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				random := rand.New(rand.NewPCG(seed, 1))
				var now trie[uint32, int]
				model := map[uint32]int{}
				type moment struct {
					trie  trie[uint32, int]
					model map[uint32]int
				}
				var past []moment
				for step := range 600 {
					k := random.Uint32N(80)
					if random.IntN(600) > step == (random.IntN(4) > 0) { // more and more are taken out
						now, model[k] = now.put(hash(k), k, step), step
					} else {
						now = now.without(hash(k), k)
						delete(model, k)
					}
					if step%50 == 0 {
						past = append(past, moment{now, maps.Clone(model)})
					}
				}
				for _, m := range append(past, moment{now, model}) {
					for k := range uint32(80) {
						got, ok := m.trie.get(hash(k), k)
						if want, wantOK := m.model[k]; got != want || ok != wantOK {
							t.Fatalf("seed %d: key %d is %d, %v, want %d, %v", seed, k, got, ok, want, wantOK)
						}
					}
					checkShape(t, m.trie.root, len(m.model))
				}
				for k := range uint32(80) {
					now = now.without(hash(k), k)
				}
				if !now.empty() {
					t.Fatalf("seed %d: an emptied trie has a root", seed)
				}
			}
		})
	}
}

// checkShape fails when a branch holds nothing, or one entry alone that belongs in the branch above.
func checkShape(t *testing.T, root *branch[uint32, int], want int) {
	t.Helper()
	entries := 0
	var walk func(b *branch[uint32, int])
	walk = func(b *branch[uint32, int]) {
		used := 0
		for _, s := range b.slots {
			switch s.kind {
			case entry:
				entries++
				used++
			case deeper:
				walk(s.below)
				used++
			}
		}
		entries += len(b.list)
		_, last := b.last()
		if used != b.used || used+len(b.list) == 0 || last && b != root || used > 0 && len(b.list) > 0 {
			t.Fatalf("a branch has %d slots, says %d, and a list of %d", used, b.used, len(b.list))
		}
	}
	if root != nil {
		walk(root)
	}
	if entries != want {
		t.Fatalf("%d entries, want %d", entries, want)
	}
}

// hashSPI is a permutation of every 16 bits that SPIs are told apart by.
func TestHashSPI(t *testing.T) {
	for _, shift := range []int{0, 8, 16} {
		seen := make(map[uint32]bool, 1<<16)
		for n := range uint32(1 << 16) {
			seen[hashSPI(n<<shift)] = true
		}
		if len(seen) != 1<<16 {
			t.Errorf("65536 SPIs, shifted by %d, have %d hashes", shift, len(seen))
		}
	}
}
