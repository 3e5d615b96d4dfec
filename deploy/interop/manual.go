//go:build linux

package interop

import (
	"fmt"
	"net/netip"
	"strings"
)

// Manual is the agent's file of keying mode manual for the cases at our end. What no case takes bypasses.
func Manual(cases []Keyed) string {
	var b strings.Builder
	b.WriteString("insecure: true\ndefault: bypass\npolicies:\n")
	for _, c := range cases {
		c.manual(&b)
	}
	return b.String()
}

func (k Keyed) manual(b *strings.Builder) {
	host := func(e End) string {
		a := k.Address(e)
		return netip.PrefixFrom(a, a.BitLen()).String()
	}
	remote := k.OuterAddress(Theirs).String()
	if k.Encapsulation == UDP {
		remote = netip.AddrPortFrom(k.OuterAddress(Theirs), port4500).String()
	}
	fmt.Fprintf(b, `  - name: case-%04d # %v
    action: protect
    local: [%q]
    remote: [%q]
    mode: %v
    protocol: %v
    proposal: %s
    esn: %v
    encapsulation: %v
    local-address: %q
    remote-address: %q
    replay-window: %d
`, k.Number, k.Case, host(Ours), host(Theirs), k.Mode, k.Protocol, k.Transform(), k.ESN, k.Encapsulation,
		k.OuterAddress(Ours).String(), remote, k.window())
	if k.alignable() {
		fmt.Fprintf(b, "    ah-align: %d\n", map[bool]int{false: 4, true: 8}[k.Align8])
	}
	fmt.Fprintf(b, "    in: {spi: %#x, key: \"0x%x\"}\n    out: {spi: %#x, key: \"0x%x\"}\n",
		k.SPI[Ours], k.Key[Ours], k.SPI[Theirs], k.Key[Theirs])
}
