package ike

import (
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// throughNAT replaces, in what a peer wants for transport mode, the addresses that a NAT changes by those that packets
// have at this end, RFC 7296 section 2.23.1: the address of an end behind a NAT stands in its selectors, and nobody here
// sees it.
func (m *Machine) throughNAT(transport bool, w wanted) wanted {
	if transport && m.Peer.NATRemote {
		w.TSi = withAddress(w.TSi, m.Path.Remote.Addr())
	}
	if transport && m.Peer.NATLocal {
		w.TSr = withAddress(w.TSr, m.Path.Local.Addr())
	}
	return w
}

// withAddress replaces the address of selectors that are all of one and the same, of the same family; others stay.
func withAddress(ts []ikewire.TrafficSelector, a netip.Addr) []ikewire.TrafficSelector {
	var all []ikewire.TrafficSelector
	a = a.Unmap()
	for _, t := range ts {
		if !singlePair(t) || t.Start != ts[0].Start || t.Start.BitLen() != a.BitLen() {
			return ts
		}
		t.Start, t.End = a, a
		all = append(all, t)
	}
	return all
}

// readdress undoes that in the narrowed selectors: the peer gets the address that it knows.
func readdress(narrowed, seen, wanted []ikewire.TrafficSelector) []ikewire.TrafficSelector {
	if seen[0].Start == wanted[0].Start {
		return narrowed
	}
	return withAddress(narrowed, wanted[0].Start)
}
