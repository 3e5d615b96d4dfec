package datapath

import (
	"fmt"

	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// SetRules replaces all rules: SPD entries that bypass or discard. What bypasses does not enter the TUN at all;
// a packet that does so nevertheless is dropped, for it cannot leave in clear. ErrPair, or spd's errors, upon
// which nothing has changed.
func (d *Datapath) SetRules(rules ...Rule) error {
	entries := make([]spd.Entry, len(rules))
	for i, r := range rules {
		if r.Order == 0 || r.Order > maxOrder {
			return fmt.Errorf("%w: rule %x has the order %d: want 1 to %d", ErrPair, r.ID, r.Order, maxOrder)
		}
		entries[i] = spd.Entry{ID: r.ID, Priority: r.Order, Action: spd.Discard, Local: r.Local, Remote: r.Remote}
		if r.Bypass {
			entries[i].Action = spd.Bypass
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	next := *d.tables.Load()
	table, err := next.spd.Without(d.rules...).With(entries...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPair, err)
	}
	next.spd, d.rules = table, ids(entries)
	d.tables.Store(&next)
	return nil
}

// PolicyEntry is one SPD entry as it is in force.
type PolicyEntry struct {
	Order         uint32
	Action        spd.Action
	Pair          PairID
	RemoteHost    string
	Policy        string
	Local, Remote []Selector
}

// Policies lists the SPD, in the order in which it is asked.
func (d *Datapath) Policies() []PolicyEntry {
	d.mu.Lock()
	defer d.mu.Unlock()
	entries := d.tables.Load().spd.Entries()
	out := make([]PolicyEntry, len(entries))
	for i := range entries {
		out[i] = d.describe(&entries[i])
	}
	return out
}

// maxRegions bounds what Regions computes.
const maxRegions = 10000

// Regions is the SPD decorrelated (RFC 4301 section 4.4.1): parts that need no order, each with the entry that takes it.
// spd.ErrRegions if it would have too many.
func (d *Datapath) Regions() ([]PolicyRegion, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	regions, err := spd.Decorrelate(d.tables.Load().spd.Entries(), maxRegions)
	if err != nil {
		return nil, err
	}
	out := make([]PolicyRegion, len(regions))
	for i, r := range regions {
		out[i] = PolicyRegion{Region: r, Entry: d.describe(r.Entry)}
	}
	return out, nil
}

// PolicyRegion is one part of the decorrelated SPD.
type PolicyRegion struct {
	spd.Region
	Entry PolicyEntry
}

// describe is called with d.mu held.
func (d *Datapath) describe(e *spd.Entry) PolicyEntry {
	out := PolicyEntry{Order: e.Priority, Action: e.Action, Pair: e.Pair, Local: e.Local, Remote: e.Remote}
	if p := d.pairs[e.Pair]; p != nil {
		out.RemoteHost, out.Policy = p.spec.RemoteHost, p.spec.Policy
	}
	return out
}

// Trace says what would become of a packet, and why. Nothing is sent, counted or changed.
type Trace struct {
	Flow ipwire.Flow
	// Considered are entries that come before and do not match; Omitted is how many more there are.
	Considered []TraceStep
	Omitted    int
	// Entry is the one that matches; nil: none does, and the packet is dropped.
	Entry *PolicyEntry
	// SA would carry it, or could have carried it; nil if there is none.
	SA *SAStatus
	// Verdict is what happens: empty if the packet passes, else the reason to drop it.
	Verdict string
	// Detail says more in words.
	Detail string
}

// TraceStep is one entry and why it is not the packet's.
type TraceStep struct {
	Entry  PolicyEntry
	Reason string
}

// maxTraceSteps bounds Trace.Considered.
const maxTraceSteps = 50

// Trace traces an inner packet, an IP datagram: one that leaves, or one that came out of an SA.
func (d *Datapath) Trace(packet []byte, inbound bool) (Trace, error) {
	flow, err := ipwire.ParseFlow(packet)
	if err != nil {
		return Trace{}, fmt.Errorf("datapath: the packet cannot be read: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tables.Load()
	out := Trace{Flow: flow}
	x := t.spd.Explain(flow, inbound, maxTraceSteps)
	entry := x.Match
	for _, c := range x.Considered {
		if c.Entry != entry {
			out.Considered = append(out.Considered, TraceStep{Entry: d.describe(c.Entry), Reason: c.Verdict.String()})
		}
	}
	out.Omitted = x.Omitted
	if entry != nil {
		described := d.describe(entry)
		out.Entry = &described
	}
	switch {
	case entry == nil:
		out.Verdict, out.Detail = OutNoPolicy.String(), "no entry of the SPD matches: what is not in the SPD does not pass the tunnel"
	case entry.Action == spd.Discard:
		out.Verdict, out.Detail = OutDiscarded.String(), "the entry says DISCARD"
	case entry.Action == spd.Bypass:
		out.Verdict, out.Detail = OutNoPolicy.String(), "the entry says BYPASS: such a packet goes in clear, by the kernel's own routes, and never enters the TUN"
	case inbound:
		d.traceInbound(t, &out, entry)
	default:
		d.traceOutbound(t, &out, entry, packet)
	}
	return out, nil
}

func (d *Datapath) traceInbound(t *tables, out *Trace, entry *spd.Entry) {
	now := d.config.Clock()
	var newest *inboundSA
	for _, sa := range d.inbound.All {
		if sa.pair.id == entry.Pair && sa.admits(&out.Flow) && (newest == nil || sa.generation > newest.generation) {
			newest = sa
		}
	}
	if newest == nil {
		out.Verdict, out.Detail = InSelector.String(), "the pair has no inbound SA whose selectors take the packet"
		return
	}
	newest.mu.Lock()
	status := newest.status(now)
	newest.mu.Unlock()
	status.Inbound = true
	out.SA, out.Detail = &status, "accepted if it came under an SA of this pair"
}

func (d *Datapath) traceOutbound(t *tables, out *Trace, entry *spd.Entry, packet []byte) {
	sa, ok := choose(t.outbound, entry.Pair, &out.Flow)
	if !ok {
		out.Verdict, out.Detail = OutNoSA.String(), "the pair has no outbound SA"
		return
	}
	d.sending.Lock()
	status := sa.status(d.config.Clock())
	status.Sequence = sa.seq()
	d.sending.Unlock()
	status.MTU = int(sa.mtu.Load())
	out.SA = &status
	to := sa.ends(out.Flow.Src, out.Flow.Dst)
	if !to.remote.IsValid() {
		out.Verdict, out.Detail = OutNoPath.String(), "the address of the other end is not known yet"
		return
	}
	out.Detail = fmt.Sprintf("sealed and sent to %v", to.remote)
	if to.remote.Port() == 0 {
		out.Detail = fmt.Sprintf("sealed and sent to %v", to.remote.Addr())
	}
	if sa.mode == Tunnel {
		version := 6
		if to.remote.Addr().Is4() {
			version = 4
		}
		room := sa.maxPayload(int(sa.mtu.Load()), outerLen(to.remote.Addr(), sa.encapsulation), version)
		if len(packet) > room {
			out.Detail += fmt.Sprintf("; %d bytes are more than the %d that fit, so: ", len(packet), room)
			switch {
			case sa.outer.DF == DFClear:
				out.Detail += "the outer packet is fragmented"
			case innerDF(packet):
				out.Verdict = OutTooBig.String()
				out.Detail += "its sender is told to send smaller packets"
			default:
				out.Detail += "it is fragmented before it is sealed"
			}
		}
	}
}
