//go:build linux

package bed

import (
	"fmt"
	"net/netip"
)

// Family is an IP version, 4 or 6.
type Family int

// Outer is the address of an end, 0 or 1, on the wire: of RFC 5737's TEST-NET-1, or a unique local one.
func Outer(end int, f Family) netip.Addr {
	if f == 6 {
		return netip.MustParseAddr(fmt.Sprintf("fd16::%x", end+1))
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(end + 1)})
}

// Inner is the address that an end's traffic has.
func Inner(end int, f Family) netip.Addr { return inner(end, f, 1) }

// InnerNet is the network that an end's inner addresses are of.
func InnerNet(end int, f Family) netip.Prefix {
	return netip.PrefixFrom(inner(end, f, 0), map[Family]int{4: 24, 6: 64}[f])
}

// gateway is the address that a station's gateway has towards it.
func gateway(end int, f Family) netip.Addr { return inner(end, f, 254) }

func inner(end int, f Family, host int) netip.Addr {
	if f == 6 {
		return netip.MustParseAddr(fmt.Sprintf("fd98:%x::%x", end+1, host))
	}
	return netip.AddrFrom4([4]byte{10, 98, byte(end + 1), byte(host)})
}

func families() []Family { return []Family{4, 6} }

// flag is iproute2's word for a family.
func (f Family) flag() string { return fmt.Sprintf("-%d", f) }

// outerBits is the length of the wire's prefix.
func (f Family) outerBits() int { return map[Family]int{4: 24, 6: 64}[f] }
