package netio

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Routes asks the kernel how packets with our mark leave, in the network namespace that it was made in. Its methods
// may be called concurrently.
type Routes struct {
	handle *netlink.Handle
	mark   uint32
}

// OpenRoutes opens a netlink socket.
func OpenRoutes(mark uint32) (*Routes, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netio: netlink: %w", err)
	}
	return &Routes{handle: handle, mark: mark}, nil
}

// Close closes the netlink socket.
func (r *Routes) Close() { r.handle.Close() }

// PathTo returns the address of ours from which packets to remote leave, and the largest packet that the route, or
// else its link, is configured to take, in bytes. What ICMP has told the kernel about the path is left out: the
// kernel believes it more easily than RFC 4301 section 8.2.1 allows.
func (r *Routes) PathTo(remote netip.Addr) (local netip.Addr, mtu int, err error) {
	chosen, err := r.get(remote, false)
	if err != nil {
		return netip.Addr{}, 0, err
	}
	local, _ = netip.AddrFromSlice(chosen.Src)
	if configured, err := r.get(remote, true); err == nil && configured.MTU > 0 {
		return local.Unmap(), configured.MTU, nil
	}
	link, err := r.handle.LinkByIndex(chosen.LinkIndex)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("netio: link to %v: %w", remote, err)
	}
	return local.Unmap(), link.Attrs().MTU, nil
}

func (r *Routes) get(remote netip.Addr, fibMatch bool) (netlink.Route, error) {
	routes, err := r.handle.RouteGetWithOptions(remote.AsSlice(), &netlink.RouteGetOptions{Mark: r.mark, FIBMatch: fibMatch})
	if err != nil {
		return netlink.Route{}, fmt.Errorf("netio: route to %v: %w", remote, err)
	}
	if len(routes) == 0 {
		return netlink.Route{}, fmt.Errorf("netio: there is no route to %v", remote)
	}
	return routes[0], nil
}
