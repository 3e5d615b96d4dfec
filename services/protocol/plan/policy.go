package plan

import (
	"cmp"
	"time"
)

// Policy says which hosts are paired, protected how.
type Policy struct {
	Name     string
	Revision int64    // store revision of the spec: when an operator last changed it
	Hosts    Selector // a full mesh of these, or, with To, each with each of those
	To       Selector // zero for a full mesh
	Priority int32    // where two policies want one pair the higher wins, then the smaller name

	Transform   Transform
	Lifetime    Lifetime
	RekeyBefore time.Time // generations made before are replaced; zero for none
}

// Lifetime limits the generations of a policy's pairs. Zero bytes or packets mean no limit.
type Lifetime struct {
	Rekey, Hard               time.Duration // whole seconds
	RekeyBytes, HardBytes     uint64
	RekeyPackets, HardPackets uint64
}

// before orders policies by who wins.
func (p *Policy) before(o *Policy) int {
	return cmp.Or(cmp.Compare(o.Priority, p.Priority), cmp.Compare(p.Name, o.Name))
}

// equal reports whether nothing changed. Selectors are equal when their texts are.
func (p *Policy) equal(o *Policy) bool {
	return p.Name == o.Name && p.Revision == o.Revision && p.Hosts.text == o.Hosts.text && p.To.text == o.To.text &&
		p.Priority == o.Priority && p.Transform == o.Transform && p.Lifetime == o.Lifetime &&
		p.RekeyBefore.Equal(o.RekeyBefore)
}

// policySlot is a policy with the hosts that it selects, by index.
type policySlot struct {
	Policy
	hosts, to bitset
}

// place puts host i where its labels want it.
func (p *policySlot) place(i int, labels map[string]string) {
	p.drop(i)
	if p.Hosts.Matches(labels) {
		p.hosts.set(i)
	}
	if p.To.Matches(labels) {
		p.to.set(i)
	}
}

// drop forgets host i.
func (p *policySlot) drop(i int) {
	p.hosts.clear(i)
	p.to.clear(i)
}

// wants reports whether the policy pairs hosts i and j.
func (p *policySlot) wants(i, j int) bool {
	if p.To.IsZero() {
		return p.hosts.has(i) && p.hosts.has(j)
	}
	return p.hosts.has(i) && p.to.has(j) || p.hosts.has(j) && p.to.has(i)
}

// addPartners adds to s the hosts that the policy pairs with host i. It may add i itself.
func (p *policySlot) addPartners(s *bitset, i int) {
	switch {
	case p.To.IsZero() && p.hosts.has(i):
		s.add(p.hosts)
	case p.To.IsZero():
	default:
		if p.hosts.has(i) {
			s.add(p.to)
		}
		if p.to.has(i) {
			s.add(p.hosts)
		}
	}
}

// selected returns the hosts on either side.
func (p *policySlot) selected() bitset {
	var s bitset
	s.add(p.hosts)
	s.add(p.to)
	return s
}
