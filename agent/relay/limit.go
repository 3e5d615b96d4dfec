package relay

import (
	"net/netip"
	"time"
)

// What one source address may send before it is established, each second and at once.
const (
	perSecond = 10
	burst     = 30
	// maxSources bounds what is counted: beyond it, the oldest counts are forgotten.
	maxSources = 8192
)

// pace is what may come each second, and at once.
type pace struct{ perSecond, burst float64 }

var (
	strangers     = pace{perSecond, burst}
	acquaintances = pace{200, 400} // one IKE SA, whose windows are short: more than that is no IKE
)

// limiter counts datagrams by where they are from. The zero value is ready.
type limiter[K comparable] struct {
	sources map[K]bucket
}

// bucket is what is left for a source at a time.
type bucket struct {
	left float64
	at   time.Time
}

// source is an IPv4 address, or an IPv6 network of 64 bits, which one host may own whole.
func source(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // never fails: bits fit the family
	return p
}

// allow takes one datagram of a source.
func (l *limiter[K]) allow(key K, now time.Time, of pace) bool {
	b, there := l.sources[key]
	if !there {
		if l.sources == nil || len(l.sources) >= maxSources {
			l.forget(now, of)
		}
		b = bucket{of.burst, now}
	}
	b.left = min(of.burst, b.left+of.perSecond*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	ok := b.left >= 1
	if ok {
		b.left--
	}
	l.sources[key] = b
	return ok
}

// forget drops the sources that are as if they had never sent, or all when there are none: under a flood of forged
// addresses the counts of single ones mean nothing.
func (l *limiter[K]) forget(now time.Time, of pace) {
	for key, b := range l.sources {
		if b.left+of.perSecond*now.Sub(b.at).Seconds() >= of.burst {
			delete(l.sources, key)
		}
	}
	if l.sources == nil || len(l.sources) >= maxSources {
		l.sources = make(map[K]bucket)
	}
}
