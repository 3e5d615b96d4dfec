package relay

import "sallyport.dev/sallyport/services/protocol/ikewire"

// maxKnown bounds the SPIs that are remembered in each half of a known.
const maxKnown = 1 << 15

// known remembers the SPIs that the controller has used lately, in two halves: when the newer one is full, the older one
// is forgotten. The zero value is ready.
type known struct{ newer, older map[ikewire.IKESPI]struct{} }

func (k *known) add(s ikewire.IKESPI) {
	if _, there := k.newer[s]; there {
		return
	}
	if k.newer == nil || len(k.newer) == maxKnown {
		k.newer, k.older = make(map[ikewire.IKESPI]struct{}), k.newer
	}
	k.newer[s] = struct{}{}
}

func (k *known) has(s ikewire.IKESPI) bool {
	if _, there := k.newer[s]; there {
		return true
	}
	_, there := k.older[s]
	return there
}
