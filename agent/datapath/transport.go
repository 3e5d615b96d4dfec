package datapath

import (
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// transport seals a packet in transport mode: its own IP header stays in front (RFC 4303 section 3.1.1, RFC 4302
// section 3.1.1), or that of UDP takes its place (RFC 3948 section 3.1.1). Fragments are joined before; what
// becomes too big is fragmented after (RFC 4303 section 3.3.4), unless the packet's DF bit forbids that.
func (s *sender) transport(t *tables, w *way, packet []byte) {
	sa, flow := w.sa, &w.flow
	if isFragment(packet) {
		whole, err := s.reassembler.Add(s.now, packet)
		switch {
		case err != nil:
			s.tally.Dropped[OutFragment]++
		case whole != nil: // its policy is found anew: now all of it is there
			s.whole(t, whole)
		}
		return
	}
	at, next, err := ipwire.InsertionPoint(packet)
	if err != nil {
		s.tally.Dropped[OutMalformed]++
		return
	}
	to := sa.ends(flow.Src, flow.Dst)
	if to.remote.Addr().Is4() != flow.Dst.Is4() || sa.encapsulation == UDP && to.remote.Port() == 0 {
		s.tally.Dropped[OutNoPath]++
		return
	}
	if sa.encapsulation == Native && to.remote.Addr() != flow.Dst {
		s.tally.Dropped[OutNoPath]++ // the SA is with another host
		return
	}
	version, mtu, outer := ipwire.Version(packet), int(sa.mtu.Load()), at
	if sa.encapsulation == UDP {
		outer = outerLen(to.remote.Addr(), UDP)
	}
	g := outgoing{payload: packet[at:], nextHeader: packet[next], to: &to, tos: ipwire.TOS(packet), df: innerDF(packet) && !w.joined, count: len(packet) - at, tail: !w.joined}
	room := sa.maxPayload(mtu, outer, version)
	if len(g.payload) > room && g.df {
		least := leastMTU4
		if version == 6 {
			least = leastMTU6
		}
		if len(packet) > least {
			s.tooBig(packet, max(room+at, least))
			return
		}
		g.df = false
	}
	s.finish(sa, packet, s.sealTransport(sa, packet, at, next, &g, mtu))
}

// whole carries a packet that came in fragments.
func (s *sender) whole(t *tables, packet []byte) {
	w, reason := s.way(t, packet)
	if reason != reasons {
		s.tally.Dropped[reason]++
		return
	}
	w.joined = true
	s.carry(t, w, packet)
	w.joined = false
}

// sealTransport gives the packet the protocol number of what protects it.
func (s *sender) sealTransport(sa *outboundSA, packet []byte, at, next int, g *outgoing, mtu int) Reason {
	if sa.encapsulation == UDP {
		return s.udp(sa, s.now, g, &s.tally)
	}
	packet[next] = uint8(sa.protocol)
	if h := ipwire.IPv4(packet); ipwire.Version(packet) == 4 && !g.df {
		if h.ID() == 0 { // it may be fragmented, here or on the way
			s.id++
			h.SetID(s.headerID())
		}
		h.SetDontFragment(false)
	}
	return s.native(sa, s.now, packet[:at], g, mtu, &s.tally)
}
