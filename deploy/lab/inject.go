//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
)

// InjectClear sends count echo requests in clear from the underlay to a protected address of host i,
// as an attacker on the link would: routed to the host's underlay address. The sender is taken out of
// the captures' way: what it injects is not what the fleet let out.
func (l *Lab) InjectClear(ctx context.Context, i int, to netip.Addr, count int) (Pings, error) {
	via := HostAddress(i)[0]
	if to.Is6() {
		via = HostAddress(i)[1]
	}
	route := []string{"ip", family(to), "route", "replace", netip.PrefixFrom(to, to.BitLen()).String(), "via", via.String(), "dev", "br0"}
	if _, err := l.Exec(ctx, nodeNet, route...); err != nil {
		return Pings{}, err
	}
	p, err := l.Ping(ctx, nodeNet, to, count)
	route[3] = "del"
	if _, delErr := l.Exec(ctx, nodeNet, route[:5]...); err == nil {
		err = delErr
	}
	return p, err
}

// GuardDrops is how many packets the guard rules of host i have dropped.
func (l *Lab) GuardDrops(ctx context.Context, i int) (int, error) {
	out, err := l.Exec(ctx, HostName(i), "nft", "-j", "list", "counters", "table", "inet", "sallyport")
	if err != nil {
		return 0, err
	}
	var list struct {
		Nftables []struct {
			Counter *struct {
				Packets int `json:"packets"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return 0, fmt.Errorf("lab: nft: %w", err)
	}
	sum := 0
	for _, object := range list.Nftables {
		if object.Counter != nil {
			sum += object.Counter.Packets
		}
	}
	return sum, nil
}
