package netio

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Cleanup removes all that an agent with this configuration installed, whether that agent still knows
// or was killed: rules, routes, the TUN if it was left over, the guard, the saved state. It goes on
// after an error and returns all of them. The guard goes last: what fails before leaves it.
//
// A saved state wins over c where they differ: it tells what was really installed.
func Cleanup(ctx context.Context, c Config) error {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return err
	}
	srcValidMark := ""
	if saved, err := loadState(c.StateDir); err == nil && saved != nil {
		c, srcValidMark = saved.config(c.StateDir), saved.SrcValidMark
	}
	n := &Network{config: c}
	if err := n.open(); err != nil {
		return err
	}
	defer n.Close()
	if err := errors.Join(n.removeRules(), n.removeRoutes(), n.removeLink()); err != nil {
		return fmt.Errorf("netio: cleanup (the guard stays): %w", err)
	}
	if srcValidMark != "" {
		if err := os.WriteFile(srcValidMarkPath, []byte(srcValidMark), 0); err != nil {
			return fmt.Errorf("netio: cleanup (the guard stays): %w", err)
		}
	}
	if err := removeGuard(ctx, c); err != nil {
		return err
	}
	return removeState(c.StateDir)
}

func (n *Network) removeRules() error {
	var errs []error
	for _, family := range families() {
		rules, err := n.rules(family)
		errs = append(errs, err)
		for _, r := range rules {
			if err := n.handle.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("rule %d: %w", r.Priority, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (n *Network) removeRoutes() error {
	routes, err := n.routes(0)
	errs := []error{err}
	for _, r := range routes {
		if err := n.handle.RouteDel(&r.raw); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("route %v: %w", r.raw.Dst, err))
		}
	}
	_, err = n.clearProtected()
	return errors.Join(append(errs, err)...)
}

// removeLink removes a TUN of our name, not just any device. One that a living agent holds goes too:
// the agent then ends with an error.
func (n *Network) removeLink() error {
	link, err := n.handle.LinkByName(n.config.TUNName)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("TUN %s: %w", n.config.TUNName, err)
	}
	if link.Type() != "tuntap" && link.Type() != "tun" {
		return fmt.Errorf("device %s is a %s, not our TUN: left alone", n.config.TUNName, link.Type())
	}
	if err := n.handle.LinkDel(link); err != nil {
		return fmt.Errorf("TUN %s: %w", n.config.TUNName, err)
	}
	return nil
}
