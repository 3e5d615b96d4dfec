package spec

import (
	"net/netip"
	"slices"
)

// Subnets says which host is the gateway of which prefix. No two prefixes in it overlap, so a prefix
// can only overlap its neighbours in the order of addresses. The zero value is empty; it is not safe
// for concurrent use.
type Subnets struct {
	entries []subnetOwner // by address; disjoint
}

type subnetOwner struct {
	prefix netip.Prefix
	host   string
}

// NewSubnets takes the subnets of a fleet whose hosts have been checked. What overlaps all the same,
// in a record that an older version wrote, is kept out: the first in the order of addresses counts.
func NewSubnets(hosts map[string][]netip.Prefix) *Subnets {
	var all []subnetOwner
	for host, prefixes := range hosts {
		for _, p := range prefixes {
			all = append(all, subnetOwner{p, host})
		}
	}
	slices.SortFunc(all, compareOwners)
	s := &Subnets{}
	for _, e := range all {
		if n := len(s.entries); n == 0 || !s.entries[n-1].prefix.Overlaps(e.prefix) {
			s.entries = append(s.entries, e)
		}
	}
	return s
}

func compareOwners(a, b subnetOwner) int {
	if c := a.prefix.Addr().Compare(b.prefix.Addr()); c != 0 {
		return c
	}
	return a.prefix.Bits() - b.prefix.Bits()
}

// position is where p stands or would stand.
func (s *Subnets) position(p netip.Prefix) int {
	i, _ := slices.BinarySearchFunc(s.entries, subnetOwner{prefix: p}, compareOwners)
	return i
}

// Overlap finds a prefix that overlaps p, and its host. Prefixes of the host called except do not
// count.
func (s *Subnets) Overlap(p netip.Prefix, except string) (other netip.Prefix, host string, found bool) {
	i := s.position(p)
	// Before p, only the nearest can reach over it: an entry farther away would overlap the nearest.
	if i > 0 && s.entries[i-1].prefix.Overlaps(p) && s.entries[i-1].host != except {
		return s.entries[i-1].prefix, s.entries[i-1].host, true
	}
	for ; i < len(s.entries) && s.entries[i].prefix.Overlaps(p); i++ {
		if s.entries[i].host != except {
			return s.entries[i].prefix, s.entries[i].host, true
		}
	}
	return netip.Prefix{}, "", false
}

// Add records prefixes that Overlap has cleared.
func (s *Subnets) Add(host string, prefixes []netip.Prefix) {
	for _, p := range prefixes {
		s.entries = slices.Insert(s.entries, s.position(p), subnetOwner{p, host})
	}
}

// RemoveAll forgets every prefix of the hosts for which gone is true.
func (s *Subnets) RemoveAll(gone func(host string) bool) {
	s.entries = slices.DeleteFunc(s.entries, func(e subnetOwner) bool { return gone(e.host) })
}

// Clone returns a copy that shares nothing.
func (s *Subnets) Clone() *Subnets { return &Subnets{entries: slices.Clone(s.entries)} }
