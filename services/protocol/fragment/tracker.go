package fragment

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// TrackerConfig bounds a Tracker. Zero values mean the defaults.
type TrackerConfig struct {
	Datagrams int           // remembered at a time; default 1024
	Timeout   time.Duration // default 30 s
}

// Tracker remembers the flow of first fragments, so that later fragments of a datagram, which have no ports, are
// judged as the first was (RFC 4301 section 7.3). It is a table of fixed size in which the oldest of a few makes room.
type Tracker struct {
	timeout time.Duration
	sets    [][trackerWays]tracked
}

const trackerWays = 4

type tracked struct {
	key
	flow  ipwire.Flow
	since time.Duration
	used  bool
	bad   bool // two first fragments contradict each other
}

// NewTracker makes a Tracker.
func NewTracker(c TrackerConfig) *Tracker {
	if c.Datagrams <= 0 {
		c.Datagrams = defaultDatagrams
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	sets := 1
	for sets*trackerWays < c.Datagrams {
		sets *= 2
	}
	return &Tracker{timeout: c.Timeout, sets: make([][trackerWays]tracked, sets)}
}

// Note remembers the flow of a first fragment, as ipwire.ParseFlow gives it. A second first fragment with other
// ports spoils the datagram: whoever sends two hopes that one is checked and the other used.
func (t *Tracker) Note(now time.Duration, packet []byte, flow ipwire.Flow) {
	p, err := parse(packet)
	if err != nil || p.start != 0 || !p.more {
		return
	}
	set := &t.sets[p.hash()&uint32(len(t.sets)-1)]
	into := &set[0]
	for i := range set {
		e := &set[i]
		if e.live(now, t.timeout) && e.key == p.key {
			e.bad = e.bad || e.flow != flow
			return
		}
		if !e.live(now, t.timeout) || into.live(now, t.timeout) && e.since < into.since {
			into = e
		}
	}
	*into = tracked{key: p.key, flow: flow, since: now, used: true}
}

// Flow returns the flow of the datagram that a later fragment belongs to; false if its first fragment was not seen.
func (t *Tracker) Flow(now time.Duration, packet []byte) (ipwire.Flow, bool) {
	p, err := parse(packet)
	if err != nil {
		return ipwire.Flow{}, false
	}
	set := &t.sets[p.hash()&uint32(len(t.sets)-1)]
	for i := range set {
		if e := &set[i]; e.live(now, t.timeout) && e.key == p.key {
			return e.flow, !e.bad
		}
	}
	return ipwire.Flow{}, false
}

func (e *tracked) live(now, timeout time.Duration) bool { return e.used && now-e.since < timeout }

// hash is FNV-1a.
func (k *key) hash() uint32 {
	const offset, prime = 2166136261, 16777619
	h := uint32(offset)
	add := func(b byte) { h = (h ^ uint32(b)) * prime }
	for _, a := range [][16]byte{k.src.As16(), k.dst.As16()} {
		for _, b := range a {
			add(b)
		}
	}
	for shift := 0; shift < 32; shift += 8 {
		add(byte(k.id >> shift))
	}
	add(k.proto)
	return h
}
