//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/deploy/bench/gobench"
	"sallyport.dev/sallyport/deploy/bench/host"
	"sallyport.dev/sallyport/deploy/bench/tally"
)

// inMemory is a figure of the datapath without the system: it comes from Go benchmarks of the package in
// datapathFolder, one value for each round.
type inMemory struct {
	wanted
	unit       string
	benchmarks []string
	value      func(gobench.Round) (float64, error)
}

const datapathFolder = "agent/datapath"

// The units of benchmarks.
const (
	nanoseconds = "ns/op"
	allocations = "allocs/op"
	perSA       = "B/SA" // heap bytes, by b.ReportMetric
)

// inMemoryPlan is every such figure.
func inMemoryPlan() []inMemory {
	return []inMemory{
		{wanted{name: "5", tag: "64 bytes, out", title: "the pipeline in memory, packets of 64 bytes, one core, TUN to socket", goal: atLeast(4)},
			" million packets/s", []string{"PipelineOut64"}, inverse("PipelineOut64", 1000)},
		{wanted{name: "5", tag: "64 bytes, in", title: "the pipeline in memory, packets of 64 bytes, one core, socket to TUN", goal: atLeast(4)},
			" million packets/s", []string{"PipelineIn64"}, inverse("PipelineIn64", 1000)},
		{wanted{name: "5", tag: "1,400 bytes, out", title: "the pipeline in memory, packets of 1,400 bytes, against the standard library's AES-128-GCM alone, TUN to socket", goal: atLeast(0.8)},
			"×", []string{"RawSeal1400", "PipelineOut1400"}, ratio("RawSeal1400", "PipelineOut1400")},
		{wanted{name: "5", tag: "1,400 bytes, in", title: "the pipeline in memory, packets of 1,400 bytes, against the standard library's AES-128-GCM alone, socket to TUN", goal: atLeast(0.8)},
			"×", []string{"RawOpen1400", "PipelineIn1400"}, ratio("RawOpen1400", "PipelineIn1400")},
		{wanted{tag: "own-cipher-out", title: "the pipeline in memory, packets of 1,400 bytes, against the AES-128-GCM that it uses, TUN to socket"},
			"×", []string{"OwnSeal1400", "PipelineOut1400"}, ratio("OwnSeal1400", "PipelineOut1400")},
		{wanted{tag: "own-cipher-in", title: "the pipeline in memory, packets of 1,400 bytes, against the AES-128-GCM that it uses, socket to TUN"},
			"×", []string{"OwnOpen1400", "PipelineIn1400"}, ratio("OwnOpen1400", "PipelineIn1400")},
		{wanted{tag: "own-cipher", title: "AES-128-GCM alone, 1,400 bytes, ours against the standard library's"},
			"×", []string{"RawSeal1400", "OwnSeal1400"}, ratio("RawSeal1400", "OwnSeal1400")},
		{wanted{name: "7", title: "allocations per packet on the fast path", goal: atMost(0)},
			"", []string{"PipelineOut64", "PipelineIn64", "PipelineOut1400", "PipelineIn1400"},
			most(allocations, "PipelineOut64", "PipelineIn64", "PipelineOut1400", "PipelineIn1400")},
		{wanted{name: "8", tag: "throughput, out", title: "the pipeline with 10,000 SAs against 10, TUN to socket", goal: atLeast(0.95)},
			"×", []string{"PipelineOut10SAs", "PipelineOut10000SAs"}, ratio("PipelineOut10SAs", "PipelineOut10000SAs")},
		{wanted{name: "8", tag: "throughput, in", title: "the pipeline with 10,000 SAs against 10, socket to TUN", goal: atLeast(0.95)},
			"×", []string{"PipelineIn10SAs", "PipelineIn10000SAs"}, ratio("PipelineIn10SAs", "PipelineIn10000SAs")},
		{wanted{name: "8", tag: "memory", title: "memory of one of 20,000 SAs", goal: atMost(2048)},
			" bytes", []string{"SAMemory"}, most(perSA, "SAMemory")},
	}
}

// inverse is a rate: so many in as many nanoseconds.
func inverse(name string, per float64) func(gobench.Round) (float64, error) {
	return func(r gobench.Round) (float64, error) {
		ns, err := r.Of(name, nanoseconds)
		return per / ns, err
	}
}

// ratio is the speed of the second benchmark as part of the first one's.
func ratio(first, second string) func(gobench.Round) (float64, error) {
	return func(r gobench.Round) (float64, error) {
		a, err := r.Of(first, nanoseconds)
		b, other := r.Of(second, nanoseconds)
		return a / b, errors.Join(err, other)
	}
}

// most is the highest value of all benchmarks.
func most(unit string, names ...string) func(gobench.Round) (float64, error) {
	return func(r gobench.Round) (highest float64, err error) {
		for _, name := range names {
			v, err := r.Of(name, unit)
			if err != nil {
				return 0, err
			}
			highest = max(highest, v)
		}
		return highest, nil
	}
}

// measureInMemory runs the benchmarks of the wanted figures in as many rounds as there are pairs.
func (b *bench) measureInMemory(ctx context.Context, figures []inMemory) (_ []tally.Figure, err error) {
	if len(figures) == 0 {
		return nil, nil
	}
	var names []string
	for _, f := range figures {
		names = append(names, f.benchmarks...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	fmt.Fprintf(b.out, "— in memory: %s\n", strings.Join(names, ", "))
	program, err := gobench.Build(ctx, datapathFolder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, program.Close()) }()
	var rounds []gobench.Round
	var load float64
	for range b.pairs {
		now, err := host.Load()
		if err != nil {
			return nil, err
		}
		load = max(load, now)
		r, err := program.Run(ctx, names, max(b.time()/10, 100*time.Millisecond))
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, r)
		fmt.Fprintf(b.out, "  round %d, load %.2f\n", len(rounds), now)
	}
	return b.summarise(figures, rounds, load)
}

// summarise makes figures of rounds. One without its benchmark does not keep the others from being made.
func (b *bench) summarise(figures []inMemory, rounds []gobench.Round, load float64) (all []tally.Figure, err error) {
	for _, f := range figures {
		var values []float64
		for _, r := range rounds {
			v, problem := f.value(r)
			if problem != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", f.title, problem))
				break
			}
			values = append(values, v)
		}
		if len(values) < len(rounds) {
			continue
		}
		figure := tally.Figure{Name: f.label(), Title: f.title, Unit: f.unit, Goal: f.goal, Load: load,
			Value: tally.Median(values), Min: slices.Min(values), Max: slices.Max(values)}
		fmt.Fprintln(b.out, figure)
		all = append(all, figure)
	}
	return all, err
}
