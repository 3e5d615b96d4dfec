package relay

import (
	"net/netip"
	"time"
)

// What one source address may send before it is established.
const (
	perSecond = 10
	burst     = 30
	// maxSources bounds the addresses that are counted: beyond it, the oldest counts are forgotten.
	maxSources = 8192
)

// limiter counts datagrams by source: an IPv4 address, or an IPv6 network of 64 bits, which one host may own whole. The
// zero value is ready.
type limiter struct {
	sources map[netip.Prefix]bucket
}

// bucket is what is left for a source at a time.
type bucket struct {
	left float64
	at   time.Time
}

func source(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // never fails: bits fit the family
	return p
}

// allow takes one datagram of a source.
func (l *limiter) allow(a netip.Addr, now time.Time) bool {
	key := source(a)
	b, there := l.sources[key]
	if !there {
		if l.sources == nil || len(l.sources) >= maxSources {
			l.forget(now)
		}
		b = bucket{burst, now}
	}
	b.left = min(burst, b.left+perSecond*max(0, now.Sub(b.at).Seconds()))
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
func (l *limiter) forget(now time.Time) {
	for key, b := range l.sources {
		if b.left+perSecond*now.Sub(b.at).Seconds() >= burst {
			delete(l.sources, key)
		}
	}
	if l.sources == nil || len(l.sources) >= maxSources {
		l.sources = make(map[netip.Prefix]bucket)
	}
}
