package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// ESPPort is the UDP port of ESP where a host names none (RFC 3948 section 4).
const ESPPort = 4500

// Why two hosts have no path. The text says what to do.
var (
	ErrBothBehindNAT  = errors.New("both hosts are behind NAT; needs a reflector, which does not exist yet; give one a reachable endpoint in spec.endpoints")
	ErrNoCommonFamily = errors.New("the hosts have no address family in common; give one an endpoint in spec.endpoints that the other can reach")
	ErrNoAddress      = errors.New("no underlay address is known yet; it has not connected since it joined")
)

// Path is how the two ends of a pair reach each other.
type Path struct {
	ToA, ToB               netip.AddrPort // where B sends to reach A, and A to reach B; zero when only the end behind NAT can open the path
	ABehindNAT, BBehindNAT bool
}

// PathOf chooses addresses of one family for both ends: an operator's endpoint first, then the address
// that the controller sees unless it is a NAT's, then a public address of the other family. Even with
// an error the NAT flags are right and the addresses zero.
func PathOf(a, b *Host) (Path, error) {
	p := Path{ABehindNAT: a.BehindNAT, BBehindNAT: b.BehindNAT}
	known := make([]family, 0, 2) // both ends are known there
	half := make([]family, 0, 2)  // one end is, the other has an address of the family
	for _, v6 := range []bool{false, true} {
		f := familyOf(a, b, v6)
		switch {
		case f.toA.IsValid() && f.toB.IsValid():
			known = append(known, f)
		case f.toA.IsValid() && b.speaks(v6), f.toB.IsValid() && a.speaks(v6):
			half = append(half, f)
		}
	}
	for _, choice := range [][]family{known, half} {
		if len(choice) > 0 {
			best := slices.MinFunc(choice, func(x, y family) int { return x.rank - y.rank })
			p.ToA, p.ToB = best.toA, best.toB
			// An end whose address nobody knows in this family is as good as behind NAT: the other one
			// has to learn where it is.
			p.ABehindNAT = p.ABehindNAT || !p.ToA.IsValid()
			p.BBehindNAT = p.BBehindNAT || !p.ToB.IsValid()
			return p, nil
		}
	}
	return p, whyNoPath(a, b)
}

// family is what one address family offers to a pair; a lower rank was wished more.
type family struct {
	toA, toB netip.AddrPort
	rank     int
}

func familyOf(a, b *Host, v6 bool) family {
	var f family
	var rankA, rankB int
	f.toA, rankA = a.candidate(v6)
	f.toB, rankB = b.candidate(v6)
	f.rank = rankA + rankB
	return f
}

// candidate returns the first address of a family at which the host can be reached, and its place in the
// host's order.
func (h *Host) candidate(v6 bool) (netip.AddrPort, int) {
	rank := 0
	for _, c := range h.candidates() {
		if c.Addr().Is6() == v6 {
			return c, rank
		}
		rank++
	}
	return netip.AddrPort{}, rank
}

func (h *Host) candidates() []netip.AddrPort {
	var cs []netip.AddrPort
	for _, e := range h.Endpoints {
		port := e.Port()
		if port == 0 {
			port = h.espPort()
		}
		cs = append(cs, netip.AddrPortFrom(e.Addr().Unmap(), port))
	}
	observed := h.Observed.Unmap()
	if h.BehindNAT || !usable(observed) {
		return cs
	}
	cs = append(cs, netip.AddrPortFrom(observed, h.espPort()))
	for _, u := range h.Underlay {
		// Whether there is a NAT in the other family nobody has seen: only a public address is trusted.
		if u = u.Unmap(); u.Is6() != observed.Is6() && u.IsGlobalUnicast() && !private(u) && !slices.Contains(h.Addresses, u) {
			cs = append(cs, netip.AddrPortFrom(u, h.espPort()))
		}
	}
	return cs
}

// speaks reports whether the host can send in a family.
func (h *Host) speaks(v6 bool) bool {
	if o := h.Observed.Unmap(); usable(o) && o.Is6() == v6 {
		return true
	}
	return slices.ContainsFunc(h.Underlay, func(u netip.Addr) bool {
		u = u.Unmap()
		return u.Is6() == v6 && u.IsGlobalUnicast() && !slices.Contains(h.Addresses, u)
	})
}

func (h *Host) espPort() uint16 {
	if h.ESPPort == 0 {
		return ESPPort
	}
	return h.ESPPort
}

func usable(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() }

// private is RFC 1918, RFC 4193 and the shared space of RFC 6598, which lies behind a carrier's NAT.
func private(a netip.Addr) bool {
	return a.IsPrivate() || netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a)
}

func whyNoPath(a, b *Host) error {
	for _, h := range []*Host{a, b} {
		if !usable(h.Observed) && len(h.Endpoints) == 0 {
			return fmt.Errorf("host %s: %w", h.Name, ErrNoAddress)
		}
	}
	if a.BehindNAT && b.BehindNAT {
		return ErrBothBehindNAT
	}
	return ErrNoCommonFamily
}
