package datapath

import (
	"net/netip"
	"time"

	"sallyport.dev/sallyport/services/protocol/ah"
	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// sealing is what makes outer packets. Its methods are called with Datapath.sending held, until the outbox has
// been flushed.
type sealing struct {
	d    *Datapath
	out  *outbox
	head []byte // an outer header in the making
	id   uint32 // the last IP identification
}

func newSealing(d *Datapath, arena int) *sealing {
	return &sealing{d: d, out: newOutbox(d.config, arena, d.shrunk), head: make([]byte, 0, ipwire.IPv6HeaderLen)}
}

// outgoing says how a payload leaves.
type outgoing struct {
	payload    []byte
	nextHeader uint8
	pad        int // TFC padding
	to         *ends
	tos        uint8
	df         bool
	// count is what the SA's account is charged with.
	count int
	// tail says that the memory behind the payload may be overwritten, as far as its capacity goes.
	tail bool
}

// seal seals the payload behind dst.
func (g *outgoing) seal(s *esp.Sealer, dst []byte) ([]byte, error) {
	if g.tail && g.pad == 0 {
		return s.SealTail(dst, g.payload, g.nextHeader)
	}
	return s.SealTFC(dst, g.payload, g.nextHeader, g.pad)
}

// udp seals ESP in UDP.
func (s *sealing) udp(sa *outboundSA, now time.Duration, g *outgoing, tally *Counters) Reason {
	n := sa.esp.SealedLen(len(g.payload) + g.pad)
	if n > maxDatagram {
		return OutTooLong
	}
	if reason := s.charge(sa, now, g.count); reason != reasons {
		return reason
	}
	slot := s.out.take(n, tally)
	packet, err := g.seal(sa.esp, slot[:0])
	if err != nil {
		return sealReason(err)
	}
	s.tapOuter(sa, packet, g.to)
	s.out.put(linkUDP, packet, g, tally)
	return reasons
}

// native seals ESP or AH behind the IP header that head has, whose protocol or last next header is right and
// whose length is not. at is head's length. What is longer than mtu leaves in fragments, unless df forbids
// that: then it leaves whole.
func (s *sealing) native(sa *outboundSA, now time.Duration, head []byte, g *outgoing, mtu int, tally *Counters) Reason {
	var inside int
	version := ipwire.Version(head)
	if sa.ah != nil {
		inside = sa.ah.HeaderLen(version) + len(g.payload)
	} else {
		inside = sa.esp.SealedLen(len(g.payload) + g.pad)
	}
	total := len(head) + inside
	if total > maxLength(version) {
		return OutTooLong
	}
	if reason := s.charge(sa, now, g.count); reason != reasons {
		return reason
	}
	slot := s.out.take(total, tally)
	copy(slot, head)
	ipwire.SetLength(slot)
	l := linkESP
	if sa.ah != nil {
		l = linkAH
		copy(slot[total-len(g.payload):], g.payload)
		if err := sa.ah.Seal(slot, len(head), g.nextHeader); err != nil {
			return sealReason(err)
		}
	} else if _, err := g.seal(sa.esp, slot[:len(head)]); err != nil {
		return sealReason(err)
	}
	s.tapOuter(sa, slot, g.to)
	if total <= mtu || g.df {
		s.out.put(l, slot, g, tally)
		return reasons
	}
	s.id++
	pieces, err := s.out.split(slot, mtu, s.id)
	if err != nil {
		return OutTooLong
	}
	for _, piece := range pieces {
		packet := s.out.take(len(piece), tally)
		copy(packet, piece)
		s.out.put(l, packet, g, tally)
	}
	return reasons
}

// maxLength is the longest datagram without a jumbo option.
func maxLength(version int) int {
	if version == 4 {
		return 65535
	}
	return ipwire.IPv6HeaderLen + 65535
}

// charge takes a packet into the SA's account, and lets control know what it must.
func (s *sealing) charge(sa *outboundSA, now time.Duration, n int) Reason {
	ok, news := sa.spend(now, n)
	if sa.near != 0 && sa.seq() >= sa.near {
		sa.near, news = 0, true
		sa.wantsRoom = true
	}
	if news {
		s.d.rouse()
	}
	if !ok {
		return OutExpired
	}
	return reasons
}

func sealReason(err error) Reason {
	switch err {
	case esp.ErrSequenceExhausted, ah.ErrSequenceExhausted:
		return OutExhausted
	case esp.ErrCeiling, ah.ErrCeiling:
		return OutCeiling
	}
	return OutTooLong
}

// tunnelHeader makes the outer header of native tunnel mode, RFC 4301 section 5.1.2.
func (s *sealing) tunnelHeader(sa *outboundSA, to *ends, tos uint8, df bool) ([]byte, bool) {
	hops := sa.outer.HopLimit
	if hops == 0 {
		hops = defaultHopLimit
	}
	src, dst, proto := to.local, to.remote.Addr(), uint8(sa.protocol)
	if !src.IsValid() || src.Is4() != dst.Is4() {
		return nil, false
	}
	s.id++
	if dst.Is4() {
		h, err := ipwire.PutIPv4(s.head[:ipwire.IPv4MinHeaderLen], ipwire.IPv4Header{TOS: tos, ID: s.headerID(), DontFragment: df, TTL: hops, Protocol: proto, Src: src, Dst: dst})
		return h, err == nil
	}
	h, err := ipwire.PutIPv6(s.head[:ipwire.IPv6HeaderLen], ipwire.IPv6Header{TrafficClass: tos, NextHeader: proto, HopLimit: hops, Src: src, Dst: dst})
	return h, err == nil
}

// headerID is never 0, which Linux would replace, and AH covers it.
func (s *sealing) headerID() uint16 {
	if uint16(s.id) == 0 {
		s.id++
	}
	return uint16(s.id)
}

// defaultHopLimit is that of outer headers, RFC 1700's recommendation.
const defaultHopLimit = 64

// outerTOS is the DSCP and ECN of an outer header: RFC 4301 section 5.1.2, RFC 6040 section 4.1.
func (o *Outer) outerTOS(inner uint8) uint8 {
	dscp := o.DSCP << 2
	if o.CopyDSCP {
		dscp = inner &^ 3
	}
	return dscp | ipwire.EncapsulateECN(inner, o.NoECN)
}

// ends are where a packet under the SA goes; the remote end is invalid while that is not known.
func (sa *outboundSA) ends(src, dst netip.Addr) ends {
	path := sa.pair.path.Load()
	to := path.ends()
	if sa.mode == Transport {
		to.local = src
		if !to.remote.IsValid() {
			to.remote = netip.AddrPortFrom(dst, espPort)
		}
		return to
	}
	if !to.local.IsValid() && sa.encapsulation == Native {
		to.local = path.route.Load().local
	}
	return to
}

// espPort is RFC 3948's.
const espPort = 4500
