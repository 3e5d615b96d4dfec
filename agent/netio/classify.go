package netio

import (
	"fmt"

	"sallyport.dev/sallyport/services/protocol/spd"
)

// The chains that carry out policies. Packets get the mark ProtectMark, and only that routes them to the TUN:
//
//	output      our own outer packets, neighbours, DHCP pass; then the policies in order      route chain: a mark
//	prerouting  early: what comes out of the TUN gets the mark, so that strict rp_filter's    means a new route
//	            reverse route (src_valid_mark) leads to the TUN too
//	            late: what is forwarded: the policies in order
//
// What is forwarded is looked at late, as it is after destination NAT, and behind a firewall's own reverse path check:
// firewalld looks up the way back of IPv6 packets with their mark, and that of ours would be the TUN. No mark outlives
// the packet, as long as fwmark_reflect and tcp_fwmark_accept are 0, as they are by default.

// outputRules classify what this host sends.
func outputRules(c Config, d Desired) []string {
	rules := append([]string{`oifname "lo" return`}, ownPackets(c, d, "return")...)
	rules = append(rules, "fib saddr type { local, broadcast } "+dhcp+" return")
	rules = append(rules, neighbourRules("return")...)
	return append(rules, verdicts(d.Policies, leaving, classification(c))...)
}

// emergedRules mark what has come out of the TUN.
func emergedRules(c Config) []string {
	return []string{fmt.Sprintf(`iifname "%s" meta mark set %#x`, c.TUNName, c.ProtectMark)}
}

// forwardedRules classify what passes through this host.
func forwardedRules(c Config, d Desired) []string {
	rules := append(through(c, "iifname", "return"), "fib daddr type { local, broadcast, multicast } return")
	return append(rules, verdicts(d.Policies, leaving, classification(c))...)
}

func classification(c Config) map[spd.Action]string {
	return map[spd.Action]string{
		spd.Bypass:  "return",
		spd.Discard: "counter name " + CounterDiscard + " drop",
		spd.Protect: fmt.Sprintf("meta mark set %#x return", c.ProtectMark),
	}
}

// leavingPolicies drop what would leave in clear and is protected, or discarded.
func leavingPolicies(d Desired) []string {
	return verdicts(d.Policies, leaving, guarding(CounterClearOut))
}

func guarding(counter string) map[spd.Action]string {
	return map[spd.Action]string{
		spd.Bypass:  "accept",
		spd.Discard: "counter name " + CounterDiscard + " drop",
		spd.Protect: "counter name " + counter + " drop",
	}
}

// Where an ICMP message quotes the protocol, and of UDP the source port, of the packet that it is about, in bits from
// the ICMP header on, if that packet had no options. The destination port follows the source port.
const (
	quotedProto4, quotedDst4, quotedPort4 = (8 + 9) * 8, (8 + 16) * 8, (8 + 20) * 8
	quotedProto6, quotedDst6, quotedPort6 = (8 + 6) * 8, (8 + 24) * 8, (8 + 40) * 8
)

// quoting pass ICMP errors about our own outer packets and the uplink: path MTU discovery needs them, even where all
// between the two hosts is protected. The agent believes them as far as RFC 4301 section 8.2 says, and TCP as far as
// it has sent what they quote.
func quoting(c Config, d Desired, verdict string) []string {
	v4 := "icmp type { destination-unreachable, time-exceeded, parameter-problem } "
	v6 := "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } "
	rules := []string{
		fmt.Sprintf("%s@th,%d,8 { 50, 51 } %s", v4, quotedProto4, verdict),
		fmt.Sprintf("%s@th,%d,8 17 @th,%d,16 { 500, %d } %s", v4, quotedProto4, quotedPort4, c.Port, verdict),
		fmt.Sprintf("%s@th,%d,8 { 50, 51 } %s", v6, quotedProto6, verdict),
		fmt.Sprintf("%s@th,%d,8 17 @th,%d,16 { 500, %d } %s", v6, quotedProto6, quotedPort6, c.Port, verdict),
	}
	for _, u := range d.Uplink {
		kinds, proto, dst, port := v4, quotedProto4, quotedDst4, quotedPort4
		if u.Addr().Is6() {
			kinds, proto, dst, port = v6, quotedProto6, quotedDst6, quotedPort6
		}
		rules = append(rules, fmt.Sprintf("%s@th,%d,8 6 @th,%d,%d %#x @th,%d,16 %d %s",
			kinds, proto, dst, u.Addr().BitLen(), u.Addr().AsSlice(), port+16, u.Port(), verdict))
	}
	return rules
}

// silenceRules keep the kernel from telling other ends that nobody speaks ESP or AH here: so it is only while the
// agent is away, and they would take it for more. What others say, which passes through this host, is not touched.
func silenceRules(c Config) []string {
	rules := []string{
		fmt.Sprintf("icmp type destination-unreachable icmp code prot-unreachable @th,%d,8 { 50, 51 }", quotedProto4),
		fmt.Sprintf("icmpv6 type parameter-problem icmpv6 code 1 @th,%d,8 { 50, 51 }", quotedProto6),
		fmt.Sprintf("icmp type destination-unreachable icmp code port-unreachable @th,%d,8 17 @th,%d,16 %d", quotedProto4, quotedPort4+16, c.Port),
		fmt.Sprintf("icmpv6 type destination-unreachable icmpv6 code port-unreachable @th,%d,8 17 @th,%d,16 %d", quotedProto6, quotedPort6+16, c.Port),
	}
	for i := range rules {
		rules[i] += " fib saddr type local drop"
	}
	return rules
}

// segmentRules make TCP connections through the TUN begin with segments that fit: a packet that a mark has sent
// there was made for another route.
func segmentRules(c Config) []string {
	return []string{fmt.Sprintf(`tcp flags & (syn | rst) == syn oifname "%s" tcp option maxseg size set rt mtu`, c.TUNName)}
}
