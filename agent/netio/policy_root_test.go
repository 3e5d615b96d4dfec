//go:build linux

package netio_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/netio/nstest"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// between is a gateway's policy for two subnets in each family.
func between(t *testing.T) []netio.Policy {
	return []netio.Policy{policy(t, spd.Protect, "10.1.0.0/16", "10.2.0.0/16"), policy(t, spd.Protect, "fd01::/64", "fd02::/64")}
}

func TestForwardedPolicies(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{Policies: between(t)})
	l.expect(t, []fateCase{
		{"protected, leaving", probe{from: "inside", src: "10.1.0.2:1", dst: "10.2.0.5:9"}, "tun"},
		{"protected, leaving v6", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd02::5]:9"}, "tun"},
		{"protected, ours", probe{from: "gateway", src: "10.1.0.1:1", dst: "10.2.0.5:9"}, "tun"},
		{"protected, ours v6", probe{from: "gateway", src: "[fd01::1]:1", dst: "[fd02::5]:9"}, "tun"},
		{"out of the TUN", probe{from: "tun", src: "10.2.0.5:9", dst: "10.1.0.2:1"}, "inside"},
		{"out of the TUN v6", probe{from: "tun", src: "[fd02::5]:9", dst: "[fd01::2]:1"}, "inside"},
		{"out of the TUN, to us", probe{from: "tun", src: "10.2.0.5:9", dst: "10.1.0.1:1"}, "gateway"},
		{"out of the TUN, to us v6", probe{from: "tun", src: "[fd02::5]:9", dst: "[fd01::1]:1"}, "gateway"},
		{"in clear", probe{from: "outside", src: "10.2.0.5:9", dst: "10.1.0.2:1"}, "clear_in"},
		{"in clear v6", probe{from: "outside", src: "[fd02::5]:9", dst: "[fd01::2]:1"}, "clear_in"},
		{"in clear, to us", probe{from: "outside", src: "10.2.0.5:9", dst: "10.1.0.1:1"}, "clear_in"},
		{"in clear, to us v6", probe{from: "outside", src: "[fd02::5]:9", dst: "[fd01::1]:1"}, "clear_in"},
		{"others, leaving", probe{from: "inside", src: "10.1.0.2:1", dst: "172.16.0.2:9"}, "outside"},
		{"others, leaving v6", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd16::2]:9"}, "outside"},
		{"others, arriving", probe{from: "outside", src: "172.16.0.2:9", dst: "10.1.0.2:1"}, "inside"},
		{"a source that is not behind eth0", probe{from: "outside", src: "10.1.0.77:9", dst: "10.1.0.2:1"}, "lost"},
	})
}

// TestDiscardRest: RFC 4301's default, for what is forwarded and what is ours.
func TestDiscardRest(t *testing.T) {
	d := netio.Desired{DiscardRest: true, Addresses: addrs("10.99.0.1"), Pools: prefixes("10.99.0.0/16"),
		Remote: prefixes("10.99.0.2/32", "10.5.0.0/16"), Subnets: prefixes("10.1.0.0/16"),
		Policies: append(between(t), policy(t, spd.Bypass, "10.1.0.0/16", "172.16.0.0/24 udp/53"), policy(t, spd.Bypass, "172.16.0.1", "172.16.0.2 icmp"))}
	l := newPolicyLab(t, d)
	l.expect(t, []fateCase{
		{"protected, leaving", probe{from: "inside", src: "10.1.0.2:1", dst: "10.2.0.5:9"}, "tun"},
		{"protected, leaving v6", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd02::5]:9"}, "tun"},
		{"protected, out of the TUN", probe{from: "tun", src: "10.2.0.5:9", dst: "10.1.0.2:1"}, "inside"},
		{"overlay, leaving", probe{from: "inside", src: "10.1.0.2:1", dst: "10.5.0.5:9"}, "tun"},
		{"overlay, ours", probe{from: "gateway", src: "10.99.0.1:1", dst: "10.99.0.2:9"}, "tun"},
		{"overlay, out of the TUN", probe{from: "tun", src: "10.5.0.5:9", dst: "10.1.0.2:1"}, "inside"},
		{"bypass, leaving", probe{from: "inside", src: "10.1.0.2:1", dst: "172.16.0.2:53"}, "outside"},
		{"bypass, arriving", probe{from: "outside", src: "172.16.0.2:53", dst: "10.1.0.2:1"}, "inside"},
		{"bypass, ours", probe{from: "gateway", src: "172.16.0.1", dst: "172.16.0.2", proto: 1}, "outside"},
		{"bypass, to us", probe{from: "outside", src: "172.16.0.2", dst: "172.16.0.1", proto: 1}, "gateway"},
		{"the rest, leaving", probe{from: "inside", src: "10.1.0.2:1", dst: "172.16.0.2:54"}, "discarded"},
		{"the rest, arriving", probe{from: "outside", src: "172.16.0.2:54", dst: "10.1.0.2:1"}, "discarded"},
		{"the rest, ours", probe{from: "gateway", src: "172.16.0.1:1", dst: "172.16.0.2:9"}, "discarded"},
		{"the rest, to us v6", probe{from: "outside", src: "[fd16::2]:1", dst: "[fd16::1]:9"}, "discarded"},
		{"our outer packets", probe{from: "gateway marked", src: "172.16.0.1:4500", dst: "172.16.0.2:4500"}, "outside"},
		{"their outer packets", probe{from: "outside", src: "172.16.0.2:4500", dst: "172.16.0.1:4500"}, "gateway"},
	})
}

// TestOverlappingSides: a policy that covers the same addresses on both sides does not tell what is inside. A gateway
// cannot forward under it: what might have arrived in clear is dropped. Its own traffic goes on.
func TestOverlappingSides(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{Policies: []netio.Policy{
		policy(t, spd.Bypass, "172.16.0.0/24", "172.16.0.0/24"), policy(t, spd.Protect, "10.0.0.0/8", "10.0.0.0/8"), policy(t, spd.Protect, "any6", "any6")}})
	l.expect(t, []fateCase{
		{"forwarded", probe{from: "inside", src: "10.1.0.2:1", dst: "10.2.0.5:9"}, "clear_in"},
		{"forwarded v6", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd02::5]:9"}, "clear_in"},
		{"in clear, to us", probe{from: "outside", src: "10.2.0.5:9", dst: "10.1.0.1:1"}, "clear_in"},
		{"ours", probe{from: "gateway", src: "10.1.0.1:1", dst: "10.2.0.5:9"}, "tun"},
		{"ours v6", probe{from: "gateway", src: "[fd16::1]:1", dst: "[fd02::5]:9"}, "tun"},
		{"ours with our mark", probe{from: "gateway marked", src: "10.1.0.1:1", dst: "10.2.0.5:9"}, "tun"},
		{"ours, round the TUN", probe{from: "gateway by eth0", src: "10.1.0.1:1", dst: "10.2.0.5:9"}, "clear_out"},
		{"ours, round the TUN v6", probe{from: "gateway by eth0", src: "[fd16::1]:1", dst: "[fd02::5]:9"}, "clear_out"},
		{"out of the TUN, to us", probe{from: "tun", src: "10.2.0.5:9", dst: "10.1.0.1:1"}, "gateway"},
		{"out of the TUN, to us v6", probe{from: "tun", src: "[fd02::5]:9", dst: "[fd16::1]:1"}, "gateway"},
	})
}

// TestDiscardRestUnderMasquerade: what a policy lets pass does so under the gateway's own address too.
func TestDiscardRestUnderMasquerade(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{DiscardRest: true, Policies: []netio.Policy{policy(t, spd.Bypass, "10.1.0.0/16", "172.16.0.0/24 udp/53"),
		policy(t, spd.Protect, "172.16.0.1", "172.16.0.2 udp/99")}})
	l.gateway.Run("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority srcnat; }; "+
		"add rule ip nat post ip saddr 10.1.0.0/16 oifname eth0 masquerade")
	l.expect(t, []fateCase{
		{"bypass", probe{from: "inside", src: "10.1.0.2:1", dst: "172.16.0.2:53"}, "outside"},
		{"the rest", probe{from: "inside", src: "10.1.0.2:1", dst: "172.16.0.2:54"}, "discarded"},
		{"the rest, ours", probe{from: "gateway", src: "172.16.0.1:1", dst: "172.16.0.2:53"}, "discarded"},
	})
}

// TestPoliciesBehindDestinationNAT: a packet is classified as it is routed, and as the guard sees it.
func TestPoliciesBehindDestinationNAT(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{Policies: between(t)})
	l.gateway.Run("nft", "add table ip nat; add chain ip nat pre { type nat hook prerouting priority dstnat; }; "+
		"add rule ip nat pre iifname eth1 ip daddr 10.1.0.1 udp dport 80 dnat to 10.2.0.5; "+
		"add rule ip nat pre iifname eth1 ip daddr 10.2.0.7 udp dport 81 dnat to 172.16.0.2")
	l.expect(t, []fateCase{
		{"to what is protected", probe{from: "inside", src: "10.1.0.2:1", dst: "10.1.0.1:80"}, "tun"},
		{"from what is protected", probe{from: "inside", src: "10.1.0.2:1", dst: "10.2.0.7:81"}, "outside"},
	})
}

// TestPolicyOrder: the first match wins, by ports, protocols, ICMP types and ranges, both ways.
func TestPolicyOrder(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{Policies: []netio.Policy{
		policy(t, spd.Bypass, "10.1.0.0/16 tcp/22", "10.2.0.0/16"),
		policy(t, spd.Discard, "10.1.0.0/16", "10.2.0.0-10.2.0.9 udp/1000-2000"),
		policy(t, spd.Protect, "10.1.0.0/16", "10.2.0.0/16 tcp"),
		policy(t, spd.Protect, "10.1.0.0/16", "10.2.0.0/16 udp/900-3000"),
		policy(t, spd.Protect, "10.1.0.0/16", "10.2.0.0/16 icmp/8"),
		policy(t, spd.Protect, "10.1.0.0/16", "10.2.0.0/16 icmp/3/1"),
		policy(t, spd.Protect, "10.1.0.0/16", "10.2.0.0/16 47"),
	}})
	from := func(where, src, dst string) probe { return probe{from: where, src: src, dst: dst} }
	tcp, icmp := func(p probe) probe { p.proto = ipwire.ProtoTCP; return p }, func(p probe, v uint16) probe { p.proto, p.icmp = ipwire.ProtoICMP, v; return p }
	later := func(p probe) probe { p.fragment = true; return p }
	gre := func(p probe, proto uint8) probe { p.proto = proto; return p }
	l.expect(t, []fateCase{
		{"bypass before protect", tcp(from("inside", "10.1.0.2:22", "10.2.0.5:9")), "outside"},
		{"bypass before protect, in", tcp(from("outside", "10.2.0.5:9", "10.1.0.2:22")), "inside"},
		{"the other port", tcp(from("inside", "10.1.0.2:9", "10.2.0.5:22")), "tun"},
		{"the other port, in", tcp(from("outside", "10.2.0.5:22", "10.1.0.2:9")), "clear_in"},
		{"discard before protect", from("inside", "10.1.0.2:9", "10.2.0.9:1000"), "discarded"},
		{"discard before protect, ours", from("gateway", "10.1.0.1:9", "10.2.0.9:2000"), "discarded"},
		{"discard before protect, in", from("outside", "10.2.0.0:1500", "10.1.0.1:9"), "discarded"},
		{"beyond the range of addresses", from("inside", "10.1.0.2:9", "10.2.0.10:1000"), "tun"},
		{"beyond the range of ports", from("inside", "10.1.0.2:9", "10.2.0.9:2001"), "tun"},
		{"below the range of ports", from("inside", "10.1.0.2:9", "10.2.0.9:999"), "tun"},
		{"no policy for the port", from("inside", "10.1.0.2:9", "10.2.0.9:899"), "outside"},
		{"no policy for the port, in", from("outside", "10.2.0.9:899", "10.1.0.2:9"), "inside"},
		{"ICMP type", icmp(from("inside", "10.1.0.2", "10.2.0.9"), 0x0800), "tun"},
		{"ICMP type, in", icmp(from("outside", "10.2.0.9", "10.1.0.1"), 0x0805), "clear_in"},
		{"another ICMP type", icmp(from("inside", "10.1.0.2", "10.2.0.9"), 0x0000), "outside"},
		{"ICMP code", icmp(from("inside", "10.1.0.2", "10.2.0.9"), 0x0301), "tun"},
		{"another ICMP code", icmp(from("inside", "10.1.0.2", "10.2.0.9"), 0x0303), "outside"},
		{"protocol", gre(from("inside", "10.1.0.2", "10.2.0.9"), 47), "tun"},
		{"another protocol", gre(from("inside", "10.1.0.2", "10.2.0.9"), 46), "outside"},
		{"later fragment, TCP", tcp(later(from("inside", "10.1.0.2", "10.2.0.50"))), "tun"},
		{"later fragment, UDP to what may be discarded", later(from("inside", "10.1.0.2", "10.2.0.5")), "discarded"},
		{"later fragment, UDP", later(from("inside", "10.1.0.2", "10.2.0.50")), "tun"},
		{"later fragment, UDP, in", later(from("outside", "10.2.0.50", "10.1.0.2")), "clear_in"},
		{"later fragment, no policy", gre(later(from("inside", "10.1.0.2", "10.2.0.50")), 46), "outside"},
	})
}

func TestPolicyFragments6(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{Policies: []netio.Policy{policy(t, spd.Protect, "fd01::/64", "fd02::/64 udp/900-3000")}})
	l.expect(t, []fateCase{
		{"first, protected", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd02::5]:1000"}, "tun"},
		{"first, not protected", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd02::5]:9"}, "outside"},
		{"later", probe{from: "inside", src: "fd01::2", dst: "fd02::5", fragment: true}, "tun"},
		{"later, in", probe{from: "outside", src: "fd02::5", dst: "fd01::2", fragment: true}, "clear_in"},
		{"later, of another protocol", probe{from: "inside", src: "fd01::2", dst: "fd02::5", fragment: true, proto: ipwire.ProtoTCP}, "outside"},
		{"later, to others", probe{from: "inside", src: "fd01::2", dst: "fd16::2", fragment: true}, "outside"},
	})
}

// quote is the start of an outer packet that the gateway has sent.
func quote(t *testing.T, proto uint8, src, dst string) []byte {
	p := probe{src: src, dst: dst, proto: proto}
	return p.packet(t, make([]byte, 8))
}

// TestTransportBetweenRealAddresses: all between two hosts is protected, and still their outer packets pass, and what
// routers say about these.
func TestTransportBetweenRealAddresses(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{Policies: []netio.Policy{
		policy(t, spd.Protect, "172.16.0.1", "172.16.0.2"), policy(t, spd.Protect, "fd16::1", "fd16::2")}})
	const us4, them4, us6, them6 = "172.16.0.1", "172.16.0.2", "fd16::1", "fd16::2"
	port := func(a string, p int) string { return netip.AddrPortFrom(netip.MustParseAddr(a), uint16(p)).String() }
	for _, c := range []struct {
		name, us, them string
		icmp           uint8
		errors         []uint16
	}{
		{"IPv4", us4, them4, ipwire.ProtoICMP, []uint16{0x0304, 0x0301, 0x0b00, 0x0c00}},
		{"IPv6", us6, them6, ipwire.ProtoICMPv6, []uint16{0x0200, 0x0101, 0x0300, 0x0401}},
	} {
		about := func(kind uint16, quoted []byte) probe {
			return probe{from: "outside", src: c.them, dst: c.us, proto: c.icmp, icmp: kind, quoted: quoted}
		}
		cases := []fateCase{
			{"out", probe{from: "gateway", src: port(c.us, 1), dst: port(c.them, 9)}, "tun"},
			{"out, with our mark", probe{from: "gateway marked", src: port(c.us, 1), dst: port(c.them, 4500)}, "tun"},
			{"out, from our port without our mark", probe{from: "gateway", src: port(c.us, 4500), dst: port(c.them, 4500)}, "tun"},
			{"out, round the TUN", probe{from: "gateway by eth0", src: port(c.us, 1), dst: port(c.them, 9)}, "clear_out"},
			{"outer, UDP", probe{from: "gateway marked", src: port(c.us, 4500), dst: port(c.them, 4500)}, "outside"},
			{"outer, IKE", probe{from: "gateway marked", src: port(c.us, 500), dst: port(c.them, 500)}, "outside"},
			{"outer, ESP", probe{from: "gateway marked", src: c.us, dst: c.them, proto: 50}, "outside"},
			{"outer, AH", probe{from: "gateway marked", src: c.us, dst: c.them, proto: 51}, "outside"},
			{"in, clear", probe{from: "outside", src: port(c.them, 9), dst: port(c.us, 1)}, "clear_in"},
			{"in, outer UDP", probe{from: "outside", src: port(c.them, 4500), dst: port(c.us, 4500)}, "gateway"},
			{"in, IKE", probe{from: "outside", src: port(c.them, 500), dst: port(c.us, 500)}, "gateway"},
			{"in, outer ESP", probe{from: "outside", src: c.them, dst: c.us, proto: 50}, "gateway"},
			{"out of the TUN", probe{from: "tun", src: port(c.them, 9), dst: port(c.us, 1)}, "gateway"},
			{"echo request in clear", about(uint16(map[uint8]int{1: 0x0800, 58: 0x8000}[c.icmp]), nil), "clear_in"},
		}
		for _, kind := range c.errors {
			for _, q := range []struct {
				name, src, dst string
				proto          uint8
				want           string
			}{
				{"UDP 4500", port(c.us, 4500), port(c.them, 4500), 17, "gateway"},
				{"UDP 500", port(c.us, 500), port(c.them, 500), 17, "gateway"},
				{"ESP", c.us, c.them, 50, "gateway"},
				{"AH", c.us, c.them, 51, "gateway"},
				{"UDP of somebody else", port(c.us, 9), port(c.them, 4500), 17, "clear_in"},
				{"TCP", port(c.us, 4500), port(c.them, 4500), 6, "clear_in"},
			} {
				cases = append(cases, fateCase{fmt.Sprintf("ICMP %#04x about %s", kind, q.name), about(kind, quote(t, q.proto, q.src, q.dst)), q.want})
			}
		}
		for i := range cases {
			cases[i].name = c.name + " " + cases[i].name
		}
		l.expect(t, cases)
	}
}

// TestUplinkUnderPolicies: policies cover the controller too, or leave it out; its connection lives, and path MTU
// discovery for it. It is told to be in clear, by TLS of its own.
func TestUplinkUnderPolicies(t *testing.T) {
	for name, d := range map[string]netio.Desired{
		"protected": {Policies: []netio.Policy{policy(t, spd.Protect, "172.16.0.1", "172.16.0.2"), policy(t, spd.Protect, "fd16::1", "fd16::2")}},
		"discarded": {DiscardRest: true},
	} {
		t.Run(name, func(t *testing.T) {
			d.Uplink = []netip.AddrPort{netip.MustParseAddrPort("172.16.0.2:7443"), netip.MustParseAddrPort("[fd16::2]:7443")}
			l := newPolicyLab(t, d)
			drop := map[string]string{"protected": "clear_in", "discarded": "discarded"}[name]
			for _, uplink := range d.Uplink {
				ln := listen(t, l.outside, uplink)
				local := &net.TCPAddr{IP: map[bool]net.IP{true: net.IPv4(172, 16, 0, 1), false: net.ParseIP("fd16::1")}[uplink.Addr().Is4()]}
				var err error
				l.gateway.Do(func() {
					dialer := net.Dialer{Timeout: 5 * time.Second, Control: netio.MarkControl(netio.DefaultMark), LocalAddr: local}
					var c net.Conn
					if c, err = dialer.Dial("tcp", uplink.String()); err == nil {
						c.Close()
					}
				})
				ln.Close()
				if err != nil {
					t.Errorf("%v is cut off: %v; %v", uplink, err, l.counters())
				}
			}
			tooBig4 := probe{from: "outside", src: "172.16.0.99", dst: "172.16.0.1", proto: ipwire.ProtoICMP, icmp: 0x0304}
			tooBig6 := probe{from: "outside", src: "fd16::99", dst: "fd16::1", proto: ipwire.ProtoICMPv6, icmp: 0x0200}
			if name == "protected" { // what a router says is not covered
				tooBig4.src, tooBig6.src = "172.16.0.2", "fd16::2"
			}
			about := func(p probe, src, dst string) probe { p.quoted = quote(t, ipwire.ProtoTCP, src, dst); return p }
			l.expect(t, []fateCase{
				{"too big, the uplink", about(tooBig4, "172.16.0.1:40000", "172.16.0.2:7443"), "gateway"},
				{"too big, the uplink v6", about(tooBig6, "[fd16::1]:40000", "[fd16::2]:7443"), "gateway"},
				{"too big, another port", about(tooBig4, "172.16.0.1:40000", "172.16.0.2:7444"), drop},
				{"too big, another port v6", about(tooBig6, "[fd16::1]:40000", "[fd16::2]:7444"), drop},
				{"too big, another host", about(tooBig4, "172.16.0.1:40000", "172.16.0.3:7443"), drop},
				{"too big, another host v6", about(tooBig6, "[fd16::1]:40000", "[fd16::3]:7443"), drop},
			})
		})
	}
}

func listen(t *testing.T, ns *nstest.Namespace, at netip.AddrPort) net.Listener {
	t.Helper()
	var ln net.Listener
	var err error
	ns.Do(func() { ln, err = net.Listen("tcp", at.String()) })
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// TestPoliciesBesideTheOverlay: both lead to the TUN, and back, and with them what passes in clear.
func TestPoliciesBesideTheOverlay(t *testing.T) {
	d := netio.Desired{Addresses: addrs("10.99.0.1", "fd99::1"), Pools: prefixes("10.99.0.0/16", "fd99::/64"),
		Remote: prefixes("10.99.0.2/32", "fd99::2/128", "10.5.0.0/16"), Subnets: prefixes("10.1.0.0/16", "fd01::/64"), Policies: between(t)}
	l := newPolicyLab(t, d)
	// As firewalld checks the way back of IPv6, for which the kernel does not.
	l.gateway.Run("nft", "add table inet firewall; add chain inet firewall pre { type filter hook prerouting priority filter + 10; }; "+
		"add rule inet firewall pre meta nfproto ipv6 icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept; "+
		"add rule inet firewall pre meta nfproto ipv6 fib saddr . mark . iif oif missing drop")
	both := []fateCase{
		{"overlay", probe{from: "gateway", src: "10.99.0.1:1", dst: "10.99.0.2:9"}, "tun"},
		{"overlay v6", probe{from: "gateway", src: "[fd99::1]:1", dst: "[fd99::2]:9"}, "tun"},
		{"overlay, in", probe{from: "tun", src: "10.99.0.2:9", dst: "10.99.0.1:1"}, "gateway"},
		{"overlay, in v6", probe{from: "tun", src: "[fd99::2]:9", dst: "[fd99::1]:1"}, "gateway"},
		{"overlay, forwarded", probe{from: "inside", src: "10.1.0.2:1", dst: "10.5.0.5:9"}, "tun"},
		{"overlay, forwarded in", probe{from: "tun", src: "10.5.0.5:9", dst: "10.1.0.2:1"}, "inside"},
		{"overlay, from hub to spoke", probe{from: "tun", src: "10.5.0.5:9", dst: "10.99.0.2:1"}, "tun"},
		{"overlay, spoofed", probe{from: "outside", src: "10.99.0.2:1", dst: "10.1.0.2:9"}, "lost"}, // by rp_filter
		{"others", probe{from: "inside", src: "10.1.0.2:1", dst: "172.16.0.2:9"}, "outside"},
		{"others, ours", probe{from: "gateway", src: "172.16.0.1:1", dst: "172.16.0.2:9"}, "outside"},
		{"others v6", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd16::2]:9"}, "outside"},
	}
	l.expect(t, append(both, []fateCase{
		{"policy", probe{from: "inside", src: "10.1.0.2:1", dst: "10.2.0.5:9"}, "tun"},
		{"policy v6", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd02::5]:9"}, "tun"},
		{"policy, in", probe{from: "tun", src: "10.2.0.5:9", dst: "10.1.0.2:1"}, "inside"},
		{"policy, in v6", probe{from: "tun", src: "[fd02::5]:9", dst: "[fd01::2]:1"}, "inside"},
		{"policy, from the TUN to the TUN's side", probe{from: "tun", src: "10.1.0.2:9", dst: "10.2.0.5:1"}, "clear_out"},
	}...))
	d.Policies = nil
	l.apply(d)
	l.expect(t, append(both, fateCase{"no policy", probe{from: "inside", src: "10.1.0.2:1", dst: "10.2.0.5:9"}, "outside"}))
	if got := allState(l.gateway); strings.Contains(got, "5351") || strings.Contains(got, "5348:") || strings.Contains(got, "0x5a12") {
		t.Errorf("left of the policies:\n%s", got)
	}
}

// TestBypassOpensNoWayPastTheOverlay: not even if it covers everything, and a packet does not ask the routes.
func TestBypassOpensNoWayPastTheOverlay(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{Addresses: addrs("10.99.0.1", "fd99::1"), Pools: prefixes("10.99.0.0/16", "fd99::/64"),
		Remote: prefixes("10.99.0.2/32", "10.5.0.0/16", "fd05::/64"), Subnets: prefixes("10.1.0.0/16", "fd01::/64"),
		Policies: []netio.Policy{policy(t, spd.Bypass, "any", "any")}})
	l.expect(t, []fateCase{
		{"overlay", probe{from: "gateway", src: "10.99.0.1:1", dst: "10.99.0.2:9"}, "tun"},
		{"overlay, forwarded", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd05::5]:9"}, "tun"},
		{"past the TUN", probe{from: "gateway by eth0", src: "10.99.0.1:1", dst: "10.99.0.2:9"}, "clear_out"},
		{"past the TUN, to a subnet", probe{from: "gateway by eth0", src: "[fd99::1]:1", dst: "[fd05::5]:9"}, "clear_out"},
		{"past the TUN, in the pool", probe{from: "gateway by eth0", src: "[fd99::1]:1", dst: "[fd99::9]:9"}, "clear_out"},
		{"in clear", probe{from: "outside", src: "[fd05::5]:1", dst: "[fd01::2]:9"}, "clear_in"},
		{"bypassed", probe{from: "gateway by eth0", src: "172.16.0.1:1", dst: "172.16.0.2:9"}, "outside"},
		{"bypassed, in", probe{from: "outside", src: "[fd16::2]:1", dst: "[fd01::2]:9"}, "inside"},
	})
}

// allState is all that a Cleanup must leave as it was.
func allState(ns *nstest.Namespace) string {
	var parts []string
	for _, f := range []string{"-4", "-6"} {
		parts = append(parts, ns.Run("ip", f, "rule", "show"), ns.Run("ip", f, "route", "show", "table", "all"))
	}
	return strings.Join(append(parts, ns.Run("nft", "-s", "list", "ruleset"), ns.Run("ip", "-br", "link"),
		ns.Run("cat", "/proc/sys/net/ipv4/conf/all/src_valid_mark")), "\n")
}

func TestPoliciesAreCleanedUp(t *testing.T) {
	ns := nstest.New(t)
	ns.Run("nft", "add table inet firewall")
	ns.Run("ip", "rule", "add", "pref", "5349", "fwmark", "7", "lookup", "77") // somebody else's
	before := allState(ns)
	d := desired
	d.Policies, d.DiscardRest = between(t), true
	_, config := appliedIn(t, ns, d)
	installed := allState(ns)
	for _, want := range []string{"5348:\tfrom all iif sally0 goto 5350", "5349:\tfrom all fwmark 0x5a12 lookup 5351", "default dev sally0 table 5351", "chain classify "} {
		if !strings.Contains(installed, want) {
			t.Errorf("not installed: %q in\n%s", want, installed)
		}
	}
	ns.Run("ip", "route", "add", "table", "5351", "blackhole", "10.2.0.0/16") // the TUN does not take it along
	var err error
	ns.Do(func() { err = netio.Cleanup(context.Background(), config) })
	if err != nil {
		t.Fatal(err)
	}
	if after := allState(ns); after != before {
		t.Errorf("Cleanup left\n%s\nwhere there was\n%s", after, before)
	}
}

// TestPoliciesHoldFromBootOn: the guard alone, without TUN, rules and routes.
func TestPoliciesHoldFromBootOn(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{DiscardRest: true, Policies: append(between(t), policy(t, spd.Bypass, "172.16.0.1", "172.16.0.2 udp/53"))})
	l.tun.Close()
	for _, args := range [][]string{{"rule", "del", "pref", "5348"}, {"rule", "del", "pref", "5349"}, {"rule", "del", "pref", "5350"}} {
		l.gateway.Run("ip", append([]string{"-4"}, args...)...)
		l.gateway.Run("ip", append([]string{"-6"}, args...)...)
	}
	l.gateway.Run("nft", "delete table inet sallyport; delete table arp sallyport")
	var err error
	l.gateway.Do(func() { err = netio.RestoreGuard(t.Context(), l.config.StateDir) })
	if err != nil {
		t.Fatal(err)
	}
	l.expect(t, []fateCase{
		{"leaving", probe{from: "inside", src: "10.1.0.2:1", dst: "10.2.0.5:9"}, "clear_out"},
		{"leaving v6", probe{from: "inside", src: "[fd01::2]:1", dst: "[fd02::5]:9"}, "clear_out"},
		{"ours", probe{from: "gateway", src: "10.1.0.1:1", dst: "10.2.0.5:9"}, "clear_out"},
		{"ours v6", probe{from: "gateway", src: "[fd01::1]:1", dst: "[fd02::5]:9"}, "clear_out"},
		{"in clear", probe{from: "outside", src: "10.2.0.5:9", dst: "10.1.0.2:1"}, "clear_in"},
		{"in clear v6", probe{from: "outside", src: "[fd02::5]:9", dst: "[fd01::1]:1"}, "clear_in"},
		{"bypass", probe{from: "gateway", src: "172.16.0.1:1", dst: "172.16.0.2:53"}, "outside"},
		{"the rest", probe{from: "gateway", src: "172.16.0.1:1", dst: "172.16.0.2:9"}, "discarded"},
		{"the rest, in", probe{from: "outside", src: "172.16.0.2:9", dst: "172.16.0.1:1"}, "discarded"},
	})
}

// TestManyPolicies: as many as there may be load well within nft's time, and again at no cost.
func TestManyPolicies(t *testing.T) {
	d := netio.Desired{DiscardRest: true}
	for i := range 4096 {
		remote := fmt.Sprintf("10.%d.%d.0/24", 128+i/256, i%256)
		d.Policies = append(d.Policies, policy(t, spd.Protect, "10.1.0.0/16", remote+[...]string{"", " tcp/443", " udp/1000-2000", " icmp/8"}[i%4]))
	}
	begin := time.Now()
	l := newPolicyLab(t, d)
	loaded := time.Since(begin)
	begin = time.Now()
	l.apply(d)
	t.Logf("loaded in %v, again in %v", loaded, time.Since(begin))
	if loaded > 15*time.Second {
		t.Errorf("loaded in %v, and nft gets 30 s", loaded)
	}
	l.expect(t, []fateCase{
		{"the first", probe{from: "inside", src: "10.1.0.2:1", dst: "10.128.0.5:9"}, "tun"},
		{"the last", probe{from: "gateway", src: "10.1.0.1", dst: "10.143.255.5", proto: ipwire.ProtoICMP, icmp: 0x0800}, "tun"},
		{"the last but its type", probe{from: "gateway", src: "10.1.0.1", dst: "10.143.255.5", proto: ipwire.ProtoICMP}, "discarded"},
		{"in clear", probe{from: "outside", src: "10.143.252.5:1", dst: "10.1.0.1:9"}, "clear_in"},
	})
}

func TestRepairOfPolicies(t *testing.T) {
	d := desired
	d.Policies = between(t)
	ns, network, _ := applied(t, d)
	for _, c := range []struct{ command, want string }{
		{"nft flush chain inet sallyport classify", "guard"},
		{"ip rule del pref 5349", "rule 5350"},
		{"ip -6 rule del pref 5348", "rule 5350"},
		{"ip route flush table 5351", "route table 5351"},
		{"ip -6 route flush table 5351", "route table 5351"},
		{"ip route add table 5351 blackhole 10.2.0.0/16", "route table 5351"},
		{"ip link set sally0 down", "TUN sally0, route table 5350, route table 5351"},
	} {
		t.Run(c.command, func(t *testing.T) {
			repaired(t, ns, network)
			mends(t, ns, network, allState, c.command, c.want)
		})
	}
}

// TestSegmentsFitTheTUN: the MSS of connections that begin through the TUN, forwarded and our own, is the TUN's, not
// that of the device for which they were made; a smaller one stays.
func TestSegmentsFitTheTUN(t *testing.T) {
	l := newPolicyLab(t, netio.Desired{Policies: between(t)})
	fits := map[bool]uint16{true: netio.DefaultMTU - 40, false: netio.DefaultMTU - 60}
	for _, c := range []struct {
		name, src, dst string
		mss, want      uint16
	}{
		{"forwarded", "10.1.0.2:1", "10.2.0.5:9", 1460, fits[true]},
		{"forwarded v6", "[fd01::2]:1", "[fd02::5]:9", 1440, fits[false]},
		{"small already", "10.1.0.2:2", "10.2.0.5:9", 536, 536},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, dst := netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst)
			segment := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src.Port()), dst.Port())
			segment = append(segment, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0x02, 0xff, 0xff, 0, 0, 0, 0, 2, 4, byte(c.mss>>8), byte(c.mss))
			packet := whole(t, ipwire.ProtoTCP, src.Addr(), dst.Addr(), segment)
			if err := ipwire.RepairChecksum(packet); err != nil {
				t.Fatal(err)
			}
			if err := l.send("inside", packet); err != nil {
				t.Fatal(err)
			}
			if got := l.synMSS(t, dst); got != c.want {
				t.Errorf("MSS %d, want %d", got, c.want)
			}
		})
	}
	for name, c := range map[string]struct {
		dst  string
		want uint16
	}{"ours": {"10.2.0.5:99", fits[true]}, "ours v6": {"[fd02::5]:99", fits[false]}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				l.gateway.Do(func() {
					local := map[bool]string{true: "10.1.0.1:0", false: "[fd01::1]:0"}[netip.MustParseAddrPort(c.dst).Addr().Is4()]
					d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))}
					if conn, err := d.DialContext(ctx, "tcp", c.dst); err == nil {
						conn.Close()
					}
				})
			}()
			if got := l.synMSS(t, netip.MustParseAddrPort(c.dst)); got != c.want {
				t.Errorf("MSS %d, want %d", got, c.want)
			}
			cancel()
			<-done
		})
	}
}

// synMSS is the first option of the next SYN to dst that comes by the TUN.
func (l *policyLab) synMSS(t *testing.T, dst netip.AddrPort) uint16 {
	t.Helper()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case s := <-l.seen:
			f, err := ipwire.ParseFlow(s.packet)
			if s.where != "tun" || err != nil || f.Proto != ipwire.ProtoTCP || f.Dst != dst.Addr() || f.DstPort != dst.Port() {
				continue
			}
			at := ipwire.IPv4MinHeaderLen
			if f.Dst.Is6() {
				at = ipwire.IPv6HeaderLen
			}
			if options := s.packet[at+20:]; len(options) >= 4 && options[0] == 2 {
				return binary.BigEndian.Uint16(options[2:])
			}
			t.Fatalf("no MSS: %x", s.packet)
		case <-timeout:
			t.Fatal("no SYN")
		}
	}
}

// TestPoliciesAgreeWithTheSPD: random policies and packets, forwarded and our own; what nftables makes of them is what spd.Table
// says. Later fragments are left out: nftables knows less than the SPD there, and errs to the side of protection.
func TestPoliciesAgreeWithTheSPD(t *testing.T) {
	random := rand.New(rand.NewPCG(4301, 7))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	locals := []string{"10.1.0.0/16", "10.1.0.0/16", "10.1.0.2", "10.1.0.0-10.1.0.2", "fd01::/64", "fd01::/64", "fd01::2-fd01::3"}
	remotes := []string{"10.2.0.0/16", "10.2.0.0-10.2.0.5", "10.2.0.4-10.2.0.7", "fd02::/64", "fd02::/64", "fd02::5"}
	traffic := []string{"", "", "", "", "", "", "", "any/4-7", "any/opaque", "udp", "udp/5", "udp/0-5", "tcp", "tcp/4-6", "udp/opaque", "sctp/5", "icmp/8", "icmp/0/0-3/1", "icmpv6/128", "icmpv6/144", "47", "47/opaque"}
	side := func(addresses []string) (out []spd.Selector) {
		for range 1 + random.IntN(5) {
			s, err := spd.ParseSelectors(strings.TrimSpace(pick(addresses...) + " " + pick(traffic...)))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s...)
		}
		return out
	}
	l := newPolicyLab(t, netio.Desired{})
	fates, clear := map[string]int{}, map[string]string{"inside": "outside", "outside": "inside", "gateway": "outside"}
	for round := range 12 {
		var policies []netio.Policy
		var entries []spd.Entry
		for i := range 1 + random.IntN(12) {
			p := netio.Policy{Action: [...]spd.Action{spd.Protect, spd.Protect, spd.Bypass, spd.Discard}[random.IntN(4)], Local: side(locals), Remote: side(remotes)}
			policies = append(policies, p)
			e := spd.Entry{ID: [16]byte{byte(i + 1)}, Priority: uint32(i + 1), Action: p.Action, Local: p.Local, Remote: p.Remote}
			if p.Action == spd.Protect {
				e.Pair = e.ID
			}
			entries = append(entries, e)
		}
		table, err := spd.New(entries)
		if err != nil {
			t.Fatal(err)
		}
		rest := random.IntN(2) == 0
		l.apply(netio.Desired{Policies: policies, DiscardRest: rest})
		for range 25 {
			p := randomProbe(random, pick)
			flow, err := ipwire.ParseFlow(p.packet(t, nil))
			if err != nil {
				t.Fatal(err)
			}
			want := map[bool]string{true: "discarded", false: clear[p.from]}[rest]
			e, ok := table.Lookup(flow)
			protected := "tun"
			if p.from == "outside" {
				e, ok = table.LookupInbound(flow)
				protected = "clear_in"
			}
			if ok {
				want = map[spd.Action]string{spd.Discard: "discarded", spd.Bypass: clear[p.from], spd.Protect: protected}[e.Action]
			}
			got := l.fate(p)
			fates[got]++
			if got != want {
				t.Errorf("round %d, %s, protocol %d, ICMP %#x: %s, want %s by %+v (%v)\n%s", round, p, p.proto, p.icmp, got, want, e, ok, l.gateway.Run("nft", "list", "chain", "inet", "sallyport", "transit"))
			}
		}
	}
	t.Logf("%v", fates)
	for _, fate := range []string{"tun", "outside", "inside", "discarded", "clear_in"} {
		if fates[fate] < 5 {
			t.Errorf("%d packets ended as %s: nothing was tested", fates[fate], fate)
		}
	}
}

func randomProbe(random *rand.Rand, pick func(...string) string) probe {
	local, remote := pick("10.1.0.2", "10.1.0.2", "10.1.0.3"), pick("10.2.0.4", "10.2.0.5", "10.2.0.6", "10.2.9.9")
	icmp := uint8(ipwire.ProtoICMP)
	if random.IntN(2) == 0 {
		local, remote, icmp = pick("fd01::2", "fd01::2", "fd01::3"), pick("fd02::5", "fd02::6"), ipwire.ProtoICMPv6
	}
	p := probe{from: "inside", proto: []uint8{ipwire.ProtoUDP, ipwire.ProtoTCP, ipwire.ProtoSCTP, icmp, 47, 46}[random.IntN(6)]}
	port := func(a string) string {
		return netip.AddrPortFrom(netip.MustParseAddr(a), uint16(3+random.IntN(6))).String()
	}
	p.icmp = [...]uint16{0x0800, 0x8000, 0x0000, 0x0001, 0x9000, 0x8100}[random.IntN(6)]
	p.src, p.dst = port(local), port(remote)
	switch random.IntN(3) {
	case 0:
		p.from, p.src = "gateway", port(map[bool]string{true: "10.1.0.1", false: "fd01::1"}[icmp == ipwire.ProtoICMP])
	case 1:
		p.from, p.src, p.dst = "outside", p.dst, port(map[bool]string{true: "10.1.0.2", false: "fd01::2"}[icmp == ipwire.ProtoICMP])
	}
	return p
}
