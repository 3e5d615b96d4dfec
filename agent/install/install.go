// Package install carries out what the controller says on this host: the datapath gets pairs and
// associations, the network gets addresses, routes and the guard, always in an order in which nothing
// protected can leave in clear.
//
//	grow:    guard and routes ──▶ pair ──▶ inbound SA ──▶ outbound SA
//	shrink:  outbound SA ──▶ inbound SA ──▶ pair ──▶ routes and guard
//
// What the last life of the agent guarded stays guarded until the controller has sent everything: a
// restart opens no gap.
package install

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/uplink"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// Datapath carries packets; a *datapath.Datapath.
type Datapath interface {
	SetPairs(...datapath.Pair) error
	RemovePair(datapath.PairID) error
	InstallInbound(datapath.SA) error
	InstallOutbound(datapath.SA) error
	RemoveInbound(datapath.SAID) error
	RemoveOutbound(datapath.SAID) error
}

// Network has addresses, routes and the guard; a *netio.Network.
type Network interface {
	// Apply makes the system equal to what is desired.
	Apply(context.Context, netio.Desired) error
	// Repair puts back what others have changed since, and says what that was.
	Repair(context.Context) ([]string, error)
	// SetMTU sets the TUN's largest packet, bytes.
	SetMTU(int) error
}

// Config is what New needs.
type Config struct {
	Datapath Datapath
	Network  Network
	// Saved is what the last life of the agent had applied.
	Saved netio.Desired
	// FixedMTU keeps the TUN's MTU whatever the controller says.
	FixedMTU bool
	Log      *slog.Logger
}

// Installer implements uplink.Installer. Its embedded datapath installs and removes associations.
type Installer struct {
	Datapath
	ctx    context.Context
	config Config

	mu      sync.Mutex
	host    uplink.HostConfig
	pairs   map[datapath.PairID]guarded
	uplinks []netip.AddrPort
	// inherited is what the last life guarded; it stays guarded until Synced.
	inherited guarded
	applied   *netio.Desired // nil: not known
}

// guarded is what the system guards, and takes to the TUN, for a pair: the prefixes behind a host of the fleet by
// routes; what an entry with a place in the SPD protects by policies.
type guarded struct {
	remote   []netip.Prefix
	policies []policy
}

type policy struct {
	order uint32 // from 0
	netio.Policy
}

// guardedBy is what a pair needs. An end that is not of the fleet has no addresses that are its alone, so what is
// protected with it is told by all selectors; entries without a place come last.
func guardedBy(p datapath.Pair) guarded {
	switch {
	case p.Order == 0 && !p.Path.Foreign:
		return guarded{remote: remotePrefixes(p)}
	case len(p.Local) == 0 || len(p.Remote) == 0:
		return guarded{} // the datapath refuses it
	}
	return guarded{policies: []policy{{p.Order - 1, netio.Policy{Action: spd.Protect, Local: p.Local, Remote: p.Remote}}}}
}

// and is what both guard.
func (g guarded) and(h guarded) guarded {
	return guarded{remote: slices.Concat(g.remote, h.remote), policies: slices.Concat(g.policies, h.policies)}
}

// New makes an installer; its changes of the system are given up when ctx ends.
func New(ctx context.Context, c Config) (*Installer, error) {
	if c.Datapath == nil || c.Network == nil {
		return nil, errors.New("install: no datapath or no network")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Installer{
		Datapath: c.Datapath, ctx: ctx, config: c, pairs: make(map[datapath.PairID]guarded),
		host:      uplink.HostConfig{Addresses: c.Saved.Addresses, Pools: c.Saved.Pools, Subnets: c.Saved.Subnets},
		inherited: inherited(c.Saved), uplinks: c.Saved.Uplink,
	}, nil
}

// inherited are the saved prefixes and policies, in the order that they had.
func inherited(d netio.Desired) guarded {
	g := guarded{remote: d.Remote}
	for i, p := range d.Policies {
		g.policies = append(g.policies, policy{uint32(i), p})
	}
	return g
}

// Start applies what the last life had, with the pairs' prefixes leading nowhere yet.
func (i *Installer) Start() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.apply()
}

// Configure implements uplink.Installer.
func (i *Installer) Configure(c uplink.HostConfig) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.host
	i.host = c
	if err := i.apply(); err != nil {
		i.host = before
		return err
	}
	if i.config.FixedMTU || c.MTU == 0 {
		return nil
	}
	return i.config.Network.SetMTU(c.MTU)
}

// SetUplinks says where the controllers are: TCP to there is never taken into the tunnel.
func (i *Installer) SetUplinks(endpoints []netip.AddrPort) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.uplinks = endpoints
	return i.apply()
}

// Pools are the fleet's overlay prefixes.
func (i *Installer) Pools() []netip.Prefix {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.host.Pools
}

// SetPairs implements uplink.Installer. While a pair changes, both what it was and what it becomes are
// guarded.
func (i *Installer) SetPairs(pairs ...datapath.Pair) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := make(map[datapath.PairID]guarded)
	after := make(map[datapath.PairID]guarded)
	for _, p := range pairs {
		if old, held := i.pairs[p.ID]; held {
			before[p.ID] = old
		}
		after[p.ID] = guardedBy(p)
	}
	for id, g := range after {
		i.pairs[id] = before[id].and(g)
	}
	err := i.apply()
	if err == nil {
		err = i.Datapath.SetPairs(pairs...)
	}
	for id := range after {
		if old, held := before[id]; err == nil {
			i.pairs[id] = after[id]
		} else if held {
			i.pairs[id] = old
		} else {
			delete(i.pairs, id)
		}
	}
	return errors.Join(err, i.apply())
}

// RemovePair implements uplink.Installer. The system follows with Synced, or the next change: hundreds of
// pairs may go at once, and what is guarded too long does no harm.
func (i *Installer) RemovePair(id datapath.PairID) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.Datapath.RemovePair(id); err != nil && !errors.Is(err, datapath.ErrNoPair) {
		return err
	}
	delete(i.pairs, id)
	return nil
}

// Synced implements uplink.Installer: what is not wanted by now was wanted in the last life only.
func (i *Installer) Synced() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.inherited = guarded{}
	return i.apply()
}

// Repair puts back what others have changed on this host, and says what that was. It tries again what has
// failed.
func (i *Installer) Repair() ([]string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.apply(); err != nil {
		return nil, err
	}
	return i.config.Network.Repair(i.ctx)
}

// desired is the whole of what the system shall be; the caller holds mu.
func (i *Installer) desired() netio.Desired {
	d := netio.Desired{Addresses: i.host.Addresses, Pools: i.host.Pools, Subnets: i.host.Subnets, Uplink: i.uplinks}
	remote, policies := slices.Clone(i.inherited.remote), slices.Clone(i.inherited.policies)
	for _, g := range i.pairs {
		remote, policies = append(remote, g.remote...), append(policies, g.policies...)
	}
	slices.SortFunc(remote, netip.Prefix.Compare)
	d.Remote = slices.Compact(remote)
	d.Policies = inOrder(policies)
	return d
}

// inOrder are the policies by their places; of equal ones the order does not matter, but is always the same.
func inOrder(policies []policy) (out []netio.Policy) {
	slices.SortStableFunc(policies, func(a, b policy) int {
		return cmp.Or(cmp.Compare(a.order, b.order), a.Remote[0].First.Compare(b.Remote[0].First), a.Local[0].First.Compare(b.Local[0].First))
	})
	for _, p := range policies {
		if n := len(out); n == 0 || !out[n-1].Equal(p.Policy) {
			out = append(out, p.Policy)
		}
	}
	return out
}

// apply changes the system if something is different; the caller holds mu.
func (i *Installer) apply() error {
	d := i.desired()
	if i.applied != nil && i.applied.Equal(d) {
		return nil
	}
	i.applied = nil // a failure leaves it half done
	if err := i.config.Network.Apply(i.ctx, d); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	i.applied = &d
	return nil
}

// Addresses are the host's overlay addresses.
func (i *Installer) Addresses() []netip.Addr {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.host.Addresses
}
