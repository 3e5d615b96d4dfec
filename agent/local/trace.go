package local

import (
	"fmt"
	"net/netip"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// Entry is one line of the SPD.
type Entry struct {
	// Order is its place: the lowest is asked first.
	Order  uint32 `json:"order"`
	Action string `json:"action"` // "PROTECT", "BYPASS" or "DISCARD"
	// Peer is whose SAs protect, and Policy what wants that; "" but with PROTECT.
	Peer   string   `json:"peer,omitempty"`
	Policy string   `json:"policy,omitempty"`
	Local  []string `json:"local"`
	Remote []string `json:"remote"`
}

// TraceRequest asks what would become of a packet.
type TraceRequest struct {
	// Packet is a whole IP datagram.
	Packet []byte `json:"packet"`
	// Inbound: it came out of an SA; else it comes from this host or its networks.
	Inbound bool `json:"inbound"`
}

// Trace is what would become of a packet, and why.
type Trace struct {
	Flow       string       `json:"flow"`
	Considered []TraceStep  `json:"considered"`
	Omitted    int          `json:"omitted"` // more entries that do not match
	Entry      *Entry       `json:"entry"`   // that matches; nil if none does
	SA         *Association `json:"sa"`      // nil if there is none
	Dropped    string       `json:"dropped,omitempty"`
	Detail     string       `json:"detail"`
}

// TraceStep is an entry that does not match, and why.
type TraceStep struct {
	Entry  Entry  `json:"entry"`
	Reason string `json:"reason"`
}

// Entries makes the SPD's lines.
func Entries(policies []datapath.PolicyEntry) []Entry {
	out := make([]Entry, len(policies))
	for i, p := range policies {
		out[i] = entry(p)
	}
	return out
}

// Region is a part of the SPD that needs no order.
type Region struct {
	Entry    Entry  `json:"entry"` // that takes it
	Local    string `json:"local"`
	Remote   string `json:"remote"`
	Protocol string `json:"protocol"` // "any", a number, or a range of them
	// LocalPorts and RemotePorts are ranges, or "any"; "none" where only packets without ports are meant.
	LocalPorts  string `json:"local_ports"`
	RemotePorts string `json:"remote_ports"`
}

// Regions makes the lines of the decorrelated SPD.
func Regions(regions []datapath.PolicyRegion) []Region {
	out := make([]Region, len(regions))
	for i, r := range regions {
		out[i] = Region{Entry: entry(r.Entry), Local: addresses(r.Region.Local), Remote: addresses(r.Region.Remote),
			Protocol:   span(uint16(r.FirstProto), uint16(r.LastProto), 255),
			LocalPorts: portSpan(r.LocalPorts, r.Opaque), RemotePorts: portSpan(r.RemotePorts, r.Opaque)}
	}
	return out
}

func addresses(a spd.Addresses) string {
	if a.First == a.Last {
		return a.First.String()
	}
	return a.First.String() + "-" + a.Last.String()
}

func span(first, last, most uint16) string {
	switch {
	case first == 0 && last == most:
		return "any"
	case first == last:
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

func portSpan(p spd.Ports, opaque bool) string {
	switch {
	case p == spd.OpaquePorts():
		return "none"
	case p == spd.AnyPorts() && !opaque:
		return "any that are known"
	}
	text := span(p.First, p.Last, 65535)
	if opaque && p != spd.AnyPorts() {
		text += " or none"
	}
	return text
}

func entry(p datapath.PolicyEntry) Entry {
	return Entry{Order: p.Order, Action: p.Action.String(), Peer: p.RemoteHost, Policy: p.Policy, Local: texts(p.Local), Remote: texts(p.Remote)}
}

func texts(selectors []spd.Selector) []string {
	out := make([]string, len(selectors))
	for i, s := range selectors {
		out[i] = s.String()
	}
	return out
}

// Traced makes the answer of what the datapath says.
func Traced(t datapath.Trace) Trace {
	out := Trace{Flow: flow(t), Dropped: t.Verdict, Detail: t.Detail, Omitted: t.Omitted, Considered: []TraceStep{}}
	for _, s := range t.Considered {
		out.Considered = append(out.Considered, TraceStep{Entry: entry(s.Entry), Reason: s.Reason})
	}
	if t.Entry != nil {
		e := entry(*t.Entry)
		out.Entry = &e
	}
	if t.SA != nil {
		a := association(*t.SA)
		a.Direction = "out"
		if t.SA.Inbound {
			a.Direction = "in"
		}
		out.SA = &a
		if out.Entry != nil {
			a.Host = out.Entry.Peer
		}
	}
	return out
}

func flow(t datapath.Trace) string {
	f := t.Flow
	if f.Opaque {
		return fmt.Sprintf("%v > %v, protocol %d, ports not available", f.Src, f.Dst, f.Proto)
	}
	if f.SrcPort == f.DstPort && (f.Proto == 1 || f.Proto == 58) {
		return fmt.Sprintf("%v > %v, protocol %d, type %d code %d", f.Src, f.Dst, f.Proto, f.SrcPort>>8, f.SrcPort&0xff)
	}
	return fmt.Sprintf("%v > %v, protocol %d", netip.AddrPortFrom(f.Src, f.SrcPort), netip.AddrPortFrom(f.Dst, f.DstPort), f.Proto)
}
