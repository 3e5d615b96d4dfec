package datapath

import (
	"sync/atomic"
	"time"
)

// limiter lets events pass at a rate of one per interval, and burst of them at once. The zero value is
// ready. It is the generic cell rate algorithm: next is when the bucket would be empty.
type limiter struct{ next atomic.Int64 }

func (l *limiter) allow(now, interval time.Duration, burst int) bool {
	for {
		next := time.Duration(l.next.Load())
		if next-now > interval*time.Duration(burst-1) {
			return false
		}
		if l.next.CompareAndSwap(int64(next), int64(max(next, now)+interval)) {
			return true
		}
	}
}
