//go:build linux

package load

import (
	"context"
	"fmt"
	"math"
	"time"

	"sallyport.dev/sallyport/deploy/bench/tally"
)

// Search looks for the highest rate without loss.
type Search struct {
	Sizes []int
	Time  time.Duration // for all of it, about
}

// searchSteps halve the range of possible rates, on a scale of logarithms: from 64 down to 1.
const searchSteps = 9

// searchRange is the ratio of the highest to the lowest rate that is tried.
const searchRange = 64

// Found is the result of a search.
type Found struct {
	Flood    Count // at full speed
	Lossless Count // at the highest rate without loss
}

// Run blasts at full speed first and halves the range below what was offered then. A rate at which packets were lost
// is tried once more.
func (s Search) Run(ctx context.Context, p Path) (Found, error) {
	part := s.Time / (searchSteps + 2)
	flood, err := Blast{Sizes: s.Sizes, Time: 2 * part}.Run(ctx, p)
	if err != nil {
		return Found{}, err
	}
	found := Found{Flood: flood}
	err = bisect(float64(flood.Sent)/flood.Elapsed.Seconds(), func(rate float64) (bool, error) {
		for range 2 {
			c, err := Blast{Sizes: s.Sizes, Rate: rate, Time: part}.Run(ctx, p)
			if err != nil {
				return false, err
			}
			if c.Loss() <= tally.MaxLoss {
				if found.Lossless.Elapsed == 0 || c.Rate() > found.Lossless.Rate() { // the sender may not have kept up
					found.Lossless = c
				}
				return true, nil
			}
		}
		return false, nil
	})
	if err == nil && found.Lossless.Timely == 0 {
		err = fmt.Errorf("bench: UDP: packets are lost at every rate that was tried; at full speed %.1f %%", 100*flood.Loss())
	}
	return found, err
}

// bisect narrows the range of rates that good accepts.
func bisect(highest float64, good func(rate float64) (bool, error)) error {
	low, high := highest/searchRange, highest
	for range searchSteps {
		rate := math.Sqrt(low * high)
		ok, err := good(rate)
		if err != nil {
			return err
		}
		if ok {
			low = rate
		} else {
			high = rate
		}
	}
	return nil
}
