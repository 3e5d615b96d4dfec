package netio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// srcValidMarkPath makes the reverse path check of IPv4 use a packet's mark.
const srcValidMarkPath = "/proc/sys/net/ipv4/conf/all/src_valid_mark"

// addrGenNone keeps the kernel from making up IPv6 link-local addresses (IN6_ADDR_GEN_MODE_NONE).
const addrGenNone = 1

// Network installs addresses, routes, rules and the guard in the network namespace it was made in.
type Network struct {
	config Config
	handle *netlink.Handle
	dumps  *netlink.Handle // has the kernel filter by route table, where it can

	mu           sync.Mutex
	srcValidMark string   // value to restore, as in state
	guard        loaded   // by us
	applied      *Desired // nil: not known, or not all of it
}

// NewNetwork checks c and opens a netlink socket. It installs nothing.
func NewNetwork(c Config) (*Network, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.StateDir == "" {
		return nil, errors.New("netio: no state directory: the guard could not be restored at boot")
	}
	n := &Network{config: c}
	old, err := loadState(c.StateDir)
	if err == nil && old != nil {
		n.srcValidMark = old.SrcValidMark
	} // a damaged file is written anew by Apply
	return n, n.open()
}

// open opens the netlink sockets. A router may have a million routes in other tables than ours: with
// NETLINK_GET_STRICT_CHK (Linux 4.20) the kernel leaves them out of the answer.
func (n *Network) open() (err error) {
	if n.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netio: netlink: %w", err)
	}
	if n.dumps, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		n.handle.Close()
		return fmt.Errorf("netio: netlink: %w", err)
	}
	_ = n.dumps.SetStrictCheck(true)
	return nil
}

// Close closes the netlink sockets. What was applied stays.
func (n *Network) Close() {
	n.handle.Close()
	n.dumps.Close()
}

// Apply makes the system equal to d. It may be called again and again, with the same or another d: only
// differences are touched. The guard comes first, so that at no time a packet can leave in clear that d
// protects; a failure later on leaves the guard in place. The TUN must exist.
func (n *Network) Apply(ctx context.Context, d Desired) error {
	d, err := d.normal()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.applied = nil
	if err := n.applyGuard(ctx, d); err != nil {
		return err
	}
	if _, err := n.connect(supported(d)); err != nil {
		return err
	}
	n.applied = &d
	return nil
}

// applyGuard saves before it loads: what is guarded now is guarded after a reboot.
func (n *Network) applyGuard(ctx context.Context, d Desired) error {
	if err := n.setSrcValidMark(); err != nil {
		return err
	}
	if err := newState(n.config, d, n.srcValidMark).save(n.config.StateDir); err != nil {
		return err
	}
	return n.load(ctx, d)
}

// supported is d without IPv6 on a kernel that has none (ipv6.disable=1): there is nothing to configure.
// The guard is loaded whole all the same: at boot IPv6 may be a module that comes later.
func supported(d Desired) Desired {
	if HasIPv6() {
		return d
	}
	return d.onlyIPv4()
}

func (n *Network) setSrcValidMark() error {
	was, err := os.ReadFile(srcValidMarkPath)
	if err != nil {
		return fmt.Errorf("netio: sysctl src_valid_mark: %w", err)
	}
	value := strings.TrimSpace(string(was))
	if value == "1" {
		return nil
	}
	if err := os.WriteFile(srcValidMarkPath, []byte("1"), 0); err != nil {
		return fmt.Errorf("netio: sysctl src_valid_mark: %w: strict rp_filter would drop our packets; "+
			"set net.ipv4.conf.all.src_valid_mark=1 yourself if /proc/sys is read-only", err)
	}
	n.srcValidMark = value
	return nil
}

// applyLink says whether there was anything to do.
func (n *Network) applyLink(link netlink.Link, d Desired) (changed bool, err error) {
	have, err := n.overlayAddresses(link)
	if err != nil {
		return false, err
	}
	add, remove := difference(d.Addresses, have)
	if isUp(link) && len(add)+len(remove) == 0 {
		return false, nil
	}
	if HasIPv6() {
		if err := n.prepareIPv6(link); err != nil {
			return false, err
		}
	}
	for _, a := range remove {
		if err := n.handle.AddrDel(link, netlinkAddr(a)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return true, fmt.Errorf("remove address %v: %w", a, err)
		}
	}
	for _, a := range add {
		if err := n.handle.AddrReplace(link, netlinkAddr(a)); err != nil {
			return true, fmt.Errorf("add address %v: %w", a, err)
		}
	}
	return true, n.handle.LinkSetUp(link)
}

// prepareIPv6 enables IPv6 on the TUN also where the host has it disabled by default: only the overlay is
// reached through it.
func (n *Network) prepareIPv6(link netlink.Link) error {
	path := "/proc/sys/net/ipv6/conf/" + n.config.TUNName + "/disable_ipv6"
	was, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(was)) != "0" {
		err = os.WriteFile(path, []byte("0"), 0)
	}
	if err != nil {
		return fmt.Errorf("enable IPv6: %w", err)
	}
	if err := n.handle.LinkSetIP6AddrGenMode(link, addrGenNone); err != nil {
		return fmt.Errorf("address generation: %w", err)
	}
	return nil
}

// HasIPv6 says whether the kernel has IPv6 at all. Where it has not, Apply leaves its addresses and routes
// out.
func HasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6/conf/all")
	return err == nil
}

// overlayAddresses are the addresses on the TUN, all of which are ours.
func (n *Network) overlayAddresses(link netlink.Link) ([]netip.Addr, error) {
	list, err := n.handle.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && !addr.IsLinkLocalUnicast() {
			out = append(out, addr.Unmap())
		}
	}
	return out, nil
}

func netlinkAddr(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, a.BitLen())), Flags: unix.IFA_F_NODAD}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func families() []int {
	if HasIPv6() {
		return []int{netlink.FAMILY_V4, netlink.FAMILY_V6}
	}
	return []int{netlink.FAMILY_V4}
}
