//go:build linux

package lab

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// faultTable is the nftables table that holds a node's faults. It belongs to the lab; the agent's own
// rules are elsewhere.
const faultTable = "inet lab-faults"

// Loss makes a host lose percent of the packets that arrive from the underlay, at random.
func (l *Lab) Loss(ctx context.Context, i, percent int) error {
	return l.fault(ctx, HostName(i), fmt.Sprintf(`iifname "eth0" numgen random mod 100 <= %d drop`, percent-1))
}

// Partition cuts host i off from host j, both ways and for both families, with NATs in between or not.
func (l *Lab) Partition(ctx context.Context, i, j int) error {
	if err := l.fault(ctx, l.edge(i), dropFrom(HostAddress(j))...); err != nil {
		return err
	}
	return l.fault(ctx, l.edge(j), dropFrom(HostAddress(i))...)
}

func dropFrom(addrs []netip.Addr) []string {
	var rules []string
	for _, a := range addrs {
		ip := "ip"
		if a.Is6() {
			ip = "ip6"
		}
		rules = append(rules, fmt.Sprintf("%s saddr %s drop", ip, a))
	}
	return rules
}

// PartitionController cuts host i off from the controller.
func (l *Lab) PartitionController(ctx context.Context, i int) error {
	a := underlay(stationCtl)
	return l.fault(ctx, HostName(i), "ip saddr "+a.v4.Addr().String()+" drop", "ip6 saddr "+a.v6.Addr().String()+" drop")
}

// Heal takes all faults of host i away.
func (l *Lab) Heal(ctx context.Context, i int) error {
	for _, node := range []string{HostName(i), l.edge(i)} {
		// "add" first, so that deleting a table that is not there is no error.
		if _, err := l.Exec(ctx, node, "nft", "add table "+faultTable+"; delete table "+faultTable); err != nil {
			return err
		}
	}
	return nil
}

// edge is the node of host i that has the underlay address.
func (l *Lab) edge(i int) string {
	if nat := natName(i); l.CheckNode(nat) == nil {
		return nat
	}
	return HostName(i)
}

// fault adds rules that see every packet that arrives at a node.
func (l *Lab) fault(ctx context.Context, node string, rules ...string) error {
	script := "add table " + faultTable + "; " +
		"add chain " + faultTable + " in { type filter hook prerouting priority -400; }"
	for _, rule := range rules {
		script += "; add rule " + faultTable + " in " + rule
	}
	_, err := l.Exec(ctx, node, "nft", script)
	return err
}

// RebindNAT makes the NAT in front of host i forget its mappings and choose other ports, as a NAT does
// after a restart.
func (l *Lab) RebindNAT(ctx context.Context, i int) error {
	node := natName(i)
	if err := l.CheckNode(node); err != nil {
		return err
	}
	rules := "flush chain inet nat post; " + masqueradeRules("40000-49999")
	if _, err := l.Exec(ctx, node, "nft", rules); err != nil {
		return err
	}
	ns, err := netns.GetFromName(l.state.Config.namespace(node))
	if err != nil {
		return fmt.Errorf("lab: %s: %w", node, err)
	}
	defer ns.Close()
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("lab: %s: %w", node, err)
	}
	defer handle.Close()
	if err := handle.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("lab: %s: forget mappings: %w", node, err)
	}
	return nil
}
