package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/uplink"
)

// resolveTime bounds the look-up of the controllers' names.
const resolveTime = 2 * time.Second

// installer carries out what the controller says. The guard comes before whatever it guards: a prefix
// is protected in the kernel before the datapath takes its traffic, and after it has stopped to.
type installer struct {
	*datapath.Datapath
	ctx         context.Context
	network     *netio.Network
	controllers []string

	mu      sync.Mutex
	config  uplink.HostConfig
	remotes map[datapath.PairID][]netip.Prefix
}

var _ uplink.Installer = (*installer)(nil)

func newInstaller(ctx context.Context, n *netio.Network, d *datapath.Datapath, controllers []string) *installer {
	return &installer{Datapath: d, ctx: ctx, network: n, controllers: controllers, remotes: make(map[datapath.PairID][]netip.Prefix)}
}

// Configure replaces the host's addresses, pools and subnets.
func (i *installer) Configure(c uplink.HostConfig) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.network.SetMTU(c.MTU); err != nil {
		return err
	}
	i.config = c
	return i.apply()
}

// SetPairs guards the pairs' prefixes, then lets the datapath protect them.
func (i *installer) SetPairs(pairs ...datapath.Pair) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := maps.Clone(i.remotes)
	for _, p := range pairs {
		i.remotes[p.ID] = prefixes(p.Remote)
	}
	if err := i.apply(); err != nil {
		i.remotes = before
		return err
	}
	return i.Datapath.SetPairs(pairs...)
}

// RemovePair stops the pair's traffic, then gives up its guard.
func (i *installer) RemovePair(id datapath.PairID) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.Datapath.RemovePair(id); err != nil {
		return err
	}
	delete(i.remotes, id)
	return i.apply()
}

// InstallInbound installs a receiving SA.
func (i *installer) InstallInbound(sa datapath.SA) error {
	exportKey(sa)
	return i.Datapath.InstallInbound(sa)
}

// apply makes the system equal to what is known.
func (i *installer) apply() error {
	d := netio.Desired{
		Addresses: i.config.Addresses, Pools: i.config.Pools, Subnets: i.config.Subnets,
		Remote: i.remote(), Uplink: i.endpoints(),
	}
	if err := i.network.Apply(i.ctx, d); err != nil {
		return fmt.Errorf("install routes and rules: %w", err)
	}
	return nil
}

// remote is every pair's prefixes, once each.
func (i *installer) remote() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range i.remotes {
		all = append(all, p...)
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// endpoints are the controllers' addresses. A name that cannot be resolved is left out: it is looked up
// again with the next change.
func (i *installer) endpoints() []netip.AddrPort {
	ctx, cancel := context.WithTimeout(i.ctx, resolveTime)
	defer cancel()
	var out []netip.AddrPort
	for _, c := range i.controllers {
		host, service, err := net.SplitHostPort(c)
		if err != nil {
			continue
		}
		port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
		if err != nil {
			continue
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			continue
		}
		for _, a := range addrs {
			out = append(out, netip.AddrPortFrom(a.Unmap(), uint16(port)))
		}
	}
	return out
}

func (i *installer) pools() []netip.Prefix {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.config.Pools
}

func prefixes(selectors []datapath.Selector) []netip.Prefix {
	out := make([]netip.Prefix, len(selectors))
	for n, s := range selectors {
		out[n] = s.Prefix
	}
	return out
}
