//go:build linux

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Nodes that every lab has.
const (
	nodeNet = "net"
	nodeCtl = "ctl"
)

// controllerPort is where a lab's controller listens.
const controllerPort = "7443"

// controllerAddress is where the hosts reach the controller, and so which family ESP uses.
func (c Config) controllerAddress() string {
	a := underlay(stationCtl)
	if c.IPv6 {
		return net.JoinHostPort(a.v6.Addr().String(), controllerPort)
	}
	return net.JoinHostPort(a.v4.Addr().String(), controllerPort)
}

// maxHosts is what the underlay's addressing holds.
const maxHosts = 200

// HostName is the name of the i-th host, from 1.
func HostName(i int) string { return fmt.Sprintf("host-%d", i) }

// natName is the name of the NAT in front of the i-th host.
func natName(i int) string { return fmt.Sprintf("nat-%d", i) }

// siteName is the name of the network behind the i-th host.
func siteName(i int) string { return fmt.Sprintf("site-%d", i) }

// addresses are one node's addresses on one link.
type addresses struct {
	v4, v6 netip.Prefix
}

func (a addresses) list() []netip.Prefix { return []netip.Prefix{a.v4, a.v6} }

// underlay is the address of the n-th station on the switch.
func underlay(n int) addresses {
	return addresses{
		v4: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, 0, byte(n)}), 24),
		v6: netip.PrefixFrom(v6Addr(0xfd99, n), 64),
	}
}

// behindNAT is the address of station n (1: the NAT, 2: the host) on the link behind NAT i.
func behindNAT(i, n int) addresses {
	return addresses{
		v4: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(i), byte(n)}), 24),
		v6: netip.PrefixFrom(v6Addr(0xfd93, n, i), 64),
	}
}

// site is the address of station n (1: the host, 2: the site's machine) on the network behind host i.
func site(i, n int) addresses {
	return addresses{
		v4: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 50, byte(i), byte(n)}), 24),
		v6: netip.PrefixFrom(v6Addr(0xfd50, n, i), 64),
	}
}

// v6Addr is head:0:0:net::n.
func v6Addr(head uint16, n int, net ...int) netip.Addr {
	var b [16]byte
	b[0], b[1] = byte(head>>8), byte(head)
	if len(net) > 0 {
		b[7] = byte(net[0])
	}
	b[15] = byte(n)
	return netip.AddrFrom16(b)
}

// stations on the switch.
func stationHost(i int) int { return 10 + i }

const (
	stationCtl    = 1
	stationRouter = 254
)

// HostAddress is the address of host i that the underlay sees, IPv4 then IPv6: its own or its NAT's.
func HostAddress(i int) []netip.Addr {
	a := underlay(stationHost(i))
	return []netip.Addr{a.v4.Addr(), a.v6.Addr()}
}

// SiteMachine is the address of the machine on the network behind host i, IPv4 then IPv6.
func SiteMachine(i int) []netip.Addr {
	a := site(i, 2)
	return []netip.Addr{a.v4.Addr(), a.v6.Addr()}
}

// SiteSubnets are the prefixes of the network behind host i.
func SiteSubnets(i int) []string {
	a := site(i, 1)
	return []string{a.v4.Masked().String(), a.v6.Masked().String()}
}

// nodes lists every namespace of a lab.
func (c Config) nodes() []string {
	nodes := []string{nodeNet, nodeCtl}
	for i := 1; i <= c.Hosts; i++ {
		nodes = append(nodes, HostName(i))
		if slices.Contains(c.NAT, i) {
			nodes = append(nodes, natName(i))
		}
		if slices.Contains(c.Sites, i) {
			nodes = append(nodes, siteName(i))
		}
	}
	return nodes
}
