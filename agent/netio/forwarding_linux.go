package netio

import (
	"net/netip"
	"os"
	"slices"
	"strings"
)

// ForwardingOff names the sysctls that must be set to 1 before packets can pass between the TUN and the
// given subnets behind this host; none if all is well. Whether a host is a router is its operator's
// decision, so nothing is set here.
func ForwardingOff(subnets []netip.Prefix) (sysctls []string) {
	for _, f := range []struct {
		is4    bool
		sysctl string
	}{{true, "net.ipv4.ip_forward"}, {false, "net.ipv6.conf.all.forwarding"}} {
		concerned := slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Addr().Is4() == f.is4 })
		value, _ := os.ReadFile("/proc/sys/" + strings.ReplaceAll(f.sysctl, ".", "/"))
		if concerned && strings.TrimSpace(string(value)) != "1" {
			sysctls = append(sysctls, f.sysctl)
		}
	}
	return sysctls
}
