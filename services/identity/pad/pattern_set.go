package pad

import (
	"strings"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Match reports whether the identity is in the set. One that is not well-formed is in none.
func (p Pattern) Match(id ikewire.Identification) bool {
	q, err := exactly(id)
	return err == nil && p.Covers(q)
}

// Covers reports whether q is in p, whole and not empty.
func (p Pattern) Covers(q Pattern) bool {
	switch {
	case q.any:
		return p.any
	case q.kind == 0:
		return false
	case p.any:
		return q.kind != ikewire.IDNull
	case p.kind != q.kind:
		return false
	}
	switch p.kind {
	case ikewire.IDIPv4Addr, ikewire.IDIPv6Addr:
		return p.prefix.Bits() <= q.prefix.Bits() && p.prefix.Contains(q.prefix.Addr())
	case ikewire.IDFQDN:
		return p.coversName(q)
	case ikewire.IDRFC822Addr:
		return p.coversMailbox(q)
	case ikewire.IDDERASN1DN:
		return p.dn.Covers(q.dn)
	}
	return p.text == q.text
}

func (p Pattern) coversName(q Pattern) bool {
	if p.text == q.text {
		return p.below == q.below
	}
	return p.below && strings.HasSuffix(q.text, "."+p.text)
}

func (p Pattern) coversMailbox(q Pattern) bool {
	if p.below && !q.below {
		return strings.HasSuffix(q.text, "@"+p.text)
	}
	return p.below == q.below && p.text == q.text
}

// Overlaps reports whether some identity is in both. Only DNs can overlap without one being in the other.
func (p Pattern) Overlaps(q Pattern) bool {
	return p.Covers(q) || q.Covers(p) ||
		p.kind == ikewire.IDDERASN1DN && q.kind == ikewire.IDDERASN1DN && p.dn.Overlaps(q.dn)
}

// equal reports whether both are the same set.
func (p Pattern) equal(q Pattern) bool { return p.Covers(q) && q.Covers(p) }

// exact reports whether one identity is in the set.
func (p Pattern) exact() bool {
	switch {
	case p.any:
		return false
	case p.prefix.IsValid():
		return p.prefix.IsSingleIP()
	case p.kind == ikewire.IDDERASN1DN:
		_, one := p.dn.Exact()
		return one
	}
	return p.kind != 0 && !p.below
}

// isNull reports whether the set is ID_NULL.
func (p Pattern) isNull() bool { return p.kind == ikewire.IDNull }

// String returns what ParsePattern reads.
func (p Pattern) String() string {
	star := ""
	switch {
	case p.any:
		return "any"
	case p.below && p.kind == ikewire.IDFQDN:
		star = "*."
	case p.below:
		star = "*@"
	}
	switch p.kind {
	case ikewire.IDIPv4Addr, ikewire.IDIPv6Addr:
		s := p.prefix.String()
		if p.prefix.IsSingleIP() {
			s = p.prefix.Addr().String()
		}
		return map[bool]string{true: "ipv4:", false: "ipv6:"}[p.prefix.Addr().Is4()] + s
	case ikewire.IDFQDN:
		return "fqdn:" + star + p.text
	case ikewire.IDRFC822Addr:
		return "rfc822:" + star + p.text
	case ikewire.IDDERASN1DN:
		return "dn:" + p.dn.String()
	case ikewire.IDKeyID:
		return "keyid:" + keyIDText(p.text)
	case ikewire.IDNull:
		return "null:"
	}
	return "none"
}
