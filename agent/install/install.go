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
	pairs   map[datapath.PairID][]netip.Prefix // their remote prefixes
	uplinks []netip.AddrPort
	// inherited are remote prefixes of the last life, guarded until Synced.
	inherited []netip.Prefix
	applied   *netio.Desired // nil: not known
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
		Datapath: c.Datapath, ctx: ctx, config: c, pairs: make(map[datapath.PairID][]netip.Prefix),
		host:      uplink.HostConfig{Addresses: c.Saved.Addresses, Pools: c.Saved.Pools, Subnets: c.Saved.Subnets},
		inherited: c.Saved.Remote, uplinks: c.Saved.Uplink,
	}, nil
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

// SetPairs implements uplink.Installer. While a pair changes, both its old and its new prefixes are
// guarded.
func (i *Installer) SetPairs(pairs ...datapath.Pair) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := make(map[datapath.PairID][]netip.Prefix)
	after := make(map[datapath.PairID][]netip.Prefix)
	for _, p := range pairs {
		if old, held := i.pairs[p.ID]; held {
			before[p.ID] = old
		}
		after[p.ID] = remotePrefixes(p)
	}
	for id, prefixes := range after {
		i.pairs[id] = append(slices.Clone(before[id]), prefixes...)
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
	i.inherited = nil
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
	all := slices.Clone(i.inherited)
	for _, prefixes := range i.pairs {
		all = append(all, prefixes...)
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	d.Remote = slices.Compact(all)
	return d
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
