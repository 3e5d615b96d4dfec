package spec

import (
	"net/netip"
)

// refusedPrefixes can never be behind a gateway: routing them into a tunnel breaks the host itself.
// An operator's prefix must not overlap any of them, which also refuses the default routes and their
// halves.
func refusedPrefixes() []named {
	return []named{
		{netip.MustParsePrefix("0.0.0.0/8"), `"this network"`},
		{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
		{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
		{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
		{netip.MustParsePrefix("255.255.255.255/32"), "limited broadcast"},
		{netip.MustParsePrefix("::/127"), "unspecified and loopback"},
		{netip.MustParsePrefix("fe80::/10"), "link-local"},
		{netip.MustParsePrefix("ff00::/8"), "multicast"},
	}
}

type named struct {
	prefix netip.Prefix
	name   string
}

// ParseSubnet reads a subnet behind a host. The text says what is wrong with it; "" when nothing is.
func ParseSubnet(s string) (p netip.Prefix, text string) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, quote(s) + " is not a CIDR prefix such as 192.168.1.0/24 or 2001:db8:1::/48"
	case p.Addr().Is4In6():
		return p, quote(s) + " is an IPv4-mapped address: write the IPv4 prefix"
	case p.Bits() == 0:
		return p, quote(s) + " is the default route: name the subnets that are behind the host"
	case p != p.Masked():
		return p, quote(s) + " has host bits set: write " + p.Masked().String()
	case p.String() != s:
		return p, quote(s) + " is not in canonical form: write " + p.String()
	}
	for _, r := range refusedPrefixes() {
		if r.prefix.Overlaps(p) {
			return p, quote(s) + " overlaps " + r.prefix.String() + " (" + r.name + "), which cannot be behind a host"
		}
	}
	return p, ""
}

// quote shows an operator's text, bounded, since it is an error's.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + s + `"`
}
