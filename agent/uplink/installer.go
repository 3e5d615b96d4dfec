package uplink

import (
	"net/netip"

	"sallyport.dev/sallyport/agent/datapath"
)

// HostConfig is what this host is in the fleet.
type HostConfig struct {
	// Addresses are the host's overlay addresses, at most one of each family.
	Addresses []netip.Addr
	// Pools are the fleet's overlay prefixes: whatever goes there is protected or dropped.
	Pools []netip.Prefix
	// Subnets are the prefixes behind this host.
	Subnets []netip.Prefix
	// BehindNAT is the controller's opinion.
	BehindNAT bool
	// MTU is the largest inner packet, bytes.
	MTU int
}

// ManualInstaller installs associations whose keys an operator gave. Such a key outlives this process, so its
// sequence numbers must be reserved on disk before they are used: they belong to the key, whatever the id of
// the association, since the same key comes again under another id when something else of it changes.
type ManualInstaller interface {
	// InstallManual is Installer's InstallInbound or InstallOutbound. It sets Sequence and Ceiling of what is
	// outbound. The key is cleared after the call. RemoveInbound and RemoveOutbound delete such an
	// association too.
	InstallManual(sa datapath.SA, inbound bool) error
}

// Installer carries out what the controller says. Calls never overlap. Each method may be called
// again with what is already there; errors are those of package datapath.
type Installer interface {
	// Configure replaces the host's configuration.
	Configure(HostConfig) error
	// SetPairs adds or changes pairs: all or none.
	SetPairs(...datapath.Pair) error
	// RemovePair removes a pair and every SA that it still has.
	RemovePair(datapath.PairID) error
	// Synced says that every pair and association that the controller wants here has been sent.
	Synced() error
	// InstallInbound installs a receiving SA. The key is cleared after the call.
	InstallInbound(datapath.SA) error
	// InstallOutbound installs a sending SA. The key is cleared after the call.
	InstallOutbound(datapath.SA) error
	// RemoveInbound deletes a receiving SA.
	RemoveInbound(datapath.SAID) error
	// RemoveOutbound deletes a sending SA.
	RemoveOutbound(datapath.SAID) error
}
