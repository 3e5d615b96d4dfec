//go:build linux

package main

import (
	"context"
	"time"

	"sallyport.dev/sallyport/deploy/bench/bed"
	"sallyport.dev/sallyport/deploy/bench/load"
	"sallyport.dev/sallyport/deploy/bench/tally"
)

// arena is a tunnel that is up.
type arena struct {
	name      string
	bed       *bed.Bed
	processes []*bed.Process
	path      load.Path
}

// loadFunc puts traffic through a tunnel for about the given time.
type loadFunc func(context.Context, *arena, time.Duration) (tally.Run, error)

// cpu is the processor time of both ends so far, seconds.
func (a *arena) cpu() (float64, error) {
	var total float64
	for _, p := range a.processes {
		used, err := p.CPU()
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

// tcp is a transfer by so many streams.
func tcp(streams int) loadFunc {
	return func(ctx context.Context, a *arena, d time.Duration) (tally.Run, error) {
		return a.transfer(ctx, load.TCP{Streams: streams, Time: d})
	}
}

func (a *arena) transfer(ctx context.Context, t load.TCP) (tally.Run, error) {
	before, err := a.cpu()
	if err != nil {
		return nil, err
	}
	got, err := t.Run(ctx, a.bed, a.path)
	if err != nil {
		return nil, err
	}
	after, err := a.cpu()
	if err != nil {
		return nil, err
	}
	return tally.Run{tally.Rate: got.Gbits, tally.CPU: (after - before) / (got.Bytes / 1e9)}, nil
}

// pingInterval is long enough for both ends to fall asleep between two echoes.
const pingInterval = 10 * time.Millisecond

// roundTrip is echoes through idle ends.
func roundTrip(ctx context.Context, a *arena, d time.Duration) (tally.Run, error) {
	trip, err := load.Ping{Count: int(d / pingInterval), Interval: pingInterval}.Run(ctx, a.path)
	if err != nil {
		return nil, err
	}
	return tally.Run{tally.RTT: float64(trip) / float64(time.Microsecond)}, nil
}

// both is a transfer by one stream in each direction at once.
func both(ctx context.Context, a *arena, d time.Duration) (tally.Run, error) {
	return a.transfer(ctx, load.TCP{Streams: 1, Both: true, Time: d})
}

// udp looks for the highest rate of datagrams with payloads of the given lengths, in turn.
func udp(sizes ...int) loadFunc {
	return func(ctx context.Context, a *arena, d time.Duration) (tally.Run, error) {
		found, err := load.Search{Sizes: sizes, Time: d}.Run(ctx, a.path)
		if err != nil {
			return nil, err
		}
		best := found.Lossless
		return tally.Run{
			tally.Lossless: best.Rate(), tally.Flood: found.Flood.Rate(),
			tally.Rate: best.Gbits(),
		}, nil
	}
}

// imix is the simple mixture of the internet: of twelve packets seven of 64 bytes, four of 576 and one of 1,400, here
// of those lengths with their IPv4 and UDP headers.
func imix() loadFunc {
	const headers = 28
	return udp(64-headers, 576-headers, 64-headers, 64-headers, 576-headers, 64-headers, 1400-headers,
		64-headers, 576-headers, 64-headers, 576-headers, 64-headers)
}
