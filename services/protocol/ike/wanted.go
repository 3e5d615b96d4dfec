package ike

import (
	"fmt"
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// wanted is what a request, or an answer, says of the SA that it is to make.
type wanted struct {
	SA        []ikewire.Proposal
	Ni        key // the peer's nonce
	KE        ikewire.KE
	HasKE     bool
	TSi, TSr  []ikewire.TrafficSelector
	Transport bool
	First     bool // of IKE_AUTH: no key exchange of its own
}

func readWanted(ps []ikewire.Payload) wanted {
	var w wanted
	if sa, ok := ikewire.Find[ikewire.SA](ps); ok {
		w.SA = sa.Proposals
	}
	if nonce, ok := ikewire.Find[ikewire.Nonce](ps); ok {
		w.Ni = nonce.Data
	}
	w.KE, w.HasKE = ikewire.Find[ikewire.KE](ps)
	if ts, ok := ikewire.Find[ikewire.TSi](ps); ok {
		w.TSi = ts.Selectors
	}
	if ts, ok := ikewire.Find[ikewire.TSr](ps); ok {
		w.TSr = ts.Selectors
	}
	w.Transport = has(ps, ikewire.UseTransportMode)
	return w
}

func (w wanted) childless() bool { return len(w.SA) == 0 && len(w.TSi) == 0 && len(w.TSr) == 0 }

// granted is what a responder allows of it.
type granted struct {
	Policy    *ChildPolicy `json:"-"`
	Choice    choice
	SPI       uint32                    // the peer's inbound
	TSi, TSr  []ikewire.TrafficSelector // as they are answered
	Transport bool
	// SeenTSi, SeenTSr are what packets have here; they differ from the answered ones in transport mode through a NAT.
	SeenTSi, SeenTSr []ikewire.TrafficSelector
}

// grant finds the first child policy that allows what the peer, the initiator of the exchange, wants. A rekey may only
// have the policy of the child that it replaces.
func (m *Machine) grant(w wanted, old *child) (granted, *refusal) {
	if len(w.SA) == 0 || len(w.TSi) == 0 || len(w.TSr) == 0 || len(w.Ni) == 0 {
		return granted{}, refuse(ikewire.InvalidSyntax, Malformed, "SA, nonce or selectors are missing")
	}
	no := refuse(ikewire.NoProposalChosen, NoProposalChosen, "there is no child policy")
	for i := range m.Policy.Children {
		p := &m.Policy.Children[i]
		if old != nil && p.Name != old.Name {
			continue
		}
		g, why := m.grantBy(p, w)
		if why == nil {
			return g, nil
		}
		if no.Child == "" || why.Reason != NoProposalChosen {
			no, no.Child = why, p.Name
		}
	}
	return granted{}, no
}

func (m *Machine) grantBy(p *ChildPolicy, w wanted) (granted, *refusal) {
	ours := p.Proposals
	if w.First {
		ours, w.SA = withoutKE(ours), withoutOfferedKE(w.SA)
	}
	c, ok := choose(ours, w.SA)
	if !ok {
		return granted{}, refuse(ikewire.NoProposalChosen, NoProposalChosen, fmt.Sprintf("offered %v, allowed %v",
			proposalStrings(w.SA), proposalStrings(offerOf(ours, nil))))
	}
	g := granted{Policy: p, Choice: c, Transport: w.Transport && p.Mode != Tunnel}
	if !g.Transport && p.Mode == Transport {
		return granted{}, refuse(ikewire.NoProposalChosen, NoProposalChosen, "transport mode is required")
	}
	for _, offered := range w.SA {
		if offered.Number == c.Answer.Number {
			g.SPI = spiOf(offered.SPI)
		}
	}
	if g.SPI < minSPI || m.byOutbound(c.Answer.Protocol, g.SPI) != nil {
		return granted{}, refuse(ikewire.InvalidSyntax, Malformed, fmt.Sprintf("SPI %08x is reserved or there already", g.SPI))
	}
	local, remote := m.selectors(p)
	seen := m.throughNAT(g.Transport, w)
	if len(w.TSi)*len(remote) > maxIntersections || len(w.TSr)*len(local) > maxIntersections {
		return granted{}, refuse(ikewire.TSUnacceptable, TooMany, "too many selectors")
	}
	g.SeenTSi, g.SeenTSr = narrow(seen.TSi, remote), narrow(seen.TSr, local)
	g.TSi, g.TSr = readdress(g.SeenTSi, seen.TSi, w.TSi), readdress(g.SeenTSr, seen.TSr, w.TSr)
	if len(g.TSi) == 0 || len(g.TSr) == 0 {
		return granted{}, refuse(ikewire.TSUnacceptable, TSUnacceptable, fmt.Sprintf("wanted %v to %v, allowed %v to %v",
			selectorStrings(w.TSi), selectorStrings(w.TSr), selectorStrings(remote), selectorStrings(local)))
	}
	if p.SinglePair {
		if !singlePair(w.TSi[0]) || !singlePair(w.TSr[0]) {
			return granted{}, refuse(ikewire.SinglePairRequired, SinglePairRequired, "a child carries one pair of addresses")
		}
		g.TSi, g.TSr, g.SeenTSi, g.SeenTSr = g.TSi[:1], g.TSr[:1], g.SeenTSi[:1], g.SeenTSr[:1]
	}
	if c.KE != 0 && (!w.HasKE || w.KE.Method != c.KE) {
		no := refuse(ikewire.InvalidKEPayload, InvalidKE, methodName(c.KE)+" is wanted")
		no.Notify = ikewire.NewInvalidKE(c.KE)
		return granted{}, no
	}
	return g, nil
}

// maxIntersections bounds the work that narrowing may take.
const maxIntersections = 4096

func withoutOfferedKE(ps []ikewire.Proposal) []ikewire.Proposal {
	var all []ikewire.Proposal
	for _, p := range ps {
		p.Transforms = dropKE(p.Transforms)
		all = append(all, p)
	}
	return all
}

// selectors are what a child policy allows at this end and at the peer's, with the addresses of the moment.
func (m *Machine) selectors(p *ChildPolicy) (local, remote []ikewire.TrafficSelector) {
	local, remote = p.Local, p.Remote
	given := m.assigned()
	if p.LocalDynamic {
		local = hosts(m.Path.Local.Addr())
		if m.Initiator && len(given) > 0 {
			local = hosts(given...)
		}
	}
	if p.RemoteDynamic {
		remote = hosts(m.Path.Remote.Addr())
		if !m.Initiator && len(given) > 0 {
			remote = hosts(given...)
		}
	}
	return local, remote
}

// permits reports whether a child with those selectors may be under a policy, nil for none. Addresses of the moment are
// not looked at: they may have changed since.
func (p *ChildPolicy) permits(local, remote []ikewire.TrafficSelector) bool {
	return p != nil && (p.LocalDynamic || within(local, p.Local)) && (p.RemoteDynamic || within(remote, p.Remote))
}

// assigned are the internal addresses of the configuration payload.
func (m *Machine) assigned() []netip.Addr {
	attributes := m.Peer.Configuration
	if m.Handshake != nil && m.Handshake.Assigned != nil {
		attributes = m.Handshake.Assigned
	}
	var all []netip.Addr
	for _, a := range attributes {
		if a.Type != ikewire.InternalIP4Address && a.Type != ikewire.InternalIP6Address {
			continue
		}
		if addr, err := a.Addr(); err == nil && addr.IsValid() {
			all = append(all, addr)
		}
	}
	return all
}

// askedSelectors are TSi of an initiator that does not know its internal addresses yet.
func (m *Machine) askedSelectors() []ikewire.TrafficSelector {
	var all []ikewire.TrafficSelector
	for _, a := range m.Policy.Request {
		switch a.Type {
		case ikewire.InternalIP4Address:
			all = append(all, anywhere(netip.IPv4Unspecified()))
		case ikewire.InternalIP6Address:
			all = append(all, anywhere(netip.IPv6Unspecified()))
		}
	}
	return withoutCovered(all)
}

func hosts(addrs ...netip.Addr) []ikewire.TrafficSelector {
	var all []ikewire.TrafficSelector
	for _, a := range addrs {
		a = a.Unmap()
		all = append(all, Range(a, a))
	}
	return all
}
