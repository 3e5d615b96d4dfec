package netio

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// option is one socket option.
type option struct {
	name         string
	level, which int
	value        int
}

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.which, o.value); err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return nil
}

// setUDPOptions prepares a socket before it is bound.
func setUDPOptions(fd int, is6, main bool, o UDPOptions) error {
	if o.Mark != 0 {
		if err := setOptions(fd, []option{{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, int(o.Mark)}}); err != nil {
			return err
		}
	}
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)
	if main {
		setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
		if err := setOptions(fd, []option{{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}}); err != nil {
			return err
		}
	} else if err := dropAll(fd); err != nil {
		return err
	}
	options := udpOptions4(main, o)
	if is6 {
		options = udpOptions6(main)
		// Send from an address that UnderlayAddresses tells, so that a stateful firewall at the
		// other end knows our packets. Without the option it is still right, but for such firewalls.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_ADDR_PREFERENCES, preferPublic)
	}
	return setOptions(fd, options)
}

func udpOptions4(main bool, o UDPOptions) []option {
	options := []option{{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT}}
	if main {
		options = []option{
			{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE},
			{"IP_RECVERR", unix.IPPROTO_IP, unix.IP_RECVERR, 1},
			{"IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, 1},
			{"IP_RECVTOS", unix.IPPROTO_IP, unix.IP_RECVTOS, 1},
			{"IP_RECVTTL", unix.IPPROTO_IP, unix.IP_RECVTTL, 1},
		}
	}
	if o.NoChecksum {
		options = append(options, option{"SO_NO_CHECK", unix.SOL_SOCKET, unix.SO_NO_CHECK, 1})
	}
	return options
}

func udpOptions6(main bool) []option {
	only := option{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1}
	if !main {
		return []option{only, {"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT}}
	}
	return []option{only,
		{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE},
		{"IPV6_RECVERR", unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1},
		{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
		{"IPV6_RECVTCLASS", unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1},
		{"IPV6_RECVHOPLIMIT", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
		// What a peer sends with a zero checksum is taken: the ICV covers it (RFC 6935).
		{"UDP_NO_CHECK6_RX", unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_RX, 1},
	}
}

// setBuffer asks for a large buffer. Without CAP_NET_ADMIN net.core.rmem_max bounds it, which costs
// speed and nothing else, so errors are not reported.
func setBuffer(fd, force, plain int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, socketBuffer)
	}
}

// dropAll is a filter with which a socket receives nothing.
func dropAll(fd int) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil {
		return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	return nil
}
