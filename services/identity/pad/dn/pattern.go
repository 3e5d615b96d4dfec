package dn

import (
	"cmp"
	"slices"
)

// Pattern is a name whose values may be wildcards. The zero Pattern matches nothing.
type Pattern struct {
	name  Name // a wildcard's value is ""
	stars map[[2]int]bool
}

type starred struct {
	Attribute
	star bool
}

type starredRDN []starred

func newPattern(rdns []starredRDN) Pattern {
	p := Pattern{stars: map[[2]int]bool{}}
	for i, rdn := range rdns {
		slices.SortFunc(rdn, func(a, b starred) int { return cmp.Compare(a.Type, b.Type) })
		var plain RDN
		for j, a := range rdn {
			plain = append(plain, a.Attribute)
			if a.star {
				p.stars[[2]int{i, j}] = true
			}
		}
		p.name = append(p.name, plain)
	}
	return p
}

// Exactly returns the pattern that matches the name and no other.
func Exactly(n Name) Pattern { return Pattern{name: n} }

// String returns the pattern's RFC 4514 text.
func (p Pattern) String() string { return text(p.name, p.stars) }

// Exact returns the one name that the pattern matches, if it has no wildcard.
func (p Pattern) Exact() (Name, bool) { return p.name, len(p.name) > 0 && len(p.stars) == 0 }

// Match reports whether the name is one of the pattern's.
func (p Pattern) Match(n Name) bool { return len(n) > 0 && p.covers(Pattern{name: n}) }

// Covers reports whether p matches every name that q matches.
func (p Pattern) Covers(q Pattern) bool { return len(q.name) > 0 && p.covers(q) }

func (p Pattern) covers(q Pattern) bool {
	return p.each(q, func(mine, theirs bool, equal bool) bool { return mine || !theirs && equal })
}

// Overlaps reports whether some name matches both.
func (p Pattern) Overlaps(q Pattern) bool {
	return len(q.name) > 0 && p.each(q, func(mine, theirs bool, equal bool) bool { return mine || theirs || equal })
}

// each compares two patterns of one shape, attribute by attribute.
func (p Pattern) each(q Pattern, ok func(mine, theirs, equal bool) bool) bool {
	if len(p.name) != len(q.name) {
		return false
	}
	for i, rdn := range p.name {
		if len(rdn) != len(q.name[i]) {
			return false
		}
		for j, a := range rdn {
			b := q.name[i][j]
			at := [2]int{i, j}
			if a.Type != b.Type || !ok(p.stars[at], q.stars[at], a.Value == b.Value) {
				return false
			}
		}
	}
	return true
}
