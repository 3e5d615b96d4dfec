package netio

import (
	"net/netip"
	"slices"
)

// route is one entry of our table.
type route struct {
	dst  netip.Prefix
	kind routeKind
	src  netip.Addr // address for packets that have none yet; invalid if we have none
}

type routeKind uint8

const (
	foreign     routeKind = iota // not ours: to be removed
	toTUN                        // protected
	unreachable                  // in an overlay pool, but nobody's
	throw                        // ours: the main table knows
)

// wantedRoutes is the whole of our table: remote prefixes to the TUN, pools unreachable where no longer
// prefix is routed, our own subnets as ever, even if a remote prefix contains them. Of equal prefixes a
// remote one wins.
func wantedRoutes(d Desired) []route {
	var routes []route
	add := func(kind routeKind, prefixes []netip.Prefix) {
		for _, p := range prefixes {
			if !slices.Contains(d.Remote, p) {
				routes = append(routes, route{dst: p, kind: kind})
			}
		}
	}
	add(unreachable, d.Pools)
	add(throw, without(d.Subnets, d.Pools))
	for _, p := range d.Remote {
		r := route{dst: p, kind: toTUN}
		for _, a := range d.Addresses {
			if a.Is4() == p.Addr().Is4() {
				r.src = a
			}
		}
		routes = append(routes, r)
	}
	return routes
}

// difference is what to add to have, and to remove from it, so that want is there. Both keep their
// order.
func difference[T comparable](want, have []T) (add, remove []T) {
	return without(want, have), without(have, want)
}

func without[T comparable](from, what []T) (rest []T) {
	set := make(map[T]bool, len(what))
	for _, w := range what {
		set[w] = true
	}
	for _, f := range from {
		if !set[f] {
			rest = append(rest, f)
		}
	}
	return rest
}
