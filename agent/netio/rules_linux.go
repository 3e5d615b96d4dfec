package netio

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The rules of each family, by preference; PREF is Config.Preference. Those in brackets are there with policies:
//
//	[PREF-2  from the TUN          go to PREF       what has come out does not go in again]
//	[PREF-1  mark ProtectMark      table Table+1    default through the TUN]
//	 PREF    mark other than Mark  table Table      protected prefixes
//
// Strict rp_filter looks up the way back with the packet's mark too, as if it came from lo, or when it is forwarded
// from the device that it leaves by: what came out of the TUN finds Table+1, and what goes into it does not.
//
// They are in the order in which they may come one by one: the rule that keeps packets from going round comes first.
func (n *Network) wantedRules(family int, policed bool) []*netlink.Rule {
	rule := func(preference int) *netlink.Rule {
		r := netlink.NewRule()
		r.Family, r.Priority = family, preference
		return r
	}
	base := rule(n.config.Preference)
	base.Table, base.Mark, base.Invert = n.config.Table, n.config.Mark, true
	if !policed {
		return []*netlink.Rule{base}
	}
	protected, out := rule(n.config.Preference-1), rule(n.config.Preference-2)
	protected.Table, protected.Mark = n.config.Table+1, n.config.ProtectMark
	out.IifName, out.Goto = n.config.TUNName, n.config.Preference
	return []*netlink.Rule{base, out, protected}
}

// applyRules puts the rules of each family in, and removes others at our preferences that are ours or were. It says
// whether there was anything to do.
func (n *Network) applyRules(policed bool) (changed bool, err error) {
	for _, family := range families() {
		have, err := n.rules(family)
		if err != nil {
			return changed, err
		}
		want := n.wantedRules(family, policed)
		found := make([]bool, len(want))
		for _, r := range have {
			if i := indexOf(want, &r); i >= 0 && !found[i] {
				found[i] = true
				continue
			}
			changed = true
			if err := n.handle.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
				return changed, fmt.Errorf("remove: %w", err)
			}
		}
		for i, r := range want {
			if found[i] {
				continue
			}
			changed = true
			if err := n.handle.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
				return changed, fmt.Errorf("add: %w", err)
			}
		}
	}
	return changed, nil
}

// indexOf finds an installed rule among those that are wanted; -1 if it is none of them.
func indexOf(want []*netlink.Rule, have *netlink.Rule) int {
	for i, w := range want {
		sameTarget := w.Table == have.Table
		if w.Goto > 0 {
			sameTarget = w.Goto == have.Goto
		}
		if w.Priority == have.Priority && sameTarget && w.Mark == have.Mark && w.Invert == have.Invert && w.IifName == have.IifName {
			return i
		}
	}
	return -1
}

// rules are those at our preferences that lead to our tables, or past them.
func (n *Network) rules(family int) ([]netlink.Rule, error) {
	list, err := n.handle.RuleList(family)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	var out []netlink.Rule
	for _, r := range list {
		preference, table := n.config.Preference, n.config.Table
		switch {
		case r.Priority == preference && r.Table == table, r.Priority == preference-1 && r.Table == table+1,
			r.Priority == preference-2 && r.Goto == preference:
			r.Family = family
			out = append(out, r)
		}
	}
	return out, nil
}

// applyProtected makes the table of what policies protect: everything goes through the TUN. It says whether there was
// anything to do.
func (n *Network) applyProtected(link netlink.Link, policed bool) (changed bool, err error) {
	if !policed {
		return n.clearProtected()
	}
	for _, family := range families() {
		list, err := n.protectedRoutes(family)
		if err != nil {
			return changed, err
		}
		there := false
		for _, r := range list {
			if r.LinkIndex == link.Attrs().Index && isDefault(r) && r.Type == unix.RTN_UNICAST {
				there = true
				continue
			}
			changed = true
			if err := n.handle.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return changed, fmt.Errorf("remove %v: %w", r.Dst, err)
			}
		}
		if there {
			continue
		}
		changed = true
		r := &netlink.Route{Family: family, Dst: ipNet(defaultPrefix(family)), Table: n.config.Table + 1, LinkIndex: link.Attrs().Index,
			Type: unix.RTN_UNICAST, Protocol: unix.RTPROT_STATIC, Scope: netlink.SCOPE_UNIVERSE}
		if family == netlink.FAMILY_V4 {
			r.Scope = netlink.SCOPE_LINK
		}
		if err := n.handle.RouteReplace(r); err != nil {
			return changed, fmt.Errorf("add: %w", err)
		}
	}
	return changed, nil
}

func isDefault(r netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

func (n *Network) protectedRoutes(family int) ([]netlink.Route, error) {
	list, err := n.dumps.RouteListFiltered(family, &netlink.Route{Table: n.config.Table + 1}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, unix.ENOENT) { // an empty table is none
		return nil, fmt.Errorf("list: %w", err)
	}
	return list, nil
}

// clearProtected empties the table of what policies protect.
func (n *Network) clearProtected() (changed bool, err error) {
	var errs []error
	for _, family := range families() {
		list, err := n.protectedRoutes(family)
		errs = append(errs, err)
		for _, r := range list {
			changed = true
			if err := n.handle.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				errs = append(errs, fmt.Errorf("remove: %w", err))
			}
		}
	}
	return changed, errors.Join(errs...)
}
