//go:build linux

package load

import (
	"testing"
	"time"
)

func TestPacer(t *testing.T) {
	for _, rate := range []float64{100, 20_000, 300_000, 600_000} {
		now := time.Unix(0, 0)
		p, sent, end := pacer{rate: rate, most: 128, last: now}, 0, now.Add(time.Second)
		for now.Before(end) {
			n := p.allow(now)
			sent += n
			switch {
			case n > 128:
				t.Fatalf("%v/s: %d at once", rate, n)
			case n == 0:
				now = now.Add(tick)
			default:
				now = now.Add(time.Duration(n) * 700 * time.Nanosecond) // what sending takes
			}
		}
		if float64(sent) > rate+1 || float64(sent) < 0.99*rate-1 {
			t.Errorf("%v/s: %d were sent in a second", rate, sent)
		}
	}
	now := time.Unix(0, 0)
	p := pacer{rate: 300_000, most: 128, last: now}
	now = now.Add(time.Second)
	if first, second, third := p.allow(now), p.allow(now), p.allow(now); first != 128 || second != 128 || third != 0 {
		t.Errorf("after a second of nothing %d, %d and %d are sent at once", first, second, third)
	}
}
