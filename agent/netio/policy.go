package netio

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// maxPolicies bounds Desired.Policies.
const maxPolicies = 4096

// maxWords bounds the rules of all policies together: 255 selectors a side, each with ports of its own, are 65025
// rules of one policy.
const maxWords = 1 << 16

// Policy is one ordered entry of the SPD as nftables carries it out: what PROTECT covers is routed to the TUN, and
// dropped in clear; BYPASS and DISCARD are verdicts. It carries no key.
type Policy struct {
	Action        spd.Action     `json:"action"`
	Local, Remote []spd.Selector `json:",omitempty"`
}

// Equal reports whether p and q are the same.
func (p Policy) Equal(q Policy) bool {
	return p.Action == q.Action && slices.Equal(p.Local, q.Local) && slices.Equal(p.Remote, q.Remote)
}

func (p *Policy) check() error {
	if p.Action > spd.Protect {
		return fmt.Errorf("%w: policy with the action %d", ErrDesired, p.Action)
	}
	for _, side := range [][]spd.Selector{p.Local, p.Remote} {
		if len(side) == 0 || len(side) > spd.MaxSelectors {
			return fmt.Errorf("%w: a policy with %d selectors on one side: want 1 to %d", ErrDesired, len(side), spd.MaxSelectors)
		}
		for _, s := range side {
			if err := s.Validate(); err != nil {
				return fmt.Errorf("%w: %w", ErrDesired, err)
			}
		}
	}
	return nil
}

// direction is which way packets go: the local side of a policy is the source of what leaves.
type direction bool

const (
	leaving  direction = true
	arriving direction = false
)

// fields are nft's names for the side's address and port.
func (d direction) fields(local bool) (address, port string) {
	if bool(d) == local {
		return "saddr", "sport"
	}
	return "daddr", "dport"
}

// rules are the nft matches of a policy, one for each combination of protocol and ports on both sides. Together they
// match what the SPD's selectors do, but for later fragments, which show no ports: see fragments.
func (p *Policy) rules(dir direction) (out []string) {
	p.combine(func(l, r group) {
		proto, ok := common(l.proto, r.proto)
		if !ok {
			return
		}
		for _, ports := range portMatches(proto, l, r, dir) {
			out = append(out, l.addresses(dir, true)+r.addresses(dir, false)+ports)
		}
	})
	return slices.Compact(out)
}

// fragments are the nft matches of later fragments that might belong to what the policy covers by ports. They match
// more than that: whose ports cannot be seen is treated as what is protected.
func (p *Policy) fragments(dir direction) (out []string) {
	p.combine(func(l, r group) {
		proto, ok := common(l.proto, r.proto)
		if !ok || l.ports == spd.AnyPorts() && r.ports == spd.AnyPorts() {
			return
		}
		later := "ip frag-off & 0x1fff != 0 "
		if !l.is4 {
			later = laterFragment6
		}
		out = append(out, l.addresses(dir, true)+r.addresses(dir, false)+later+protoMatch(proto))
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// group are selectors of one side that differ in addresses only.
type group struct {
	is4    bool
	proto  uint8
	ports  spd.Ports
	ranges []addressRange
}

type addressRange struct{ first, last netip.Addr }

// combine calls do for each pair of groups of one family.
func (p *Policy) combine(do func(local, remote group)) {
	remote := groups(p.Remote)
	for _, l := range groups(p.Local) {
		for _, r := range remote {
			if l.is4 == r.is4 {
				do(l, r)
			}
		}
	}
}

// words is the number of address ranges in the policy's rules in one chain, about.
func (p *Policy) words() (n int) {
	p.combine(func(l, r group) { n += len(l.ranges) + len(r.ranges) })
	return n
}

func groups(selectors []spd.Selector) (out []group) {
	for _, s := range selectors {
		g := group{is4: s.First.Is4(), proto: s.Proto, ports: s.Ports}
		i := slices.IndexFunc(out, func(h group) bool { return h.is4 == g.is4 && h.proto == g.proto && h.ports == g.ports })
		if i < 0 {
			i, out = len(out), append(out, g)
		}
		out[i].ranges = append(out[i].ranges, addressRange{s.First, s.Last})
	}
	for i := range out {
		out[i].ranges = merged(out[i].ranges)
	}
	return out
}

// merged makes ranges disjoint, as an nft set wants them.
func merged(ranges []addressRange) (out []addressRange) {
	slices.SortFunc(ranges, func(a, b addressRange) int { return a.first.Compare(b.first) })
	for _, r := range ranges {
		if n := len(out); n > 0 && !out[n-1].last.Less(r.first) {
			if out[n-1].last.Less(r.last) {
				out[n-1].last = r.last
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// addresses is "ip saddr { … } ", or the family alone where every address is meant.
func (g *group) addresses(dir direction, local bool) string {
	name, nfproto := "ip6", "ipv6"
	if g.is4 {
		name, nfproto = "ip", "ipv4"
	}
	field, _ := dir.fields(local)
	all := spd.Prefix(netip.PrefixFrom(g.ranges[0].first, 0))
	if len(g.ranges) == 1 && g.ranges[0].first == all.First && g.ranges[0].last == all.Last {
		return "meta nfproto " + nfproto + " "
	}
	words := make([]string, len(g.ranges))
	for i, r := range g.ranges {
		words[i] = r.first.String()
		if r.first != r.last {
			words[i] += "-" + r.last.String()
		}
	}
	return fmt.Sprintf("%s %s { %s } ", name, field, strings.Join(words, ", "))
}

// common is the protocol that both sides take; 0 is any.
func common(a, b uint8) (uint8, bool) {
	switch {
	case a == b, b == 0:
		return a, true
	case a == 0:
		return b, true
	}
	return 0, false
}

func protoMatch(proto uint8) string {
	if proto == 0 {
		return ""
	}
	return fmt.Sprintf("meta l4proto %d ", proto)
}

// ported are the protocols that have ports (ipwire.Flow).
var ported = []uint8{ipwire.ProtoTCP, ipwire.ProtoUDP, ipwire.ProtoUDPLite, ipwire.ProtoSCTP, ipwire.ProtoDCCP}

// portMatches are the protocol and port parts of a rule: several, where the protocol is any and ports count.
func portMatches(proto uint8, l, r group, dir direction) []string {
	any, opaque := spd.AnyPorts(), spd.OpaquePorts()
	switch {
	case l.ports == any && r.ports == any:
		return []string{protoMatch(proto)}
	case l.ports == opaque || r.ports == opaque:
		if l.ports != any && l.ports != opaque || r.ports != any && r.ports != opaque {
			return nil // ports that are and are not there
		}
		return opaqueMatches(proto, l.is4)
	}
	icmp := uint8(ipwire.ProtoICMP)
	if !l.is4 {
		icmp = ipwire.ProtoICMPv6
	}
	var out []string
	if proto == icmp || proto == 0 {
		if low, high := max(l.ports.First, r.ports.First), min(l.ports.Last, r.ports.Last); low <= high {
			out = append(out, protoMatch(icmp)+fmt.Sprintf("@th,0,16 %d-%d ", low, high))
		}
	}
	ports := ""
	for _, side := range []struct {
		ports spd.Ports
		local bool
	}{{l.ports, true}, {r.ports, false}} {
		if side.ports != any {
			_, field := dir.fields(side.local)
			ports += fmt.Sprintf("th %s %d-%d ", field, side.ports.First, side.ports.Last)
		}
	}
	switch {
	case proto == 0:
		out = append(out, "meta l4proto { "+numbers(ported)+" } "+ports)
	case slices.Contains(ported, proto):
		out = append(out, protoMatch(proto)+ports)
	}
	return out
}

// opaqueMatches match packets whose ports are not available: protocols that have none, and later fragments.
func opaqueMatches(proto uint8, is4 bool) []string {
	later := protoMatch(proto) + "ip frag-off & 0x1fff != 0 "
	icmp := uint8(ipwire.ProtoICMP)
	if !is4 {
		later, icmp = protoMatch(proto)+laterFragment6, ipwire.ProtoICMPv6
	}
	shows := append(slices.Clone(ported), icmp)
	switch {
	case proto == 0:
		return []string{later, "meta l4proto != { " + numbers(shows) + " } "}
	case slices.Contains(shows, proto):
		return []string{later}
	}
	return []string{protoMatch(proto)}
}

func numbers(protos []uint8) string {
	words := make([]string, len(protos))
	for i, p := range protos {
		words[i] = fmt.Sprint(p)
	}
	return strings.Join(words, ", ")
}

// verdicts are the rules that do to each policy's packets what act says: one rule for each match, in order. Fragments
// whose ports cannot be seen go with the first policy by ports that does not let packets pass.
func verdicts(policies []Policy, dir direction, act map[spd.Action]string) (rules []string) {
	for i := range policies {
		p := &policies[i]
		verdict, ok := act[p.Action]
		if !ok {
			continue
		}
		matches := p.rules(dir)
		if p.Action != spd.Bypass {
			matches = append(matches, p.fragments(dir)...)
		}
		for _, m := range matches {
			rules = append(rules, m+verdict)
		}
	}
	return rules
}
