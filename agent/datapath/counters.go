package datapath

import (
	"fmt"
	"sync/atomic"
)

// Reason says why a packet was dropped. Most are RFC 4301/4303 auditable events.
type Reason uint8

// Why packets are dropped.
const (
	OutMalformed Reason = iota // the inner packet from the TUN does not parse
	OutNoPolicy                // no SPD entry matches (RFC 4301 section 5.1)
	OutNoSA                    // the pair has no outbound SA
	OutNoPath                  // the address of the other end is not known
	OutExpired                 // the outbound SA has reached its hard lifetime
	OutExhausted               // the outbound sequence number may not cycle (RFC 4303 section 3.3.3)
	OutTooBig                  // the inner packet does not fit into a datagram
	OutSend                    // the socket refused the datagram
	OutTUN                     // the TUN gave an error instead of a packet
	InTruncated                // a datagram too short for ESP
	InIKE                      // an IKE datagram, and nobody takes them
	InNoSA                     // no inbound SA has the SPI (RFC 4303 section 3.4.2)
	InReplayed                 // a sequence number seen before or left of the window
	InForged                   // the ICV is wrong
	InMalformed                // padding, next header or inner packet do not parse
	InSelector                 // the inner packet is not in the SA's selectors (RFC 4301 section 5.2)
	InExpired                  // the inbound SA has reached its hard lifetime
	InNextHeader               // neither IPv4, IPv6 nor a dummy
	InWrite                    // the TUN refused the packet
	ProbeLimited               // a probe beyond the rate limit
	ProbeStale                 // an answer to no outstanding probe
	reasons
)

var reasonNames = [reasons]string{
	"out-malformed", "out-no-policy", "out-no-sa", "out-no-path", "out-expired", "out-exhausted",
	"out-too-big", "out-send", "out-tun",
	"in-truncated", "in-ike", "in-no-sa", "in-replayed", "in-forged", "in-malformed", "in-selector",
	"in-expired", "in-next-header", "in-write",
	"probe-limited", "probe-stale",
}

// String is the reason's stable name, fit for a metric's label.
func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason-%d", uint8(r))
}

// Reasons lists every reason, in order.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Counters are totals since New.
type Counters struct {
	OutPackets, OutBytes uint64 // inner packets sent protected
	InPackets, InBytes   uint64 // inner packets delivered to the TUN
	InDummies            uint64 // RFC 4303 section 2.6 packets discarded, probes among them
	InKeepalives         uint64 // RFC 3948 section 4
	Keepalives           uint64 // sent
	Dummies              uint64 // sent, probes among them
	Dropped              [reasons]uint64
}

// Drops is the number of packets dropped for r.
func (c Counters) Drops(r Reason) uint64 { return c.Dropped[r] }

// counters are the totals. Each goroutine has a tally of its own that it adds once for each batch.
type counters struct {
	outPackets, outBytes, inPackets, inBytes     atomic.Uint64
	inDummies, inKeepalives, keepalives, dummies atomic.Uint64
	dropped                                      [reasons]atomic.Uint64
}

// add adds t, and clears it.
func (c *counters) add(t *Counters) {
	addTo(&c.outPackets, t.OutPackets)
	addTo(&c.outBytes, t.OutBytes)
	addTo(&c.inPackets, t.InPackets)
	addTo(&c.inBytes, t.InBytes)
	addTo(&c.inDummies, t.InDummies)
	addTo(&c.inKeepalives, t.InKeepalives)
	addTo(&c.keepalives, t.Keepalives)
	addTo(&c.dummies, t.Dummies)
	for i, n := range t.Dropped {
		addTo(&c.dropped[i], n)
	}
	*t = Counters{}
}

func addTo(total *atomic.Uint64, n uint64) {
	if n != 0 {
		total.Add(n)
	}
}

// Counters reads the counters.
func (d *Datapath) Counters() Counters {
	c := &d.counters
	out := Counters{
		OutPackets: c.outPackets.Load(), OutBytes: c.outBytes.Load(),
		InPackets: c.inPackets.Load(), InBytes: c.inBytes.Load(),
		InDummies: c.inDummies.Load(), InKeepalives: c.inKeepalives.Load(),
		Keepalives: c.keepalives.Load(), Dummies: c.dummies.Load(),
	}
	for i := range out.Dropped {
		out.Dropped[i] = c.dropped[i].Load()
	}
	return out
}
