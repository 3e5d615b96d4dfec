//go:build linux

package interop

import (
	"fmt"
	"strings"
)

// nearWrap is where sequence numbers begin with ESN, so that a case crosses 2^32 (RFC 4303 appendix A). It lies
// below the other end's first window, or a number from there would count as one of the past: 2^32 - esnWindow.
const nearWrap = 0xffffffb0

// The anti-replay windows, packets, of both ends.
const (
	window    = 128
	esnWindow = 64
)

func (c Case) window() int {
	if c.ESN {
		return esnWindow
	}
	return window
}

// xfrm are the lines of `ip -batch` that make the case's SAs and policies in the kernel at one end. With wrap the SA
// from there begins shortly before 2^32.
func (k Keyed) xfrm(here End, wrap bool) string {
	var b strings.Builder
	for _, to := range []End{Ours, Theirs} {
		k.state(&b, to, wrap && to != here && k.ESN)
	}
	there := here.other()
	for _, direction := range []string{"out", "in"} {
		from, to := here, there
		if direction == "in" {
			from, to = there, here
		}
		fmt.Fprintf(&b, "xfrm policy add src %v dst %v dir %s priority %d tmpl",
			k.Address(from), k.Address(to), direction, priorityCase)
		if k.Mode == Tunnel {
			fmt.Fprintf(&b, " src %v dst %v", k.OuterAddress(from), k.OuterAddress(to))
		}
		fmt.Fprintf(&b, " proto %v reqid %d mode %v\n", k.Protocol, k.Number, k.Mode)
	}
	return b.String()
}

// The priorities of the kernel's policies: the lowest number is asked first.
const (
	priorityNeighbours = 10
	priorityCase       = 20
)

// neighbours are the lines that let neighbour discovery (RFC 4861) bypass. In transport mode the neighbours' addresses
// are the selectors', and the kernel would seal its advertisements: nobody can find the neighbour to whom to seal.
func neighbours() string {
	const first, last = 133, 137 // ICMPv6 types, router solicitation to redirect
	var b strings.Builder
	for kind := first; kind <= last; kind++ {
		for _, direction := range []string{"out", "in"} {
			fmt.Fprintf(&b, "xfrm policy add src ::/0 dst ::/0 proto ipv6-icmp type %d code 0 dir %s priority %d action allow\n",
				kind, direction, priorityNeighbours)
		}
	}
	return b.String()
}

// state is the line of the SA to an end.
func (k Keyed) state(b *strings.Builder, to End, wrap bool) {
	from := to.other()
	fmt.Fprintf(b, "xfrm state add src %v dst %v proto %v spi %#x reqid %d mode %v replay-window %d",
		k.OuterAddress(from), k.OuterAddress(to), k.Protocol, k.SPI[to], k.Number, k.Mode, k.window())
	if wrap {
		fmt.Fprintf(b, " replay-oseq %#x", uint32(nearWrap))
	}
	if flags := k.flags(); flags != "" {
		fmt.Fprintf(b, " flag %s", flags)
	}
	fmt.Fprintf(b, " %s", k.algorithms(k.Key[to]))
	if k.Encapsulation == UDP {
		any := "0.0.0.0"
		if k.Outer == IPv6 {
			any = "::"
		}
		fmt.Fprintf(b, " encap espinudp %d %d %s", port4500, port4500, any)
	}
	b.WriteByte('\n')
}

// flags are the words behind "flag".
func (k Keyed) flags() string {
	var flags []string
	if k.ESN {
		flags = append(flags, "esn")
	}
	if k.Inner != k.Outer {
		flags = append(flags, "af-unspec") // or the kernel takes the outer version for the inner one
	}
	if k.alignable() && !k.Align8 {
		flags = append(flags, "align4")
	}
	return strings.Join(flags, " ")
}
