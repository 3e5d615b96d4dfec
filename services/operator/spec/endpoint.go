package spec

import (
	"net/netip"
)

// ParseEndpoint reads where a host is reached: "addr" or "addr:port", IPv6 with a port in brackets.
// The port is 0 when not given. The text says what is wrong; "" when nothing is.
func ParseEndpoint(s string) (ap netip.AddrPort, text string) {
	if addr, err := netip.ParseAddr(s); err == nil {
		ap = netip.AddrPortFrom(addr, 0)
	} else if ap, err = netip.ParseAddrPort(s); err != nil {
		return ap, quote(s) + " is not an address such as 192.0.2.1 or 2001:db8::1, or address:port such as 192.0.2.1:4500 or [2001:db8::1]:4500; names are not resolved"
	} else if ap.Port() == 0 {
		return ap, quote(s) + " has port 0: leave the port out, or give the port on which ESP arrives"
	}
	a := ap.Addr()
	switch {
	case a.Zone() != "":
		return ap, quote(s) + " has a zone, which means nothing on another host"
	case a.Is4In6():
		return ap, quote(s) + " is an IPv4-mapped address: write " + a.Unmap().String()
	case a.IsUnspecified(), a.IsLoopback(), a.IsMulticast(), a.IsLinkLocalUnicast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return ap, quote(s) + " is not an address that other hosts can reach"
	}
	return ap, ""
}
