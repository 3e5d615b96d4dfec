package ike

import "net/netip"

// Path is a pair of UDP endpoints as this end sees them. With local port 4500 the caller adds and removes the non-ESP
// marker of RFC 3948.
type Path struct {
	Local, Remote netip.AddrPort
}

// Ports of IKE, RFC 7296 section 2.
const (
	Port    = 500
	PortNAT = 4500
)

// floated is the path of an initiator that changes to port 4500 (RFC 7296 section 2.23).
func (p Path) floated() Path {
	if p.Remote.Port() == Port {
		p.Remote = netip.AddrPortFrom(p.Remote.Addr(), PortNAT)
	}
	p.Local = netip.AddrPortFrom(p.Local.Addr(), PortNAT)
	return p
}
