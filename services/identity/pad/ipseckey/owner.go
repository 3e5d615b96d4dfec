package ipseckey

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrName: an identity has no name in DNS.
var ErrName = errors.New("no name in DNS")

// OwnerOfName returns the owner of a host name's record: lower case, without the final dot. Letters,
// digits, '-' and '_' are allowed, and two labels at least: a single one could be searched for, or be a
// top-level domain. Error: ErrName.
func OwnerOfName(fqdn string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(fqdn, "."))
	labels := strings.Split(name, ".")
	if len(name) > 253 || len(labels) < 2 {
		return "", fmt.Errorf("%w: %q needs two labels or more, and at most 253 characters", ErrName, fqdn)
	}
	for _, l := range labels {
		if !isLabel(l) {
			return "", fmt.Errorf("%w: %q has the label %q", ErrName, fqdn, l)
		}
	}
	return name, nil
}

// OwnerOfAddr returns the name below in-addr.arpa or ip6.arpa, RFC 1035 section 3.5 and RFC 3596 section 2.5.
// Error: ErrName.
func OwnerOfAddr(a netip.Addr) (string, error) {
	if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
		return "", fmt.Errorf("%w: address %v", ErrName, a)
	}
	var b strings.Builder
	raw := a.AsSlice()
	for i := len(raw) - 1; i >= 0; i-- {
		if a.Is4() {
			fmt.Fprintf(&b, "%d.", raw[i])
		} else {
			fmt.Fprintf(&b, "%x.%x.", raw[i]&15, raw[i]>>4)
		}
	}
	if a.Is4() {
		return b.String() + "in-addr.arpa", nil
	}
	return b.String() + "ip6.arpa", nil
}

func appendName(b []byte, name string) ([]byte, error) {
	if name != "" {
		for l := range strings.SplitSeq(name, ".") {
			if !isLabel(l) {
				return nil, fmt.Errorf("%w: name %q", ErrRecord, name)
			}
			b = append(append(b, uint8(len(l))), strings.ToLower(l)...)
		}
	}
	return append(b, 0), nil
}
