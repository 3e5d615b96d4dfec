package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Routes asks the kernel how packets with our mark leave, in the network namespace that it was made in. Its methods
// may be called concurrently.
type Routes struct {
	handle *netlink.Handle
	mark   uint32

	mu     sync.Mutex
	v4, v6 int // UDP sockets that are connected to learn the source and send nothing; -1: none
}

// OpenRoutes opens a netlink socket, and a UDP socket of each family.
func OpenRoutes(mark uint32) (*Routes, error) {
	r := &Routes{mark: mark, v4: -1, v6: -1}
	var err error
	if r.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("netio: netlink: %w", err)
	}
	if r.v4, err = openSource(unix.AF_INET, mark); err == nil {
		if r.v6, err = openSource(unix.AF_INET6, mark); noIPv6(err) {
			err = nil
		}
	}
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("netio: UDP socket: %w%s", err, udpAdvice(err))
	}
	return r, nil
}

// openSource opens a socket that chooses its source as UDPSocket does: by mark, and public addresses before
// temporary ones, which netlink's answer does not.
func openSource(family int, mark uint32) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferPublic)
	}
	if mark != 0 {
		if err := setOptions(fd, []option{{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, int(mark)}}); err != nil {
			return -1, errors.Join(err, unix.Close(fd))
		}
	}
	return fd, nil
}

// Close closes the sockets.
func (r *Routes) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handle.Close()
	for _, fd := range []*int{&r.v4, &r.v6} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// PathTo returns the address of ours from which packets to remote leave, and the largest packet that the route, or
// else its link, is configured to take, in bytes. What ICMP has told the kernel about the path is left out: the
// kernel believes it more easily than RFC 4301 section 8.2.1 allows.
func (r *Routes) PathTo(remote netip.Addr) (local netip.Addr, mtu int, err error) {
	chosen, err := r.get(remote, false)
	if err != nil {
		return netip.Addr{}, 0, err
	}
	if local, err = r.source(remote); err != nil {
		return netip.Addr{}, 0, fmt.Errorf("netio: source to %v: %w", remote, err)
	}
	if configured, err := r.get(remote, true); err == nil && configured.MTU > 0 {
		return local, configured.MTU, nil
	}
	link, err := r.handle.LinkByIndex(chosen.LinkIndex)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("netio: link to %v: %w", remote, err)
	}
	return local, link.Attrs().MTU, nil
}

// source connects a socket, which sends nothing, and asks where it is.
func (r *Routes) source(remote netip.Addr) (netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fd, to := r.v6, unix.Sockaddr(&unix.SockaddrInet6{Port: 4500, Addr: remote.As16()})
	if remote.Is4() {
		fd, to = r.v4, &unix.SockaddrInet4{Port: 4500, Addr: remote.As4()}
	}
	if err := disconnect(fd); err != nil {
		return netip.Addr{}, err
	}
	if err := unix.Connect(fd, to); err != nil {
		return netip.Addr{}, err
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}, err
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(at.Addr), nil
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(at.Addr), nil
	}
	return netip.Addr{}, unix.EAFNOSUPPORT
}

// disconnect makes a socket forget its remote and, with it, the local address that was chosen.
func disconnect(fd int) error {
	unspec := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), unsafe.Sizeof(unspec)); errno != 0 {
		return errno
	}
	return nil
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
