package fleet

import (
	"context"
	"sync"
	"time"

	"sallyport.dev/sallyport/services/fault"
)

const (
	// streamInterval is how often one host may open a stream: each is a write that concerns its peers.
	streamInterval = 250 * time.Millisecond
	// streamQueue is the longest that one waits for its turn.
	streamQueue = 5 * time.Second
)

// pace gives each host its turns. Its zero value is ready. Hosts are authenticated, so there are not more
// than the fleet has ever had.
type pace struct {
	mu   sync.Mutex
	next map[string]time.Time
}

// wait waits for the host's turn.
func (p *pace) wait(ctx context.Context, host string, now time.Time) error {
	delay := p.reserve(host, now)
	if delay > streamQueue {
		return fault.New(fault.Exhausted, "too many streams of this host open; connect again later")
	}
	if delay > 0 {
		pauseFor(ctx, delay)
	}
	return ctx.Err()
}

// reserve returns how long the turn is away; one that is too far away is not taken.
func (p *pace) reserve(host string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == nil {
		p.next = make(map[string]time.Time)
	}
	turn := p.next[host]
	if turn.Before(now) {
		turn = now
	}
	if turn.Sub(now) <= streamQueue {
		p.next[host] = turn.Add(streamInterval)
	}
	return turn.Sub(now)
}
