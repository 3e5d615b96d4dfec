package spd

import (
	"errors"
	"fmt"
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// ErrSelector: a traffic selector is not well-formed.
var ErrSelector = errors.New("spd: bad traffic selector")

// Ports is a range of ports, both ends included. AnyPorts takes every packet;
// OpaquePorts only packets whose ports are not available (fragments, protocols
// without ports); any other range only packets whose ports are known.
//
// For ICMP and ICMPv6 a port is type<<8|code.
type Ports struct{ First, Last uint16 }

// AnyPorts and OpaquePorts are the special ranges of RFC 7296 section 3.13.1.
func AnyPorts() Ports { return Ports{0, 65535} }

// OpaquePorts matches packets whose ports are not available, RFC 4301 section 4.4.1.1.
func OpaquePorts() Ports { return Ports{65535, 0} }

func (p Ports) valid() bool { return p.First <= p.Last || p == OpaquePorts() }

func (p Ports) match(port uint16, opaque bool) bool {
	switch {
	case p == AnyPorts():
		return true
	case opaque:
		return p == OpaquePorts()
	}
	return p.First <= port && port <= p.Last
}

// Selector is a traffic selector of RFC 7296 section 3.13.1: a range of addresses, an
// IP protocol (0 is any) and a range of ports.
type Selector struct {
	First, Last netip.Addr // of one family, both included
	Proto       uint8
	Ports       Ports
}

// Prefix returns the selector of all traffic of a prefix.
func Prefix(p netip.Prefix) Selector {
	p = p.Masked()
	return Selector{First: p.Addr(), Last: lastAddr(p), Ports: AnyPorts()}
}

func lastAddr(p netip.Prefix) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

// Validate returns ErrSelector with the reason when the selector is not well-formed.
func (s Selector) Validate() error {
	switch {
	case !s.First.IsValid() || !s.Last.IsValid():
		return fmt.Errorf("%w: it has no address", ErrSelector)
	case s.First.BitLen() != s.Last.BitLen():
		return fmt.Errorf("%w: %v and %v are of two families", ErrSelector, s.First, s.Last)
	case s.First.Zone() != "" || s.Last.Zone() != "":
		return fmt.Errorf("%w: %v-%v has a zone", ErrSelector, s.First, s.Last)
	case s.Last.Less(s.First):
		return fmt.Errorf("%w: %v is above %v", ErrSelector, s.First, s.Last)
	case !s.Ports.valid():
		return fmt.Errorf("%w: port %d is above %d", ErrSelector, s.Ports.First, s.Ports.Last)
	}
	return nil
}

// Match reports whether one end of a packet, its address and port, is in the selector.
func (s Selector) Match(addr netip.Addr, proto uint8, port uint16, opaque bool) bool {
	return s.covers(addr) && (s.Proto == 0 || s.Proto == proto) && s.Ports.match(port, opaque)
}

func (s Selector) covers(addr netip.Addr) bool {
	return addr.BitLen() == s.First.BitLen() && s.First.Compare(addr) <= 0 && addr.Compare(s.Last) <= 0
}

func anyMatch(selectors []Selector, addr netip.Addr, f ipwire.Flow, port uint16) bool {
	_, ok := firstMatch(selectors, addr, f, port)
	return ok
}

func firstMatch(selectors []Selector, addr netip.Addr, f ipwire.Flow, port uint16) (Selector, bool) {
	for _, s := range selectors {
		if s.Match(addr, f.Proto, port, f.Opaque) {
			return s, true
		}
	}
	return Selector{}, false
}
