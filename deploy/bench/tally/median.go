// Package tally turns pairs of runs into figures: the ratio of each pair, which pairs to discard, the median of what
// is left, and whether a goal is reached.
package tally

import (
	"math"
	"slices"
)

// Median is the middle of the values, of an even number the mean of the two in the middle; NaN of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
