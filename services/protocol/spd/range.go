package spd

import "net/netip"

// Range is the addresses of one family from First to Last.
type Range struct{ First, Last netip.Addr }

// Without returns what of r lies outside of taken: nothing, one range or two. A range of the other family takes nothing.
func (r Range) Without(taken Range) []Range {
	if r.First.BitLen() != taken.First.BitLen() || r.Last.Less(taken.First) || taken.Last.Less(r.First) {
		return []Range{r}
	}
	var left []Range
	if r.First.Less(taken.First) {
		left = append(left, Range{r.First, taken.First.Prev()})
	}
	if taken.Last.Less(r.Last) {
		left = append(left, Range{taken.Last.Next(), r.Last})
	}
	return left
}
