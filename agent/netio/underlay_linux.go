package netio

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// UnderlayAddresses lists the addresses under which other hosts might reach this one: global unicast,
// usable, not temporary (RFC 8981), not on the TUN, not on loopback, not in an overlay pool. Sorted.
func (n *Network) UnderlayAddresses(pools []netip.Prefix) ([]netip.Addr, error) {
	links, err := n.handle.LinkList()
	if err != nil {
		return nil, fmt.Errorf("netio: list links: %w", err)
	}
	var out []netip.Addr
	for _, link := range links {
		a := link.Attrs()
		if a.Name == n.config.TUNName || a.RawFlags&unix.IFF_LOOPBACK != 0 || a.RawFlags&unix.IFF_UP == 0 {
			continue
		}
		addrs, err := n.handle.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("netio: list addresses of %s: %w", a.Name, err)
		}
		for _, x := range addrs {
			if addr, ok := underlayAddress(x, pools); ok {
				out = append(out, addr)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

func underlayAddress(x netlink.Addr, pools []netip.Prefix) (netip.Addr, bool) {
	const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED
	addr, ok := netip.AddrFromSlice(x.IP)
	addr = addr.Unmap()
	temporary := addr.Is6() && x.Flags&unix.IFA_F_TEMPORARY != 0 // for IPv4 the bit means "secondary"
	if !ok || temporary || x.Flags&unusable != 0 || !addr.IsGlobalUnicast() {
		return netip.Addr{}, false
	}
	inPool := slices.ContainsFunc(pools, func(p netip.Prefix) bool { return p.Contains(addr) })
	return addr, !inPool
}

// WatchAddresses tells that links, addresses or routes have changed: look again. One signal may stand
// for many changes. It ends, and closes the channel, with ctx.
func WatchAddresses(ctx context.Context) (<-chan struct{}, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR,
		unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netio: watch addresses: %w", err)
	}
	changes := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, s.Close)
	go func() {
		defer stop()
		defer close(changes)
		for {
			// An overrun (ENOBUFS) means that there were changes: that is all we tell.
			_, _, err := s.Receive()
			if ctx.Err() != nil || errors.Is(err, os.ErrClosed) {
				return
			}
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				s.Close()
				return
			}
			select {
			case changes <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return changes, nil
}
