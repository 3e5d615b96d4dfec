package spec

import (
	"fmt"
	"net/netip"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/ipam"
)

// CheckHost checks a host by itself and against the pools, and returns its subnets.
func CheckHost(h *operatorv1.Host, pools ipam.Pools) ([]netip.Prefix, Report) {
	var r Report
	subnets := checkSubnets(h.GetSpec().GetSubnets(), pools, &r)
	seen := make(map[netip.AddrPort]int)
	for i, s := range h.GetSpec().GetEndpoints() {
		field := fmt.Sprintf("spec.endpoints[%d]", i)
		ap, text := ParseEndpoint(s)
		first, twice := seen[ap]
		switch {
		case text != "":
			r.problem(field, "%s", text)
		case pools.Contains(ap.Addr()):
			r.problem(field, "%s lies in the fleet's own address pool: give an address of the underlay", quote(s))
		case twice:
			r.problem(field, "%s is spec.endpoints[%d] again", quote(s), first)
		}
		seen[ap] = i
	}
	return subnets, r
}

func checkSubnets(texts []string, pools ipam.Pools, r *Report) []netip.Prefix {
	var out []netip.Prefix
	var own Subnets
	for i, s := range texts {
		field := fmt.Sprintf("spec.subnets[%d]", i)
		p, text := ParseSubnet(s)
		if text != "" {
			r.problem(field, "%s", text)
			continue
		}
		if pool, ok := overlapping(pools, p); ok {
			r.problem(field, "%s overlaps the fleet's address pool %s: subnets must lie outside it", quote(s), pool)
			continue
		}
		if other, _, ok := own.Overlap(p, ""); ok {
			r.problem(field, "%s overlaps %s of the same host: keep the wider one", quote(s), other)
			continue
		}
		own.Add("the same host", []netip.Prefix{p})
		out = append(out, p)
	}
	return out
}

func overlapping(pools ipam.Pools, p netip.Prefix) (netip.Prefix, bool) {
	for _, pool := range []netip.Prefix{pools.IPv4, pools.IPv6} {
		if pool.Overlaps(p) {
			return pool, true
		}
	}
	return netip.Prefix{}, false
}

// CheckOverlap checks a host's subnets against those of every other host.
func CheckOverlap(h *operatorv1.Host, others *Subnets) Report {
	var r Report
	name := h.GetMetadata().GetName()
	for i, s := range h.GetSpec().GetSubnets() {
		p, text := ParseSubnet(s)
		if text != "" {
			continue // CheckHost has said so
		}
		if other, host, ok := others.Overlap(p, name); ok {
			r.problem(fmt.Sprintf("spec.subnets[%d]", i),
				"%s overlaps %s of host %q: a subnet is behind one host only; change one of the two", quote(s), other, host)
		}
	}
	return r
}

// ParseSubnets reads stored subnets and leaves out what cannot be read.
func ParseSubnets(h *operatorv1.Host) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range h.GetSpec().GetSubnets() {
		if p, text := ParseSubnet(s); text == "" {
			out = append(out, p)
		}
	}
	return out
}
