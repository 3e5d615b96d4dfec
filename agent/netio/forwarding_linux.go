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
	for is4, sysctl := range forwardingSysctls() {
		concerned := slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Addr().Is4() == is4 })
		if concerned && !isOn(sysctl) {
			sysctls = append(sysctls, sysctl)
		}
	}
	slices.Sort(sysctls)
	return sysctls
}

// forwards says whether this host is a router, for one family at least.
func forwards() bool {
	for _, sysctl := range forwardingSysctls() {
		if isOn(sysctl) {
			return true
		}
	}
	return false
}

// forwardingSysctls are those of IPv4 (true) and IPv6.
func forwardingSysctls() map[bool]string {
	return map[bool]string{true: "net.ipv4.ip_forward", false: "net.ipv6.conf.all.forwarding"}
}

func isOn(sysctl string) bool {
	value, _ := os.ReadFile("/proc/sys/" + strings.ReplaceAll(sysctl, ".", "/"))
	return strings.TrimSpace(string(value)) == "1"
}
