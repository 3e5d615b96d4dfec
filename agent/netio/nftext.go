package netio

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Names of the guard's counters in the nftables table.
const (
	CounterClearIn  = "clear_in"  // clear packets that should have come through a tunnel
	CounterClearOut = "clear_out" // packets that would have left in clear
	CounterSpoofed  = "spoofed"   // overlay addresses seen on the underlay
	CounterDiscard  = "discarded" // packets that a policy discards
)

// The chains of what the overlay protects: drops, and a return for the rest.
const (
	overlayIn  = "overlay_in"
	overlayOut = "overlay_out"
)

// guardText is the nft script that replaces our tables as a whole, in one transaction. Chains, counters
// and their values stay; all rules are new.
//
// In each chain the TUN and lo pass first, then our own outer packets, then the overlay's drops, and then policies:
//
//	input, forward  to our overlay address, or from the pool            → spoofed
//	                from a remote prefix to one of ours                 → clear_in
//	post-routing    to a remote prefix or the pool, from one of ours    → clear_out
//
// As in routing the longer prefix wins: what stays among our own subnets passes although a remote prefix
// contains them, and what concerns a remote prefix within our subnets is dropped. And as in routing the overlay comes
// before the policies: a BYPASS that covers more than it should opens no way past the tunnels.
//
// Post-routing is used and not output, because only there the outgoing interface is final. It is looked at
// before source NAT and after it: a container's packet that this host masquerades is ours too.
func guardText(c Config, d Desired) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %[1]s {}\nflush table inet %[1]s\ntable inet %[1]s {\n", c.NFTable)
	for _, name := range []string{CounterClearIn, CounterClearOut, CounterSpoofed, CounterDiscard} {
		fmt.Fprintf(&b, "\tcounter %s { }\n", name)
	}
	chain(&b, "outer", "prerouting priority mangle", markRules(c, d))
	if d.policed() {
		chain(&b, "emerged", "prerouting priority mangle + 1", emergedRules(c))
		chain(&b, "classify_forwarded", "prerouting priority filter + 20", forwardedRules(c, d))
		routeChain(&b, "classify", "output priority mangle", outputRules(c, d))
	}
	plainChain(&b, overlayIn, overlayInRules(d))
	plainChain(&b, overlayOut, overlayOutRules(d))
	chain(&b, "arrive", "input priority filter - 5", arriveRules(c, d, true))
	chain(&b, "transit", "forward priority filter - 5", arriveRules(c, d, false))
	chain(&b, "leave", "postrouting priority filter", slices.Concat(segmentRules(c), leaveRules(c, d, silenceRules(c)), discardRest(d, "fib saddr type local ")))
	chain(&b, "leave_translated", "postrouting priority srcnat + 10", leaveRules(c, d, nil))
	b.WriteString("}\n")
	// Strict rp_filter also judges the sender of an ARP request. If a remote subnet contains our
	// own link, its neighbours would get no answer.
	fmt.Fprintf(&b, "table arp %[1]s {}\nflush table arp %[1]s\ntable arp %[1]s {\n", c.NFTable)
	chain(&b, "outer", "input priority filter", []string{fmt.Sprintf("meta mark set %#x", c.Mark)})
	b.WriteString("}\n")
	return b.String()
}

// removeText is the nft script that deletes both tables, whether they exist or not.
func removeText(c Config) string {
	var b strings.Builder
	for _, family := range []string{"inet", "arp"} {
		fmt.Fprintf(&b, "table %[1]s %[2]s {}\ndelete table %[1]s %[2]s\n", family, c.NFTable)
	}
	return b.String()
}

func chain(b *strings.Builder, name, hook string, rules []string) {
	typedChain(b, name, "filter", hook, rules)
}

// plainChain is one that others jump to.
func plainChain(b *strings.Builder, name string, rules []string) {
	fmt.Fprintf(b, "\tchain %s {\n", name)
	writeRules(b, rules)
}

// routeChain makes the kernel look for a route again when a rule has changed a packet's mark.
func routeChain(b *strings.Builder, name, hook string, rules []string) {
	typedChain(b, name, "route", hook, rules)
}

func typedChain(b *strings.Builder, name, kind, hook string, rules []string) {
	fmt.Fprintf(b, "\tchain %s {\n\t\ttype %s hook %s; policy accept;\n", name, kind, hook)
	writeRules(b, rules)
}

func writeRules(b *strings.Builder, rules []string) {
	for _, r := range rules {
		fmt.Fprintf(b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
}

// markRules give our arriving outer packets the mark that the answers carry, so that the reverse path
// check of strict rp_filter (with src_valid_mark) looks at the main table, as the answers do.
func markRules(c Config, d Desired) []string {
	rules := append(through(c, "iifname", "return"),
		fmt.Sprintf("udp dport { 500, %d } fib daddr type local meta mark set %#x return", c.Port, c.Mark),
		fmt.Sprintf("meta l4proto { esp, ah } fib daddr type local meta mark set %#x return", c.Mark))
	for _, u := range d.Uplink {
		rules = append(rules, fmt.Sprintf("%s saddr %s tcp sport %d fib daddr type local meta mark set %#x",
			family(u.Addr()), u.Addr(), u.Port(), c.Mark))
	}
	return rules
}

func arriveRules(c Config, d Desired, local bool) []string {
	rules := through(c, "iifname", "accept")
	for _, is4 := range []bool{true, false} {
		if own := hostPrefixes(d.Addresses, is4); len(own) > 0 {
			rules = append(rules, match(is4, "daddr", own)+" counter name "+CounterSpoofed+" drop")
		}
	}
	if local {
		// Only answers: nobody opens a connection to us from a controller's port. This comes before
		// the pool, or a pool that contains a controller would be beyond repair.
		for _, u := range d.Uplink {
			rules = append(rules, fmt.Sprintf("%s saddr %s tcp sport %d tcp flags & (syn | ack) != syn accept",
				family(u.Addr()), u.Addr(), u.Port()))
		}
	}
	for _, is4 := range []bool{true, false} {
		if pool := ofFamily(d.Pools, is4); len(pool) > 0 {
			rules = append(rules, match(is4, "saddr", pool)+" counter name "+CounterSpoofed+" drop")
		}
	}
	if local {
		rules = append(rules, fmt.Sprintf("udp dport { 500, %d } accept", c.Port), "meta l4proto { esp, ah } accept", laterFragment6+"accept")
		rules = append(rules, dhcp+" accept")
		rules = append(rules, neighbourRules("accept")...)
	}
	if local && d.policed() {
		rules = append(rules, quoting(c, d, "accept")...)
	}
	rules = append(rules, "jump "+overlayIn)
	rules = append(rules, verdicts(d.Policies, arriving, guarding(CounterClearIn))...)
	if !local && d.DiscardRest {
		// What is forwarded may be on its way out, and matched the other way round.
		rules = append(rules, fmt.Sprintf(`oifname "%s" accept`, c.TUNName))
		rules = append(rules, leavingPolicies(d)...)
	}
	return append(rules, discardRest(d, "")...)
}

// overlayInRules drop what arrives in clear from a remote prefix.
func overlayInRules(d Desired) (rules []string) {
	for _, is4 := range []bool{true, false} {
		remote, own := ofFamily(remotes(d), is4), ofFamily(owned(d), is4)
		if len(remote) == 0 || len(own) == 0 {
			continue
		}
		drop := " " + match(is4, "daddr", own) + " counter name " + CounterClearIn + " drop"
		if subnets := ofFamily(d.Subnets, is4); len(subnets) > 0 {
			if inner := ofFamily(remoteWithin(d), is4); len(inner) > 0 {
				rules = append(rules, match(is4, "saddr", inner)+drop)
			}
			rules = append(rules, match(is4, "saddr", subnets)+" "+match(is4, "daddr", subnets)+" return")
		}
		rules = append(rules, match(is4, "saddr", remote)+drop)
	}
	return rules
}

// discardRest drops what no policy has matched. It is not looked at again after source NAT: a packet that a policy
// lets pass does so under its new address too.
func discardRest(d Desired, which string) []string {
	if !d.DiscardRest {
		return nil
	}
	return []string{which + "counter name " + CounterDiscard + " drop"}
}

// laterFragment6 matches IPv6 fragments that have no transport header; behind AH, nft does not even know the protocol.
// Unlike IPv4's they pass these chains one by one. They are nothing without the first one, which is judged by its
// headers: Linux drops a first fragment that does not have them all (RFC 7112).
const laterFragment6 = "exthdr frag exists frag frag-off != 0 "

// ownPackets pass our own outer packets. The mark is not enough: who may open raw sockets may set it too, and on many
// systems ping does it for any user (ping -m).
func ownPackets(c Config, d Desired, verdict string) []string {
	ours := func(which string) string {
		return fmt.Sprintf("meta mark %#x %s fib saddr type local %s", c.Mark, which, verdict)
	}
	rules := []string{
		ours(fmt.Sprintf("udp sport { 500, %d }", c.Port)),
		ours("meta l4proto { esp, ah }"),
		ours(laterFragment6),
	}
	for _, u := range d.Uplink {
		rules = append(rules, ours(fmt.Sprintf("%s daddr %s tcp dport %d ", family(u.Addr()), u.Addr(), u.Port())))
	}
	return rules
}

// leaveRules have early behind what lets most packets pass.
func leaveRules(c Config, d Desired, early []string) []string {
	rules := slices.Concat(through(c, "oifname", "accept"), ownPackets(c, d, "accept"), early)
	// A client without an address sends from 0.0.0.0, which counts as broadcast. Forwarded packets
	// do not match.
	rules = append(rules, "fib saddr type { local, broadcast } "+dhcp+" accept")
	rules = append(rules, neighbourRules("accept")...)
	rules = append(rules, "jump "+overlayOut)
	return append(rules, leavingPolicies(d)...)
}

// overlayOutRules drop what would leave in clear to a remote prefix or the pool.
func overlayOutRules(d Desired) (rules []string) {
	for _, is4 := range []bool{true, false} {
		remote := ofFamily(disjointSorted(append(remotes(d), d.Pools...)), is4)
		if len(remote) == 0 {
			continue
		}
		subnets := ofFamily(d.Subnets, is4)
		if inner := ofFamily(remoteWithin(d), is4); len(inner) > 0 {
			rules = append(rules, clearOut(is4, subnets, inner)...)
		}
		if len(subnets) > 0 {
			rules = append(rules, match(is4, "daddr", subnets)+" return")
		}
		rules = append(rules, clearOut(is4, subnets, remote)...)
	}
	return rules
}

// clearOut drops what is from our subnets, or from ourselves, to remote prefixes.
func clearOut(is4 bool, subnets, remote []netip.Prefix) []string {
	drop := " " + match(is4, "daddr", remote) + " counter name " + CounterClearOut + " drop"
	rules := []string{"fib saddr type local" + drop}
	if len(subnets) > 0 {
		rules = append(rules, match(is4, "saddr", subnets)+drop)
	}
	return rules
}

const dhcp = "udp sport . udp dport { 68 . 67, 67 . 68, 546 . 547, 547 . 546 }"

// neighbourRules pass what an IPv6 link needs to work at all, whatever the policies cover. The hop
// limits keep forwarded packets out.
func neighbourRules(verdict string) []string {
	return []string{
		"ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect } " + verdict,
		"ip6 hoplimit 1 ip6 saddr { ::, fe80::/10 } icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-reduction, mld2-listener-report } " + verdict,
	}
}

// through give a verdict on what passes the TUN or lo. One name is compared faster than a set of two.
func through(c Config, name, verdict string) []string {
	return []string{fmt.Sprintf(`%s "%s" %s`, name, c.TUNName, verdict), fmt.Sprintf(`%s "lo" %s`, name, verdict)}
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

// match is "ip saddr { … }".
func match(is4 bool, field string, ps []netip.Prefix) string {
	name := "ip6"
	if is4 {
		name = "ip"
	}
	words := make([]string, len(ps))
	for i, p := range ps {
		words[i] = p.String()
	}
	return fmt.Sprintf("%s %s { %s }", name, field, strings.Join(words, ", "))
}

// remotes are the protected remote prefixes as a set. Those within a pool need no rule of their own, so the
// guard does not change with each host that comes and goes.
func remotes(d Desired) []netip.Prefix {
	return disjointSorted(slices.DeleteFunc(slices.Clone(d.Remote), func(r netip.Prefix) bool { return within(r, d.Pools) }))
}

// within says whether one of the prefixes contains p.
func within(p netip.Prefix, prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, func(s netip.Prefix) bool { return s.Bits() <= p.Bits() && s.Contains(p.Addr()) })
}

// remoteWithin are the remote prefixes that lie in our own subnets.
func remoteWithin(d Desired) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range d.Remote {
		if within(r, d.Subnets) {
			out = append(out, r)
		}
	}
	return disjointSorted(out)
}

// owned are our own protected prefixes as a set: overlay addresses and subnets.
func owned(d Desired) []netip.Prefix {
	return disjointSorted(slices.Concat(hostPrefixes(d.Addresses, true), hostPrefixes(d.Addresses, false), d.Subnets))
}

func disjointSorted(ps []netip.Prefix) []netip.Prefix {
	slices.SortFunc(ps, comparePrefix)
	return uncovered(ps)
}

func hostPrefixes(addrs []netip.Addr, is4 bool) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range addrs {
		if a.Is4() == is4 {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}

func ofFamily(ps []netip.Prefix, is4 bool) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range ps {
		if p.Addr().Is4() == is4 {
			out = append(out, p)
		}
	}
	return out
}
