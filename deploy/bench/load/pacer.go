//go:build linux

package load

import "time"

// tick is how long a paced sender waits when nothing is due. It must be short: what it sends at once must fit into a
// device's queue of 500 packets.
const tick = 200 * time.Microsecond

// pacer says when packets are due. Who was kept from sending does not make up for it by a long burst: then fewer
// packets are sent.
type pacer struct {
	rate float64 // packets a second
	most int     // packets at once; twice as many may be due
	due  float64
	last time.Time // when due was right
}

// allow returns how many packets to send now. It is 0 until a tick's worth is due, so that they go together.
func (p *pacer) allow(now time.Time) int {
	p.due = min(p.due+p.rate*now.Sub(p.last).Seconds(), float64(2*p.most))
	p.last = now
	if p.due < max(1, min(p.rate*tick.Seconds(), float64(p.most))) {
		return 0
	}
	n := min(int(p.due), p.most)
	p.due -= float64(n)
	return n
}
