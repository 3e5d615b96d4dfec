package ike

import (
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// intersect returns what two selectors have in common, RFC 7296 section 2.9.
func intersect(a, b ikewire.TrafficSelector) (ikewire.TrafficSelector, bool) {
	if a.Type != b.Type || !a.Start.IsValid() || !b.Start.IsValid() {
		return ikewire.TrafficSelector{}, false
	}
	both := a
	if both.Protocol == 0 {
		both.Protocol = b.Protocol
	}
	if b.Protocol != 0 && both.Protocol != b.Protocol {
		return ikewire.TrafficSelector{}, false
	}
	if a.Start.Less(b.Start) {
		both.Start = b.Start
	}
	if b.End.Less(a.End) {
		both.End = b.End
	}
	var ok bool
	both.StartPort, both.EndPort, ok = intersectPorts(a, b)
	return both, ok && !both.End.Less(both.Start)
}

func intersectPorts(a, b ikewire.TrafficSelector) (start, end uint16, ok bool) {
	switch {
	case a.OpaquePorts() && (b.OpaquePorts() || anyPorts(b)), b.OpaquePorts() && anyPorts(a):
		return 0xffff, 0, true
	case a.OpaquePorts(), b.OpaquePorts():
		return 0, 0, false
	}
	start, end = max(a.StartPort, b.StartPort), min(a.EndPort, b.EndPort)
	return start, end, start <= end
}

func anyPorts(t ikewire.TrafficSelector) bool { return t.StartPort == 0 && t.EndPort == 0xffff }

// covers reports whether every packet of b is one of a.
func covers(a, b ikewire.TrafficSelector) bool {
	both, ok := intersect(a, b)
	return ok && both.Start == b.Start && both.End == b.End && both.Protocol == b.Protocol &&
		both.StartPort == b.StartPort && both.EndPort == b.EndPort
}

// narrow returns the part of wanted that allowed has, in the order of wanted, so that its first selectors are kept when
// they are allowed. Empty: nothing, or more than a payload can hold.
func narrow(wanted, allowed []ikewire.TrafficSelector) []ikewire.TrafficSelector {
	var got []ikewire.TrafficSelector
	for _, w := range wanted {
		for _, a := range allowed {
			both, ok := intersect(w, a)
			if !ok || coveredBy(got, both) {
				continue
			}
			if len(got) == ikewire.MaxSelectors {
				return nil
			}
			got = append(got, both)
		}
	}
	return withoutCovered(got)
}

// withoutCovered drops selectors that a later one covers.
func withoutCovered(ts []ikewire.TrafficSelector) []ikewire.TrafficSelector {
	var kept []ikewire.TrafficSelector
	for i, t := range ts {
		if !coveredBy(ts[i+1:], t) {
			kept = append(kept, t)
		}
	}
	return kept
}

func coveredBy(ts []ikewire.TrafficSelector, t ikewire.TrafficSelector) bool {
	for _, other := range ts {
		if covers(other, t) {
			return true
		}
	}
	return false
}

// within reports whether every selector of got lies in one of offered: what a responder may answer.
func within(got, offered []ikewire.TrafficSelector) bool {
	for _, t := range got {
		if !coveredBy(offered, t) {
			return false
		}
	}
	return len(got) > 0
}

// singlePair reports whether a selector is of one address only, as that of a packet is.
func singlePair(t ikewire.TrafficSelector) bool { return t.Start.IsValid() && t.Start == t.End }

// Range returns the selector of an address range, any protocol and port. Both are of one family.
func Range(start, end netip.Addr) ikewire.TrafficSelector {
	t := ikewire.TrafficSelector{Type: ikewire.TSIPv4AddrRange, EndPort: 0xffff, Start: start, End: end}
	if start.Is6() {
		t.Type = ikewire.TSIPv6AddrRange
	}
	return t
}

// Prefix returns the selector of a prefix, any protocol and port.
func Prefix(p netip.Prefix) ikewire.TrafficSelector {
	start := p.Masked().Addr()
	b := start.AsSlice()
	for i := range b {
		free := min(8, max(0, 8*(i+1)-p.Bits()))
		b[i] |= byte(1<<free - 1)
	}
	end, _ := netip.AddrFromSlice(b)
	return Range(start, end)
}

func anywhere(of netip.Addr) ikewire.TrafficSelector {
	if of.Is6() {
		return Prefix(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	return Prefix(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
}

func selectorStrings(ts []ikewire.TrafficSelector) []string {
	var all []string
	for _, t := range ts {
		all = append(all, t.String())
	}
	return all
}
