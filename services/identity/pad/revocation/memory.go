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

// memory keeps what was fetched, failures too, until it is out of date.
type memory struct {
	mu        sync.Mutex
	crls      map[string]rememberedCRL      // by URL; guarded by mu
	responses map[string]rememberedResponse // by URL, issuer and serial number; guarded by mu
}

type rememberedCRL struct {
	crl   *CRL
	err   error
	until time.Time
}

type rememberedResponse struct {
	status status
	err    error
	until  time.Time
}

func newMemory() memory {
	return memory{crls: map[string]rememberedCRL{}, responses: map[string]rememberedResponse{}}
}

func (m *memory) crl(url string, now time.Time) (rememberedCRL, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.crls[url]
	return r, ok && now.Before(r.until)
}

func (m *memory) keepCRL(url string, r rememberedCRL, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep(m.crls, maxCRLs, url, r, func(r rememberedCRL) bool { return !now.Before(r.until) })
}

func (m *memory) response(key string, now time.Time) (rememberedResponse, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.responses[key]
	return r, ok && now.Before(r.until)
}

func (m *memory) keepResponse(key string, r rememberedResponse, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep(m.responses, maxResponses, key, r, func(r rememberedResponse) bool { return !now.Before(r.until) })
}

// keep adds a value to a map of at most limit entries: old ones go first, else any.
func keep[V any](m map[string]V, limit int, key string, v V, old func(V) bool) {
	if _, again := m[key]; !again && len(m) >= limit {
		maps.DeleteFunc(m, func(_ string, v V) bool { return old(v) })
		for k := range m {
			if len(m) < limit {
				break
			}
			delete(m, k)
		}
	}
	m[key] = v
}

// life bounds how long something that says until when it is current is remembered.
func life(now, until time.Time) time.Time {
	d := min(max(until.Sub(now), minLife), maxLife)
	return now.Add(d)
}
