package plan

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Host is what the planner knows of one host. The world keeps its maps and slices: they must not be
// written after SetHost.
type Host struct {
	UID      UID
	Name     string
	Revision int64 // store revision of the spec: when an operator last changed the host
	Labels   map[string]string

	Addresses   []netip.Addr   // overlay addresses
	Subnets     []netip.Prefix // behind the host
	RekeyBefore time.Time      // generations made before are replaced; zero for none

	Endpoints []netip.AddrPort // where the operator says that the host is reached; port 0: ESPPort
	Observed  netip.Addr       // where the controller sees it
	Underlay  []netip.Addr     // what the host says it has
	ESPPort   uint16           // UDP port of ESP; 0: 4500
	BehindNAT bool             // Observed is not one of the host's own

	Epoch Epoch     // the one life of the agent that may be given keys
	Live  bool      // the Sync stream of that epoch is open
	Since time.Time // when the stream last opened or closed; zero if never
}

// equal reports whether nothing changed.
func (h *Host) equal(o *Host) bool {
	return h.UID == o.UID && h.Name == o.Name && h.Revision == o.Revision &&
		maps.Equal(h.Labels, o.Labels) &&
		slices.Equal(h.Addresses, o.Addresses) && slices.Equal(h.Subnets, o.Subnets) &&
		h.RekeyBefore.Equal(o.RekeyBefore) &&
		slices.Equal(h.Endpoints, o.Endpoints) && h.Observed == o.Observed &&
		slices.Equal(h.Underlay, o.Underlay) && h.ESPPort == o.ESPPort && h.BehindNAT == o.BehindNAT &&
		h.Epoch == o.Epoch && h.Live == o.Live && h.Since.Equal(o.Since)
}
