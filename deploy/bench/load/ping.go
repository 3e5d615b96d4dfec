//go:build linux

package load

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Ping is a series of echoes with a pause between them, so that both ends are idle when one comes.
type Ping struct {
	Count    int
	Interval time.Duration
}

// Run returns the median round trip. Some may be lost, but not half of them.
func (g Ping) Run(ctx context.Context, p Path) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(g.Count)*g.Interval+slack)
	defer cancel()
	out, err := p.From.Run(ctx, "ping", "-n", "-c", fmt.Sprint(g.Count), "-i", strconv.FormatFloat(g.Interval.Seconds(), 'f', 3, 64),
		"-W", "2", "-I", p.Source.String(), p.Destination.String())
	if err != nil {
		return 0, err
	}
	return medianRTT(out, g.Count)
}

// medianRTT reads the "time=0.123 ms" of each line.
func medianRTT(out string, count int) (time.Duration, error) {
	var trips []time.Duration
	for line := range strings.Lines(out) {
		_, after, found := strings.Cut(line, "time=")
		if !found {
			continue
		}
		text, _, _ := strings.Cut(after, " ")
		ms, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("bench: ping said %q", strings.TrimSpace(line))
		}
		trips = append(trips, time.Duration(ms*float64(time.Millisecond)))
	}
	if len(trips) <= count/2 {
		return 0, fmt.Errorf("bench: ping: %d of %d echoes have come back", len(trips), count)
	}
	slices.Sort(trips)
	return trips[len(trips)/2], nil
}

// awaitTimeout bounds the wait for a tunnel's first packet.
const awaitTimeout = 20 * time.Second

// Await waits until an echo comes back: key exchanges are done and addresses resolved.
func (p Path) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, awaitTimeout)
	defer cancel()
	for {
		_, err := p.From.Run(ctx, "ping", "-n", "-c", "1", "-W", "1", "-I", p.Source.String(), p.Destination.String())
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}
