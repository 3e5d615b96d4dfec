package netio

import (
	"context"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// loaded is the guard that we have loaded. Its zero value is one that is not known.
type loaded struct {
	text       string
	generation uint32 // of the ruleset, when the guard was as it should be; never 0
	listing    string // how nft shows it; "" until Repair has looked
}

// load loads the guard, unless it is there. If somebody else changes the ruleset at the same moment, the
// next Repair loads it again.
func (n *Network) load(ctx context.Context, d Desired) error {
	before, err := generation()
	if err != nil {
		return err
	}
	text := guardText(n.config, d)
	if n.guard.text == text && n.guard.generation == before {
		return nil
	}
	n.guard = loaded{}
	if _, err := runNFT(ctx, text, "-f", "-"); err != nil {
		return err
	}
	after, err := generation()
	if err == nil && after == before+1 {
		n.guard.text, n.guard.generation = text, after
	}
	return err
}

// Repair puts back what others took away or changed since Apply: a firewall that flushes every table, a
// person who sets the TUN down. It returns what that was, in words. It costs little when all is well, and
// does nothing before an Apply has succeeded.
func (n *Network) Repair(ctx context.Context) (repaired []string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.applied == nil {
		return nil, nil
	}
	gone, err := n.repairGuard(ctx, *n.applied)
	if err != nil {
		return nil, err
	}
	if gone {
		repaired = append(repaired, "guard")
	}
	changed, err := n.connect(supported(*n.applied))
	return append(repaired, changed...), err
}

// repairGuard says whether it found that the guard was not as it should be.
func (n *Network) repairGuard(ctx context.Context, d Desired) (gone bool, err error) {
	now, err := generation()
	if err != nil {
		return false, err
	}
	untouched, looked := now == n.guard.generation, n.guard.listing != ""
	if untouched && looked {
		return false, nil
	}
	// An error here is what nft says to a table that is not there.
	listing, listErr := listGuard(ctx, n.config)
	switch {
	case untouched && listErr == nil:
		if after, err := generation(); err == nil && after == now {
			n.guard.listing = listing
		}
		return false, nil
	case listErr == nil && listing == n.guard.listing: // others have changed what is theirs
		n.guard.generation = now // of before the listing: what came since is looked at next time
		return false, nil
	}
	return looked || listErr != nil, n.load(ctx, d)
}

// listGuard is how nft shows our tables, without the counters' values.
func listGuard(ctx context.Context, c Config) (string, error) {
	var all string
	for _, family := range []string{"inet", "arp"} { // in one run, nft 1.0.6 finds only the second
		listing, err := runNFT(ctx, "", "-s", "list", "table", family, c.NFTable)
		if err != nil {
			return "", err
		}
		all += string(listing)
	}
	return all, nil
}

// connect makes device, routes and rules what d says, and tells what it changed.
func (n *Network) connect(d Desired) (changed []string, err error) {
	link, err := n.handle.LinkByName(n.config.TUNName)
	if err != nil {
		return nil, fmt.Errorf("netio: TUN %s: %w", n.config.TUNName, err)
	}
	note := func(what string, done bool, err error) error {
		if done {
			changed = append(changed, what)
		}
		if err != nil {
			return fmt.Errorf("netio: %s: %w", what, err)
		}
		return nil
	}
	resized := n.applySuperSize(link, d.policed())
	done, err := n.applyLink(link, d)
	done = done || resized
	if err := note("TUN "+n.config.TUNName, done, err); err != nil {
		return changed, err
	}
	done, err = n.applyRoutes(link, d)
	if err := note(fmt.Sprintf("route table %d", n.config.Table), done, err); err != nil {
		return changed, err
	}
	done, err = n.applyProtected(link, d.policed())
	if err := note(fmt.Sprintf("route table %d", n.config.Table+1), done, err); err != nil {
		return changed, err
	}
	done, err = n.applyRules(d.policed())
	return changed, note(fmt.Sprintf("rule %d", n.config.Preference), done, err)
}

func isUp(link netlink.Link) bool { return link.Attrs().Flags&net.FlagUp != 0 }
