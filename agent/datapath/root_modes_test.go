//go:build linux

package datapath_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/netio/nstest"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// modeCase is one protection between two hosts, by policies: marks take packets to the TUN.
//
//	inner 10.50.1.1, fd50:1::1 (lo)      left 172.16.0.1, fd16::1 ── veth ── right 172.16.0.2, fd16::2      inner 10.50.2.1, fd50:2::1 (lo)
type modeCase struct {
	protocol      datapath.Protocol
	mode          datapath.Mode
	encapsulation datapath.Encapsulation
	outer6        bool
	inner6        bool
}

func (c modeCase) String() string {
	return fmt.Sprintf("%v %v %v outer IPv%d inner IPv%d", c.protocol, c.mode, c.encapsulation, 4+2*b2i(c.outer6), 4+2*b2i(c.inner6))
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func modeCases() (all []modeCase) {
	for _, outer6 := range []bool{false, true} {
		for _, p := range []modeCase{{datapath.ESP, 0, datapath.UDP, false, false}, {datapath.ESP, 0, datapath.Native, false, false}, {datapath.AH, 0, datapath.Native, false, false}} {
			p.outer6 = outer6
			for _, inner6 := range []bool{false, true} {
				p.inner6, p.mode = inner6, datapath.Tunnel
				all = append(all, p)
			}
			p.inner6, p.mode = outer6, datapath.Transport
			all = append(all, p)
		}
	}
	return all
}

// ends are the addresses that talk, and the outer ones.
func (c modeCase) ends() (inner, outer [2]string) {
	outer = [2]string{"172.16.0.1", "172.16.0.2"}
	if c.outer6 {
		outer = [2]string{"fd16::1", "fd16::2"}
	}
	switch {
	case c.mode == datapath.Transport:
		return outer, outer
	case c.inner6:
		return [2]string{"fd50:1::1", "fd50:2::1"}, outer
	}
	return [2]string{"10.50.1.1", "10.50.2.1"}, outer
}

// guarded makes two hosts, joined by a cable, that do what c says, under strict reverse path checks.
func guarded(t *testing.T, c modeCase, change func(*datapath.SA)) (left, right *host) {
	t.Helper()
	leftNS, rightNS := nstest.New(t), nstest.New(t)
	nstest.Connect(t, leftNS, "eth0", prefixes("172.16.0.1/24", "fd16::1/64"), rightNS, "eth0", prefixes("172.16.0.2/24", "fd16::2/64"))
	return guardedIn(t, leftNS, rightNS, c, true, change)
}

func underlayOf(v6 bool, i int) string {
	if v6 {
		return fmt.Sprintf("fd16::%d", i+1)
	}
	return fmt.Sprintf("172.16.0.%d", i+1)
}

// guardedIn is guarded in namespaces that reach each other already, as neighbours on a link or otherwise.
func guardedIn(t *testing.T, leftNS, rightNS *nstest.Namespace, c modeCase, neighbours bool, change func(*datapath.SA)) (left, right *host) {
	t.Helper()
	inner, outer := c.ends()
	for i, ns := range []*nstest.Namespace{leftNS, rightNS} {
		ns.Run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1")
		if c.mode == datapath.Tunnel {
			bits := "/32"
			if c.inner6 {
				bits = "/128"
			}
			ns.Run("ip", append([]string{"addr", "add", inner[i] + bits, "dev", "lo"}, map[bool][]string{true: {"nodad"}}[c.inner6]...)...)
			to := []string{"dev", "eth0"}
			if neighbours { // without the agent such packets reach the other end in clear
				to = []string{"via", underlayOf(c.inner6, 1-i)}
			}
			ns.Run("ip", append([]string{"route", "add", inner[1-i] + bits, "src", inner[i]}, to...)...)
		}
	}
	hosts := [2]*host{}
	for i, ns := range []*nstest.Namespace{leftNS, rightNS} {
		l, r := one(inner[i]), one(inner[1-i])
		hosts[i] = startWith(t, ns, netio.Desired{Policies: []netio.Policy{{Action: spd.Protect, Local: l, Remote: r}}})
		pair := datapath.Pair{ID: datapath.PairID{1}, RemoteHost: "other", Order: 1, Local: l, Remote: r}
		pair.Path.Remote = netip.AddrPortFrom(netip.MustParseAddr(outer[1-i]), 4500)
		must(t, hosts[i].dp.SetPair(pair))
	}
	sa := func(direction byte) datapath.SA {
		sa := rootSA(1, direction)
		sa.Protocol, sa.Mode, sa.Encapsulation = c.protocol, c.mode, c.encapsulation
		if c.protocol == datapath.AH {
			sa.Transform, sa.Key = datapath.Transform{Integrity: 12}, bytes.Repeat([]byte{direction}, 32)
		}
		if change != nil {
			change(&sa)
		}
		return sa
	}
	left, right = hosts[0], hosts[1]
	must(t, left.dp.InstallInbound(sa(2)), right.dp.InstallInbound(sa(1)), left.dp.InstallOutbound(sa(1)), right.dp.InstallOutbound(sa(2)))
	return left, right
}

func one(addr string) []datapath.Selector {
	a := netip.MustParseAddr(addr)
	return []datapath.Selector{datapath.PrefixSelector(netip.PrefixFrom(a, a.BitLen()))}
}

// TestPoliciesTakePacketsToTheTUN: ping, large and fragmented, and a stream, in every mode, with the strictest reverse
// path check; and nothing of it is in clear.
func TestPoliciesTakePacketsToTheTUN(t *testing.T) {
	for _, c := range modeCases() {
		t.Run(c.String(), func(t *testing.T) {
			left, right := guarded(t, c, nil)
			inner, _ := c.ends()
			right.Run("nft", `add table inet watch; add chain inet watch in { type filter hook prerouting priority -400; };
				add rule inet watch in iifname eth0 meta l4proto tcp counter comment "clear";
				add rule inet watch in iifname eth0 icmp type { echo-request, echo-reply } counter comment "clear";
				add rule inet watch in iifname eth0 icmpv6 type { echo-request, echo-reply } counter comment "clear"`)
			for _, size := range []string{"56", "1300", "1472", "4000"} {
				for _, way := range []struct {
					from *host
					args []string
				}{{left, []string{inner[1]}}, {right, []string{inner[0]}}} {
					out, err := way.from.Output("ping", append([]string{"-c", "3", "-i", "0.02", "-w", "5", "-s", size, "-I", inner[b2i(way.from == right)]}, way.args...)...)
					// On a slow machine ping sends another one before an answer is read.
					if err != nil || !strings.Contains(out, " received") || strings.Contains(out, " 0 received") {
						t.Fatalf("ping of %s bytes: %s; left %v, right %v", size, out, dropped(left), dropped(right))
					}
				}
			}
			stream(t, left, right, inner[0], inner[1])
			stream(t, right, left, inner[1], inner[0])
			for line := range strings.Lines(right.Run("nft", "list", "chain", "inet", "watch", "in")) {
				if strings.Contains(line, `"clear"`) && !strings.Contains(line, "packets 0 ") {
					t.Errorf("in clear: %s", strings.TrimSpace(line))
				}
			}
			if d := dropped(left); len(d) > 0 {
				t.Errorf("drops at the left: %v", d)
			}
		})
	}
}

func dropped(h *host) map[string]uint64 {
	c, out := h.dp.Counters(), map[string]uint64{}
	for _, r := range datapath.Reasons() {
		if n := c.Drops(r); n > 0 && r != datapath.OutTooBig {
			out[r.String()] = n
		}
	}
	return out
}

// TestClearIsDroppedBothWays: without an SA nothing leaves, and what a third host sends in clear under the addresses
// of a policy does not come in; so too when the agent is gone.
func TestClearIsDroppedBothWays(t *testing.T) {
	for _, c := range []modeCase{{datapath.ESP, datapath.Transport, datapath.Native, false, false}, {datapath.ESP, datapath.Tunnel, datapath.UDP, false, true}} {
		t.Run(c.String(), func(t *testing.T) {
			left, right := guarded(t, c, nil)
			inner, _ := c.ends()
			left.Run("ping", "-c", "1", "-w", "5", "-I", inner[0], inner[1])
			must(t, left.dp.RemoveOutbound(datapath.SAID{1}))
			if out, err := left.Output("ping", "-c", "1", "-W", "1", "-I", inner[0], inner[1]); err == nil {
				t.Errorf("ping without an SA: %s", out)
			}
			// The right end stops protecting, and sends in clear what it protected.
			right.stop()
			must(t, right.cleanup())
			if out, err := right.Output("ping", "-c", "2", "-i", "0.1", "-W", "1", "-I", inner[1], inner[0]); err == nil {
				t.Errorf("a clear ping was answered: %s", out)
			}
			if n := left.guard(t)[netio.CounterClearIn]; n < 2 {
				t.Errorf("clear packets counted: %d", n)
			}
			left.stop()
			before := left.guard(t)[netio.CounterClearOut]
			if out, err := left.Output("ping", "-c", "1", "-W", "1", "-I", inner[0], inner[1]); err == nil {
				t.Errorf("ping without the TUN: %s", out)
			}
			if left.guard(t)[netio.CounterClearOut] == before {
				t.Error("no clear packet was counted on its way out")
			}
		})
	}
}

func (h *host) guard(t *testing.T) (counters map[string]uint64) {
	t.Helper()
	var err error
	h.Do(func() { counters, err = netio.GuardCounters(t.Context(), netio.Config{}) })
	must(t, err)
	return counters
}

// TestNarrowLinkOnTheWay: behind a router the link takes 1400 bytes and nobody knows that beforehand. What the router
// says is believed, the inner senders are told, and a stream passes; nothing of it is fragmented on the underlay.
//
//	left 172.16.0.1/24 ── 1500 ── router (answers for the rest by proxy ARP and NDP) ── 1400 ── right 172.16.0.2/24
func TestNarrowLinkOnTheWay(t *testing.T) {
	for _, c := range []modeCase{
		{datapath.ESP, datapath.Tunnel, datapath.UDP, false, false}, {datapath.ESP, datapath.Tunnel, datapath.UDP, true, true},
		{datapath.ESP, datapath.Tunnel, datapath.Native, false, true}, {datapath.AH, datapath.Tunnel, datapath.Native, false, false},
		{datapath.ESP, datapath.Transport, datapath.Native, false, false}, {datapath.AH, datapath.Transport, datapath.Native, true, true},
		{datapath.ESP, datapath.Transport, datapath.UDP, false, false},
	} {
		t.Run(c.String(), func(t *testing.T) {
			leftNS, router, rightNS := nstest.New(t), nstest.New(t), nstest.New(t)
			nstest.Connect(t, leftNS, "eth0", prefixes("172.16.0.1/32", "fd16::1/128"), router, "eth0", prefixes("172.16.9.1/32", "fd16:9::1/128"))
			nstest.Connect(t, router, "eth1", prefixes("172.16.9.2/32", "fd16:9::2/128"), rightNS, "eth0", prefixes("172.16.0.2/32", "fd16::2/128"))
			router.Run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
			router.Run("ip", "link", "set", "eth1", "mtu", "1400")
			rightNS.Run("ip", "link", "set", "eth0", "mtu", "1400")
			for i, ns := range []*nstest.Namespace{leftNS, rightNS} {
				via := fmt.Sprint(i + 1)
				ns.Run("ip", "route", "add", "172.16.9."+via, "dev", "eth0")
				ns.Run("ip", "route", "add", "default", "via", "172.16.9."+via, "onlink", "dev", "eth0")
				ns.Run("ip", "-6", "route", "add", "fd16:9::"+via, "dev", "eth0")
				ns.Run("ip", "-6", "route", "add", "default", "via", "fd16:9::"+via, "onlink", "dev", "eth0")
				router.Run("ip", "route", "add", "172.16.0."+via, "dev", fmt.Sprintf("eth%d", i))
				router.Run("ip", "-6", "route", "add", "fd16::"+via, "dev", fmt.Sprintf("eth%d", i))
			}
			left, right := guardedIn(t, leftNS, rightNS, c, false, nil)
			inner, _ := c.ends()
			router.Run("nft", `add table inet watch; add chain inet watch in { type filter hook prerouting priority -400; };
				add rule inet watch in iifname eth0 ip frag-off & 0x3fff != 0 counter comment "fragment";
				add rule inet watch in iifname eth0 exthdr frag exists counter comment "fragment"`)
			stream(t, left, right, inner[0], inner[1])
			for line := range strings.Lines(router.Run("nft", "list", "chain", "inet", "watch", "in")) {
				if strings.Contains(line, `"fragment"`) && !strings.Contains(line, "packets 0 ") {
					t.Errorf("fragments on the underlay: %s", strings.TrimSpace(line))
				}
			}
			learned := 0
			for _, sa := range left.dp.SAs() {
				if !sa.Inbound {
					learned = sa.MTU
				}
			}
			if learned != 1400 {
				t.Errorf("the SA believes in an MTU of %d; %+v", learned, left.dp.Counters())
			}
			// What may be fragmented still passes, however large.
			out, err := left.Output("ping", "-c", "2", "-i", "0.1", "-w", "5", "-M", "dont", "-s", "4000", "-I", inner[0], inner[1])
			if err != nil {
				t.Errorf("a large ping: %s; drops %v, %v", out, dropped(left), dropped(right))
			}
		})
	}
}
