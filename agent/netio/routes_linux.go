package netio

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// installed is a route of our table as the kernel holds it.
type installed struct {
	route
	raw netlink.Route
}

// applyRoutes says whether there was anything to do.
func (n *Network) applyRoutes(link netlink.Link, d Desired) (changed bool, err error) {
	have, err := n.routes(link.Attrs().Index)
	if err != nil {
		return false, err
	}
	want := wantedRoutes(d)
	keep := make(map[route]bool, len(want))
	wanted := make(map[netip.Prefix]bool, len(want))
	for _, r := range want {
		keep[r], wanted[r.dst] = true, true
	}
	for _, h := range have {
		switch {
		case keep[h.route]:
			delete(keep, h.route) // nothing to do
		case !wanted[h.dst]: // others are replaced in place
			changed = true
			if err := n.handle.RouteDel(&h.raw); err != nil && !errors.Is(err, unix.ESRCH) {
				return changed, fmt.Errorf("remove %v: %w", h.dst, err)
			}
		}
	}
	for _, r := range want {
		if !keep[r] {
			continue
		}
		changed = true
		if err := n.handle.RouteReplace(n.kernelRoute(r, link.Attrs().Index)); err != nil {
			return changed, fmt.Errorf("add %v: %w", r.dst, err)
		}
	}
	return changed, nil
}

// kernelType is the kernel's type of a route of ours.
func kernelType(k routeKind) int {
	switch k {
	case unreachable:
		return unix.RTN_UNREACHABLE
	case throw:
		return unix.RTN_THROW
	}
	return unix.RTN_UNICAST
}

func (n *Network) kernelRoute(r route, tun int) *netlink.Route {
	k := &netlink.Route{Dst: ipNet(r.dst), Table: n.config.Table, Type: kernelType(r.kind),
		Protocol: unix.RTPROT_STATIC, Scope: netlink.SCOPE_UNIVERSE}
	if r.kind != toTUN {
		return k
	}
	k.LinkIndex = tun
	if r.dst.Addr().Is4() {
		k.Scope = netlink.SCOPE_LINK
	}
	if r.src.IsValid() {
		k.Src = r.src.AsSlice()
	}
	return k
}

// routes reads our table.
func (n *Network) routes(tun int) ([]installed, error) {
	var out []installed
	for _, family := range families() {
		list, err := n.dumps.RouteListFiltered(family, &netlink.Route{Table: n.config.Table}, netlink.RT_FILTER_TABLE)
		if err != nil && !errors.Is(err, unix.ENOENT) { // an empty table is none
			return nil, fmt.Errorf("list: %w", err)
		}
		for _, k := range list {
			out = append(out, installed{route: fromKernel(k, family, tun), raw: k})
		}
	}
	return out, nil
}

// fromKernel is foreign, and without a prefix, for what we would not have installed.
func fromKernel(k netlink.Route, family, tun int) route {
	r := route{}
	switch {
	case k.Type == unix.RTN_UNREACHABLE:
		r.kind = unreachable
	case k.Type == unix.RTN_THROW:
		r.kind = throw
	case k.Type == unix.RTN_UNICAST && k.LinkIndex == tun:
		r.kind = toTUN
	default:
		return r
	}
	if src, ok := netip.AddrFromSlice(k.Src); ok {
		r.src = src.Unmap()
	}
	if k.Dst == nil {
		r.dst = defaultPrefix(family)
		return r
	}
	addr, _ := netip.AddrFromSlice(k.Dst.IP)
	ones, _ := k.Dst.Mask.Size()
	if family == netlink.FAMILY_V4 {
		addr = addr.Unmap()
	}
	r.dst = netip.PrefixFrom(addr, ones)
	return r
}

func defaultPrefix(family int) netip.Prefix {
	if family == netlink.FAMILY_V4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
