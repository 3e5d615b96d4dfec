package revocation

import (
	"maps"
	"sync"
	"time"
)

// Bounds of what is remembered.
const (
	maxCRLs      = 32
	maxResponses = 4096
)

// memory keeps what was fetched, failures too, until it is out of date: at most limit of it.
type memory[V any] struct {
	limit int
	mu    sync.Mutex
	held  map[string]remembered[V] // guarded by mu
}

// remembered is a value or why there is none, and how long that holds.
type remembered[V any] struct {
	value V
	err   error
	until time.Time
}

func (m *memory[V]) get(key string, now time.Time) (remembered[V], bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.held[key]
	return r, ok && now.Before(r.until)
}

// put adds a value. Old ones make room, else any.
func (m *memory[V]) put(key string, r remembered[V], now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == nil {
		m.held = map[string]remembered[V]{}
	}
	if _, again := m.held[key]; !again && len(m.held) >= m.limit {
		maps.DeleteFunc(m.held, func(_ string, r remembered[V]) bool { return !now.Before(r.until) })
		for k := range m.held {
			if len(m.held) < m.limit {
				break
			}
			delete(m.held, k)
		}
	}
	m.held[key] = r
}

// life bounds how long something that says until when it is current is remembered.
func life(now, until time.Time) time.Time {
	return now.Add(min(max(until.Sub(now), minLife), maxLife))
}
