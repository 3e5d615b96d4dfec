// Package gobench runs Go benchmarks, all of them once in each round, so that what one round compares was measured side
// by side.
package gobench

import (
	"fmt"
	"strconv"
	"strings"
)

// Round is what one run of the benchmarks has shown: by the benchmark's name without "Benchmark", by unit: "ns/op".
type Round map[string]map[string]float64

// Of is one value.
func (r Round) Of(name, unit string) (float64, error) {
	values, ok := r[name]
	if !ok {
		return 0, fmt.Errorf("bench: no benchmark %s has run", name)
	}
	v, ok := values[unit]
	if !ok {
		return 0, fmt.Errorf("bench: benchmark %s does not say %s", name, unit)
	}
	return v, nil
}

// parse reads the output of a test program that ran with one processor: then names have no "-8" behind them.
// "BenchmarkX 100 12.5 ns/op 0 B/op" becomes X: {ns/op: 12.5, B/op: 0}.
func parse(out string) (Round, error) {
	r := Round{}
	for line := range strings.Lines(out) {
		name, ok := strings.CutPrefix(line, "Benchmark")
		fields := strings.Fields(name)
		if !ok || len(fields) < 4 || len(fields)%2 != 0 { // a name alone precedes what the benchmark logs
			continue
		}
		values := map[string]float64{}
		for i := 2; i < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("bench: a benchmark says %q", strings.TrimSpace(line))
			}
			values[fields[i+1]] = v
		}
		r[fields[0]] = values
	}
	return r, nil
}
