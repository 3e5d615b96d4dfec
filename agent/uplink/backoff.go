package uplink

import (
	"math/rand/v2"
	"time"
)

const (
	firstRetry = 500 * time.Millisecond // after a stream that worked: at once, but not all hosts together
	leastRetry = time.Second
	mostRetry  = 30 * time.Second
)

// backoff spaces attempts: the first retry after a success comes at once, then 1 s, doubled up to
// 30 s; each wait is drawn between half and whole.
type backoff struct{ failures int }

// next is the wait before the next attempt.
func (b *backoff) next() time.Duration {
	b.failures++
	if b.failures == 1 {
		return rand.N(firstRetry)
	}
	wait := mostRetry
	if shift := b.failures - 2; shift < 5 {
		wait = min(leastRetry<<shift, mostRetry)
	}
	return wait/2 + rand.N(wait/2)
}

// reset notes a success.
func (b *backoff) reset() { b.failures = 0 }
