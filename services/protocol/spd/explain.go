package spd

import (
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Verdict is why an entry does or does not take a packet.
type Verdict uint8

// Verdicts. An entry that differs in several ways has the first of these.
const (
	Matches Verdict = iota
	OtherLocalAddress
	OtherRemoteAddress
	OtherProtocol
	OtherLocalPort  // for ICMP: another type or code
	OtherRemotePort // likewise
	NoPorts         // the packet's ports are not available, and the entry asks for some
)

// String says it for people.
func (v Verdict) String() string {
	switch v {
	case Matches:
		return "matches"
	case OtherLocalAddress:
		return "another local address"
	case OtherRemoteAddress:
		return "another remote address"
	case OtherProtocol:
		return "another protocol"
	case OtherLocalPort:
		return "another local port"
	case OtherRemotePort:
		return "another remote port"
	}
	return "the packet's ports are not available"
}

// Considered is one step of a lookup in order.
type Considered struct {
	Entry   *Entry
	Verdict Verdict
}

// Explanation is which entry takes a packet, and why not those before it.
type Explanation struct {
	Match *Entry // nil: no entry matches, the packet is discarded
	// Considered are the entries in order, up to and with Match.
	Considered []Considered
	// Omitted is how many entries before Match are not in Considered for want of space. Those
	// that another address rules out are left out first.
	Omitted int
}

// Explain says what Find, or FindInbound, does with a packet, in at most limit steps besides the
// match. It is for people: it asks every entry from the top, and allocates.
func (t *Table) Explain(f ipwire.Flow, inbound bool, limit int) Explanation {
	var x Explanation
	byAddress := 0
	for i := range t.entries {
		e := &t.entries[i]
		v := e.verdict(f, inbound)
		if v == Matches {
			x.Match = e
			x.Considered = append(x.Considered, Considered{e, v})
			return x
		}
		if v == OtherLocalAddress || v == OtherRemoteAddress {
			byAddress++
			if byAddress > limit/2 {
				x.Omitted++
				continue
			}
		}
		if len(x.Considered) >= limit {
			x.Omitted++
			continue
		}
		x.Considered = append(x.Considered, Considered{e, v})
	}
	return x
}

// verdict is MatchOutbound or MatchInbound, with the reason.
func (e *Entry) verdict(f ipwire.Flow, inbound bool) Verdict {
	local, localPort, remote, remotePort := f.Src, f.SrcPort, f.Dst, f.DstPort
	if inbound {
		local, localPort, remote, remotePort = remote, remotePort, local, localPort
	}
	l, r := nearest(e.Local, local, f, localPort), nearest(e.Remote, remote, f, remotePort)
	switch {
	case l == nothing:
		return OtherLocalAddress
	case r == nothing:
		return OtherRemoteAddress
	case l == address || r == address:
		return OtherProtocol
	case l == protocol || r == protocol:
		return portVerdict(f.Opaque, l == protocol)
	}
	return Matches
}

func portVerdict(opaque, local bool) Verdict {
	switch {
	case opaque:
		return NoPorts
	case local:
		return OtherLocalPort
	}
	return OtherRemotePort
}

// reached is how much of a packet's end a selector has, each of these and those before.
type reached uint8

const (
	nothing reached = iota
	address
	protocol
	ports
)

// nearest returns how far the best of the selectors comes.
func nearest(selectors []Selector, addr netip.Addr, f ipwire.Flow, port uint16) (best reached) {
	for _, s := range selectors {
		at := nothing
		switch {
		case s.Match(addr, f.Proto, port, f.Opaque):
			at = ports
		case !s.covers(addr):
		case s.Proto != 0 && s.Proto != f.Proto:
			at = address
		default:
			at = protocol
		}
		best = max(best, at)
	}
	return best
}
