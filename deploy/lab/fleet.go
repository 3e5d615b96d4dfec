//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// MeshPolicy is a policy that lets every host talk to every other.
const MeshPolicy = `kind: Policy
metadata:
  name: mesh
spec:
  hosts: "*"
`

// Apply writes a manifest into the lab's directory and applies it.
func (l *Lab) Apply(ctx context.Context, name, manifest string) (string, error) {
	file := l.Path(name + ".yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	return l.CLI(ctx, "apply", "-f", file)
}

// Overlay is the overlay addresses of host i, IPv4 then IPv6.
func (l *Lab) Overlay(ctx context.Context, i int) ([]netip.Addr, error) {
	out, err := l.CLICommand(ctx, "get", "hosts", HostName(i), "-o", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("lab: get host %s: %w: %s", HostName(i), err, out)
	}
	var resource struct {
		Host struct {
			Status struct {
				Addresses []string `json:"addresses"`
			} `json:"status"`
		} `json:"host"`
	}
	if err := json.Unmarshal(out, &resource); err != nil {
		return nil, fmt.Errorf("lab: get host %s: %w: %s", HostName(i), err, out)
	}
	var addrs []netip.Addr
	for _, s := range resource.Host.Status.Addresses {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("lab: host %s: %w", HostName(i), err)
		}
		addrs = append(addrs, a)
	}
	if len(addrs) != 2 {
		return nil, fmt.Errorf("lab: host %s has the addresses %v; want one of each family", HostName(i), addrs)
	}
	return addrs, nil
}

// SA is one security association, as the controller tells it.
type SA struct {
	Source, Destination, Phase string
	SPI                        uint32
	Generation                 uint32
}

// SAs lists the fleet's security associations.
func (l *Lab) SAs(ctx context.Context) ([]SA, error) {
	out, err := l.CLICommand(ctx, "get", "sas", "-o", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("lab: get sas: %w: %s", err, out)
	}
	var list struct {
		Resources []struct {
			SecurityAssociation struct {
				Status SA `json:"status"`
			} `json:"securityAssociation"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("lab: get sas: %w", err)
	}
	var sas []SA
	for _, r := range list.Resources {
		sas = append(sas, r.SecurityAssociation.Status)
	}
	return sas, nil
}

// SPIs maps "source>destination" to the SPI of the newest established association.
func (l *Lab) SPIs(ctx context.Context) (map[string]uint32, error) {
	sas, err := l.SAs(ctx)
	if err != nil {
		return nil, err
	}
	spis, generations := map[string]uint32{}, map[string]uint32{}
	for _, sa := range sas {
		key := sa.Source + ">" + sa.Destination
		if sa.Phase == "established" && sa.Generation > generations[key] {
			spis[key], generations[key] = sa.SPI, sa.Generation
		}
	}
	return spis, nil
}

// PingAll pings from every host to every other over both families, count times each.
func (l *Lab) PingAll(ctx context.Context, count int) (Pings, error) {
	var all Pings
	var failed []string
	for i := 1; i <= l.state.Config.Hosts; i++ {
		addrs, err := l.Overlay(ctx, i)
		if err != nil {
			return all, err
		}
		for j := 1; j <= l.state.Config.Hosts; j++ {
			if i == j {
				continue
			}
			for _, addr := range addrs {
				p, err := l.Ping(ctx, HostName(j), addr, count)
				if err != nil {
					return all, err
				}
				if p.Lost() > 0 {
					failed = append(failed, fmt.Sprintf("%s to %s (%s): %v", HostName(j), HostName(i), addr, p))
				}
				all.Sent, all.Received = all.Sent+p.Sent, all.Received+p.Received
			}
		}
	}
	if len(failed) > 0 {
		return all, fmt.Errorf("lab: lost pings: %s", strings.Join(failed, "; "))
	}
	return all, nil
}
