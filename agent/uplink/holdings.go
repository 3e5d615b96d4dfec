package uplink

import (
	"slices"
	"strings"
	"sync"

	"sallyport.dev/sallyport/agent/datapath"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
)

// inventoryPart keeps a message below 256 KiB: an entry is at most 56 bytes here.
const inventoryPart = 4096

// saVersion is the version of every installed association.
const saVersion = 1

// holdings is what the agent holds, in the words of Sync. Its lock is also held while an association
// is installed, so that the event of its end cannot overtake the note of its beginning.
type holdings struct {
	mu       sync.Mutex
	versions map[name]uint64
	pairOf   map[name]datapath.PairID // of associations
	held     map[datapath.PairID]int  // associations of a pair
	expired  map[name]struct{}        // past a soft limit
}

func newHoldings() *holdings {
	return &holdings{
		versions: make(map[name]uint64), pairOf: make(map[name]datapath.PairID),
		held: make(map[datapath.PairID]int), expired: make(map[name]struct{}),
	}
}

// inventory is what is held, in messages that a stream can carry; the last one is marked.
func (h *holdings) inventory() []*fleetv1.Inventory {
	h.mu.Lock()
	defer h.mu.Unlock()
	entries := make([]*fleetv1.Inventory_Entry, 0, len(h.versions))
	for n, v := range h.versions {
		entries = append(entries, &fleetv1.Inventory_Entry{Name: n.String(), Version: v})
	}
	slices.SortFunc(entries, func(a, b *fleetv1.Inventory_Entry) int { return strings.Compare(a.GetName(), b.GetName()) })
	var parts []*fleetv1.Inventory
	for part := range slices.Chunk(entries, inventoryPart) {
		parts = append(parts, &fleetv1.Inventory{Entries: part})
	}
	if parts == nil {
		parts = append(parts, &fleetv1.Inventory{})
	}
	parts[len(parts)-1].Last = true
	return parts
}

// softExpired lists the associations that are past a soft limit.
func (h *holdings) softExpired() []name {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]name, 0, len(h.expired))
	for n := range h.expired {
		out = append(out, n)
	}
	return out
}

// all lists what is held of one kind.
func (h *holdings) all(k kind) []name {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []name
	for n := range h.versions {
		if n.kind == k {
			out = append(out, n)
		}
	}
	return out
}

// has says whether a resource is held.
func (h *holdings) has(n name) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.versions[n]
	return ok
}

// others is the number of resources held that are no associations: nearly all are pairs.
func (h *holdings) others() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.versions) - len(h.pairOf)
}

// count is the number of associations held.
func (h *holdings) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pairOf)
}

// set notes a configuration or pair.
func (h *holdings) set(n name, version uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.versions[n] = version
}

// install runs f and, when it succeeds, notes the association as held.
func (h *holdings) install(n name, p datapath.PairID, f func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := f(); err != nil {
		return err
	}
	if _, again := h.pairOf[n]; !again {
		h.versions[n], h.pairOf[n] = saVersion, p
		h.held[p]++
	}
	return nil
}

// soft notes that an association is past a soft limit; false when it is gone already.
func (h *holdings) soft(n name) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.pairOf[n]; !ok {
		return false
	}
	h.expired[n] = struct{}{}
	return true
}

// forget notes that a resource is gone.
func (h *holdings) forget(n name) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.versions, n)
	delete(h.expired, n)
	p, ok := h.pairOf[n]
	if !ok {
		return
	}
	delete(h.pairOf, n)
	if h.held[p]--; h.held[p] == 0 {
		delete(h.held, p)
	}
}

// inUse says whether associations of the pair are held.
func (h *holdings) inUse(p datapath.PairID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held[p] > 0
}
