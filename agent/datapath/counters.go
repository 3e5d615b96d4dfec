package datapath

import (
	"fmt"
	"sync/atomic"
)

// Reason says why a packet was dropped. Most are RFC 4301/4303 auditable events.
type Reason uint8

// Why packets are dropped.
const (
	OutMalformed  Reason = iota // the inner packet from the TUN does not parse
	OutNoPolicy                 // no SPD entry protects it (RFC 4301 section 5.1)
	OutDiscarded                // an SPD entry discards it
	OutNoSA                     // the pair has no outbound SA
	OutNoPath                   // the address of the other end is not known
	OutExpired                  // the outbound SA has reached its hard lifetime
	OutExhausted                // the outbound sequence number may not cycle (RFC 4303 section 3.3.3)
	OutCeiling                  // the numbers that were reserved are used up
	OutTooBig                   // it does not fit and may not be fragmented; its sender was told
	OutTooLong                  // it does not fit into a datagram
	OutFragment                 // a fragment that makes no whole datagram
	OutSend                     // the socket refused the packet
	OutTUN                      // the TUN gave an error instead of a packet
	InTruncated                 // a packet too short for ESP or AH
	InIKE                       // an IKE datagram, and nobody takes them
	InNoSA                      // no inbound SA has the SPI (RFC 4303 section 3.4.2)
	InReplayed                  // a sequence number seen before
	InLate                      // a sequence number left of the window
	InForged                    // the ICV is wrong
	InPadding                   // the padding is not 1, 2, 3, …, or longer than the packet
	InInnerLength               // the inner packet's length is wrong
	InMalformed                 // the inner packet does not parse
	InSelector                  // the inner packet is not in the SA's selectors (RFC 4301 section 5.2)
	InECN                       // congestion was signalled to a flow that cannot know it (RFC 6040 section 4.2)
	InExpired                   // the inbound SA has reached its hard lifetime
	InNextHeader                // neither IPv4, IPv6 nor a dummy
	InWrite                     // the TUN refused the packet
	InICMPStale                 // an ICMP message about no packet of a live SA (RFC 4301 section 8.2.1)
	InICMPOther                 // an ICMP message that is not about the MTU: it is not believed (section 6.1.1)
	ProbeLimited                // a probe beyond the rate limit
	ProbeStale                  // an answer to no outstanding probe
	reasons
)

var reasonNames = [reasons]string{
	"out-malformed", "out-no-policy", "out-discarded", "out-no-sa", "out-no-path", "out-expired", "out-exhausted",
	"out-ceiling", "out-too-big", "out-too-long", "out-fragment", "out-send", "out-tun",
	"in-truncated", "in-ike", "in-no-sa", "in-replayed", "in-late", "in-forged", "in-padding", "in-inner-length",
	"in-malformed", "in-selector", "in-ecn", "in-expired", "in-next-header", "in-write", "in-icmp-stale", "in-icmp-other",
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
	TooBigs              uint64 // ICMP messages to inner senders, RFC 4301 section 8.2
	PathErrors           uint64 // ICMP messages about live SAs
	Dropped              [reasons]uint64
}

// Drops is the number of packets dropped for r.
func (c Counters) Drops(r Reason) uint64 { return c.Dropped[r] }

// counters are the totals. Each goroutine has a tally of its own that it adds once for each batch.
type counters struct {
	outPackets, outBytes, inPackets, inBytes     atomic.Uint64
	inDummies, inKeepalives, keepalives, dummies atomic.Uint64
	tooBigs, pathErrors                          atomic.Uint64
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
	addTo(&c.tooBigs, t.TooBigs)
	addTo(&c.pathErrors, t.PathErrors)
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
		TooBigs: c.tooBigs.Load(), PathErrors: c.pathErrors.Load(),
	}
	for i := range out.Dropped {
		out.Dropped[i] = c.dropped[i].Load()
	}
	return out
}
