package uplink

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
)

// positionSaveInterval is how rarely the highest position goes to disk: it is a hint that lets a
// controller notice a store older than what this host has seen.
const positionSaveInterval = time.Minute

// below orders positions: by incarnation, then by revision.
func below(a, b *typesv1.Position) bool {
	if a.GetIncarnation() != b.GetIncarnation() {
		return a.GetIncarnation() < b.GetIncarnation()
	}
	return a.GetRevision() < b.GetRevision()
}

// highest keeps the highest position that a controller has ever told.
type highest struct {
	mu    sync.Mutex
	seen  *typesv1.Position
	save  func(*typesv1.Position)
	saved time.Time
	dirty bool
	now   func() time.Time
}

// get is a copy of the highest position; nil while there is none.
func (h *highest) get() *typesv1.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen == nil {
		return nil
	}
	return proto.CloneOf(h.seen)
}

// raise notes a position; false when it is below the highest.
func (h *highest) raise(p *typesv1.Position) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if below(p, h.seen) {
		return false
	}
	if !below(h.seen, p) && h.seen != nil {
		return true
	}
	h.seen, h.dirty = proto.CloneOf(p), true
	if now := h.now(); now.Sub(h.saved) >= positionSaveInterval {
		h.flushLocked(now)
	}
	return true
}

// flush saves what has not been saved.
func (h *highest) flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.flushLocked(h.now())
}

func (h *highest) flushLocked(now time.Time) {
	if h.dirty {
		h.save(h.seen)
		h.saved, h.dirty = now, false
	}
}
