// Package netio is the agent's meeting with the operating system, and the only OS-specific code:
// the TUN device, the UDP sockets, addresses, routes and rules, and the nftables guard.
//
//	            ┌────────── route table (own) ◀─ rule "not fwmark MARK" ◀─ packets of this host
//	            ▼
//	TUN sally0 ─── agent ─── UDP 4500, SO_MARK = MARK ───▶ main table ───▶ underlay
//	            guard: nothing protected passes the underlay in clear, in either direction
//
// Everything installed is found again by its number or name (route table, rule preference, nftables
// table), so that another process can remove what a killed agent left behind.
package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Defaults of Config.
const (
	DefaultTUNName = "sally0"
	DefaultMTU     = 1400
	DefaultPort    = 4500 // RFC 3948
	DefaultMark    = 0x5a11
	// DefaultProtectMark is that of packets that policies send to the TUN.
	DefaultProtectMark = 0x5a12
	DefaultTable       = 5350
	DefaultPreference  = 5350
	DefaultNFTable     = "sallyport"
)

// Config names what this agent installs. Two agents in one network namespace must differ in all of it.
type Config struct {
	TUNName string // at most 15 bytes
	Port    uint16 // our UDP port; arriving packets for it get Mark
	Mark    uint32 // fwmark of our own outer packets; not zero
	// ProtectMark is the fwmark of packets that policies send to the TUN, and of those that come out of it; not Mark.
	ProtectMark uint32
	Table       int    // route table number, ours alone; with policies the next one too
	Preference  int    // of the rules that look Table up, and with policies of the two before; between 3 and 32765
	NFTable     string // nftables table name, ours alone
	// StateDir holds the saved guard. It must survive a reboot. It holds prefixes, never keys.
	StateDir string
}

// leastPreference leaves room for the rules of policies, and for the local table's.
const leastPreference = 3

// withDefaults fills what is not set.
func (c Config) withDefaults() Config {
	if c.TUNName == "" {
		c.TUNName = DefaultTUNName
	}
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.Mark == 0 {
		c.Mark = DefaultMark
	}
	if c.ProtectMark == 0 {
		c.ProtectMark = c.Mark + 1
	}
	if c.Table == 0 {
		c.Table = DefaultTable
	}
	if c.Preference == 0 {
		c.Preference = DefaultPreference
	}
	if c.NFTable == "" {
		c.NFTable = DefaultNFTable
	}
	return c
}

// Check says what is wrong with c: it would harm tables that are not ours, or be syntax to nft. A zero
// value stands for the default.
func (c Config) Check() error { return c.withDefaults().check() }

// check refuses what would harm tables that are not ours, or text that nft would read as syntax.
func (c Config) check() error {
	switch {
	case !isIdentifier(c.TUNName) || len(c.TUNName) > 15:
		return fmt.Errorf("netio: TUN name %q: want 1 to 15 of A-Z a-z 0-9 _ -, beginning with a letter", c.TUNName)
	case !isIdentifier(c.NFTable):
		return fmt.Errorf("netio: nftables table %q: want A-Z a-z 0-9 _ -, beginning with a letter", c.NFTable)
	case c.Table < 1 || c.Table >= 253 && c.Table <= 255 || c.Table > 1<<31-1:
		return fmt.Errorf("netio: route table %d: 253 to 255 belong to the system", c.Table)
	case c.Table == 252:
		return fmt.Errorf("netio: route table %d: the next one, which policies need, belongs to the system", c.Table)
	case c.Preference < leastPreference || c.Preference > 32765:
		return fmt.Errorf("netio: rule preference %d: want %d to 32765", c.Preference, leastPreference)
	case c.ProtectMark == c.Mark || c.ProtectMark == 0:
		return fmt.Errorf("netio: the mark of protected packets is %#x: want another than that of our own packets, %#x, and not 0", c.ProtectMark, c.Mark)
	}
	return nil
}

func isIdentifier(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		other := r >= '0' && r <= '9' || r == '_' || r == '-'
		if !letter && !(other && i > 0) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// Desired is the whole of what shall be installed.
type Desired struct {
	// Addresses are our own overlay addresses, at most one of each family.
	Addresses []netip.Addr `json:"addresses"`
	// Pools are the fleet's overlay prefixes. What lies in a pool and has no route is unreachable.
	Pools []netip.Prefix `json:"pools"`
	// Subnets are the protected prefixes behind this host.
	Subnets []netip.Prefix `json:"subnets"`
	// Remote are the protected prefixes of the other ends: overlay addresses and subnets.
	Remote []netip.Prefix `json:"remote"`
	// Uplink are the controller's TCP endpoints: reached in clear (mTLS) even if they lie in Remote.
	Uplink []netip.AddrPort `json:"uplink"`
	// Policies are the ordered entries of the SPD; what the first match protects is taken to the TUN, between
	// whatever addresses. What no entry matches is as without them.
	Policies []Policy `json:"policies,omitempty"`
	// DiscardRest discards what no policy matches, as RFC 4301 section 4.4.1 wants it.
	DiscardRest bool `json:"discard_rest,omitempty"`
}

// policed says whether packets have to be looked at one by one.
func (d *Desired) policed() bool { return len(d.Policies) > 0 || d.DiscardRest }

// Equal reports whether d and e are the same.
func (d Desired) Equal(e Desired) bool {
	return slices.Equal(d.Addresses, e.Addresses) && slices.Equal(d.Pools, e.Pools) && slices.Equal(d.Subnets, e.Subnets) &&
		slices.Equal(d.Remote, e.Remote) && slices.Equal(d.Uplink, e.Uplink) && d.DiscardRest == e.DiscardRest &&
		slices.EqualFunc(d.Policies, e.Policies, Policy.Equal)
}

// ErrDesired: the desired state contradicts itself.
var ErrDesired = errors.New("netio: impossible desired state")

// normal is d with canonical, sorted, disjoint prefixes.
func (d Desired) normal() (Desired, error) {
	n := Desired{Addresses: slices.Clone(d.Addresses), Uplink: slices.Clone(d.Uplink)}
	var err error
	if n.Pools, err = disjoint("pool", d.Pools); err != nil {
		return Desired{}, err
	}
	if n.Subnets, err = disjoint("subnet", d.Subnets); err != nil {
		return Desired{}, err
	}
	if n.Remote, err = canonical("remote prefix", d.Remote); err != nil {
		return Desired{}, err
	}
	if err := n.normalEndpoints(); err != nil {
		return Desired{}, err
	}
	if len(d.Policies) > maxPolicies {
		return Desired{}, fmt.Errorf("%w: %d policies: at most %d", ErrDesired, len(d.Policies), maxPolicies)
	}
	words := 0
	for i := range d.Policies {
		if err := d.Policies[i].check(); err != nil {
			return Desired{}, err
		}
		if words += d.Policies[i].words(); words > maxWords {
			return Desired{}, fmt.Errorf("%w: the first %d policies have too many combinations of selectors for nftables: join their ports or protocols", ErrDesired, i+1)
		}
	}
	n.Policies, n.DiscardRest = slices.Clone(d.Policies), d.DiscardRest
	return n, nil
}

// onlyIPv4 is d without all that is IPv6.
func (d Desired) onlyIPv4() Desired {
	is6 := func(a netip.Addr) bool { return !a.Is4() }
	return Desired{
		Addresses: slices.DeleteFunc(slices.Clone(d.Addresses), is6),
		Pools:     ofFamily(d.Pools, true),
		Subnets:   ofFamily(d.Subnets, true),
		Remote:    ofFamily(d.Remote, true),
		Uplink:    slices.DeleteFunc(slices.Clone(d.Uplink), func(u netip.AddrPort) bool { return is6(u.Addr()) }),

		Policies: d.Policies, DiscardRest: d.DiscardRest,
	}
}

func (d *Desired) normalEndpoints() error {
	var families [2]int
	for i, a := range d.Addresses {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Zone() != "" {
			return fmt.Errorf("%w: overlay address %v is not a unicast address", ErrDesired, a)
		}
		a = a.Unmap()
		d.Addresses[i] = a
		families[familyIndex(a)]++
	}
	if families[0] > 1 || families[1] > 1 {
		return fmt.Errorf("%w: more than one overlay address of a family: %v", ErrDesired, d.Addresses)
	}
	slices.SortFunc(d.Addresses, netip.Addr.Compare)
	for i, u := range d.Uplink {
		if !u.IsValid() || u.Port() == 0 {
			return fmt.Errorf("%w: uplink endpoint %v has no address and port", ErrDesired, u)
		}
		d.Uplink[i] = netip.AddrPortFrom(u.Addr().Unmap().WithZone(""), u.Port())
	}
	slices.SortFunc(d.Uplink, netip.AddrPort.Compare)
	d.Uplink = slices.Compact(d.Uplink)
	return nil
}

func familyIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// canonical masks, sorts and deduplicates ps.
func canonical(what string, ps []netip.Prefix) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(ps))
	for _, p := range ps {
		if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return nil, fmt.Errorf("%w: %s %v is not an IPv4 or IPv6 prefix", ErrDesired, what, p)
		}
		out = append(out, p.Masked())
	}
	slices.SortFunc(out, comparePrefix)
	return slices.Compact(out), nil
}

// disjoint is canonical without the prefixes that lie in others. An nftables interval set takes no
// overlaps.
func disjoint(what string, ps []netip.Prefix) ([]netip.Prefix, error) {
	all, err := canonical(what, ps)
	if err != nil {
		return nil, err
	}
	return uncovered(all), nil
}

// uncovered drops from sorted prefixes those that lie in others: a covering prefix sorts first.
func uncovered(sorted []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range sorted {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) {
			continue
		}
		out = append(out, p)
	}
	return out
}

func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
