//go:build linux

package interop

import (
	"maps"
	"slices"
)

// pair is two values that one case has.
type pair [2]string

// pairsOf are all pairs of a case's values.
func pairsOf(c Case) []pair {
	attributes := c.Attributes()
	var pairs []pair
	names := slices.Sorted(maps.Keys(attributes))
	for i, first := range names {
		for _, second := range names[i+1:] {
			pairs = append(pairs, pair{first + "=" + attributes[first], second + "=" + attributes[second]})
		}
	}
	return pairs
}

// Pairwise chooses cases so that every pair of values that some case has is in one of the chosen: greedily, the case
// with the most pairs that are still missing first, and among equals the first.
func Pairwise(cases []Case) []Case {
	missing := map[pair]bool{}
	of := make([][]pair, len(cases))
	for i, c := range cases {
		of[i] = pairsOf(c)
		for _, p := range of[i] {
			missing[p] = true
		}
	}
	var chosen []Case
	for len(missing) > 0 {
		best, most := 0, 0
		for i := range cases {
			n := 0
			for _, p := range of[i] {
				if missing[p] {
					n++
				}
			}
			if n > most {
				best, most = i, n
			}
		}
		for _, p := range of[best] {
			delete(missing, p)
		}
		chosen = append(chosen, cases[best])
	}
	return chosen
}
