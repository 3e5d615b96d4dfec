package netio

import (
	"net/netip"
	"slices"
)

// route is one entry of our table: to the TUN, or nowhere.
type route struct {
	dst         netip.Prefix
	src         netip.Addr // address for packets that have none yet; invalid if we have none
	unreachable bool
}

// wantedRoutes is the whole of our table: remote prefixes to the TUN, pools unreachable where no
// longer prefix is routed. A pool that is itself a remote prefix is routed.
func wantedRoutes(d Desired) []route {
	var routes []route
	for _, p := range d.Pools {
		if !slices.Contains(d.Remote, p) {
			routes = append(routes, route{dst: p, unreachable: true})
		}
	}
	for _, p := range d.Remote {
		r := route{dst: p}
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
