package datapath

import (
	"net/netip"
	"time"

	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// tunnel seals a packet in tunnel mode, or its fragments if it is too big and may be fragmented (RFC 4301
// section 8).
//
//	          fits            DF=0, not IPv6          DF=1, IPv6
//	DFCopy    outer DF = inner   fragments first         ICMP to its sender
//	DFSet     outer DF = 1       fragments first         ICMP to its sender
//	DFClear   outer DF = 0       whole; the outer packet is fragmented
//
// No path is narrower than what every host takes (576 and 1280 bytes), so a packet that the sender cannot
// make smaller is sealed whole and its outer packet fragmented.
func (s *sender) tunnel(w *way, inner []byte) {
	sa, l := w.sa, &w.lane
	l.update(sa)
	if !l.to.remote.IsValid() || sa.encapsulation == UDP && l.to.remote.Port() == 0 {
		s.tally.Dropped[OutNoPath]++
		return
	}
	df := innerDF(inner)
	if len(inner) <= l.room || sa.outer.DF == DFClear {
		s.sealTunnel(l, inner, true, sa.outerDF(df))
		return
	}
	least := leastMTU4
	if ipwire.Version(inner) == 6 {
		least = leastMTU6
	}
	switch {
	case df && len(inner) <= least:
		s.sealTunnel(l, inner, true, false)
	case df:
		s.tooBig(inner, max(l.room, least))
	default:
		s.id++
		pieces, err := s.inner.split(inner, l.room, s.id)
		if err != nil {
			s.tally.Dropped[OutTooLong]++
			return
		}
		for _, piece := range pieces {
			s.sealTunnel(l, piece, false, sa.outerDF(false))
		}
	}
}

// lane is what the packets of an SA in tunnel mode have in common.
type lane struct {
	sa       *outboundSA
	path     *hostPath
	endpoint *endpoint
	mtu      int
	to       ends
	room     int // the longest packet that fits mtu
}

// update works out anew what has changed.
func (l *lane) update(sa *outboundSA) {
	path, mtu := sa.pair.path.Load(), int(sa.mtu.Load())
	endpoint := path.endpoint.Load()
	if l.sa == sa && l.path == path && l.endpoint == endpoint && l.mtu == mtu && sa.encapsulation == UDP {
		return
	}
	*l = lane{sa: sa, path: path, endpoint: endpoint, mtu: mtu, to: sa.ends(netip.Addr{}, netip.Addr{})}
	version := 6
	if l.to.remote.Addr().Is4() {
		version = 4
	}
	l.room = sa.maxPayload(mtu, outerLen(l.to.remote.Addr(), sa.encapsulation), version)
}

// outerDF is the outer DF bit for an inner one.
func (sa *outboundSA) outerDF(inner bool) bool {
	switch sa.outer.DF {
	case DFSet:
		return true
	case DFClear:
		return false
	}
	return inner
}

// innerDF reports whether only a packet's source may fragment it: DF is set, or it is IPv6.
func innerDF(packet []byte) bool {
	return ipwire.Version(packet) == 6 || ipwire.IPv4(packet).DontFragment()
}

// sealTunnel seals a packet; a whole one has memory behind it, offload.Tail.
func (s *sender) sealTunnel(l *lane, inner []byte, whole, df bool) {
	sa := l.sa
	g := outgoing{payload: inner, nextHeader: esp.NextHeaderIPv4, to: &l.to, df: df, tos: sa.outer.outerTOS(ipwire.TOS(inner)), count: len(inner), tail: whole}
	if ipwire.Version(inner) == 6 {
		g.nextHeader = esp.NextHeaderIPv6
	}
	g.pad = sa.padding(len(inner), &l.to, l.mtu)
	s.finish(sa, inner, s.sealTunnelled(sa, s.now, &g, l.mtu, &s.tally))
}

// padding is the TFC padding of a payload of n bytes, RFC 4303 section 2.7: as much as is asked for and fits the path.
func (sa *outboundSA) padding(n int, to *ends, mtu int) int {
	if sa.outer.Pad <= n {
		return 0
	}
	return max(min(sa.outer.Pad, sa.esp.MaxPayload(mtu-outerLen(to.remote.Addr(), sa.encapsulation)))-n, 0)
}

// sealTunnelled seals the payload of a tunnel mode packet, or a dummy.
func (s *sealing) sealTunnelled(sa *outboundSA, now time.Duration, g *outgoing, mtu int, tally *Counters) Reason {
	if sa.encapsulation == UDP {
		return s.udp(sa, now, g, tally)
	}
	head, ok := s.tunnelHeader(sa, g.to, g.tos, g.df)
	if !ok {
		return OutNoPath
	}
	return s.native(sa, now, head, g, mtu, tally)
}

// finish counts a packet.
func (s *sender) finish(sa *outboundSA, inner []byte, reason Reason) {
	if reason != reasons {
		s.tally.Dropped[reason]++
		return
	}
	touch(&sa.pair.path.Load().sent, s.now)
	s.tally.OutPackets++
	s.tally.OutBytes += uint64(len(inner))
}
