package planner_test

import (
	"context"
	"sync"
)

// recorder counts events by their reason.
type recorder struct {
	mu      sync.Mutex
	reasons map[string]int
}

func (r *recorder) Event(_ context.Context, _, _, reason string, _ bool, _ string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reasons == nil {
		r.reasons = make(map[string]int)
	}
	r.reasons[reason]++
}

func (r *recorder) count(reason string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reasons[reason]
}
