package tally

import "math"

// Metric names what a run has measured.
type Metric string

// The metrics.
const (
	Rate     Metric = "Gbit/s"
	CPU      Metric = "CPU s/GB"  // of both ends' processes, per 10^9 bytes delivered
	Lossless Metric = "packets/s" // the highest rate with hardly any loss
	Flood    Metric = "packets/s delivered at full speed"
	RTT      Metric = "µs" // round trip
)

// Run is what one contender has shown.
type Run map[Metric]float64

// MaxLoss is what counts as no loss, as part of all packets: a scheduler's hiccup may cost a few.
const MaxLoss = 0.001

// Pair is one run of each of two contenders, one right after the other, and the control before them.
type Pair struct {
	First, Second Run
	// Control is what the bare wire carried, Gbit/s.
	Control float64
	// Load is the load average before.
	Load float64
}

// MaxDrift is how far a pair's control may be from the median of all controls, as part of it, until the pair is
// discarded: then the machine was not the same.
const MaxDrift = 0.2

// Split parts the pairs whose control has not drifted from the others.
func Split(pairs []Pair) (kept, discarded []Pair) {
	controls := make([]float64, len(pairs))
	for i, p := range pairs {
		controls[i] = p.Control
	}
	middle := Median(controls)
	for _, p := range pairs {
		if math.Abs(p.Control-middle) > MaxDrift*middle {
			discarded = append(discarded, p)
		} else {
			kept = append(kept, p)
		}
	}
	return kept, discarded
}
