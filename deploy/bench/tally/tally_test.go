package tally_test

import (
	"math"
	"strings"
	"testing"

	. "sallyport.dev/sallyport/deploy/bench/tally"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{4, 1}, 2.5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{1, 100, 3, 2}, 2.5},
	} {
		before := append([]float64(nil), c.values...)
		if got := Median(c.values); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.values, got, c.want)
		}
		for i := range before {
			if before[i] != c.values[i] {
				t.Errorf("Median has changed %v into %v", before, c.values)
			}
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("Median(nil) = %v", got)
	}
}

func pair(first, second, control float64) Pair {
	return Pair{First: Run{Rate: first}, Second: Run{Rate: second}, Control: control}
}

func TestSplit(t *testing.T) {
	pairs := []Pair{pair(1, 1, 10), pair(2, 1, 12), pair(3, 1, 8), pair(4, 1, 12.1), pair(5, 1, 7.9), pair(6, 1, 10)}
	kept, discarded := Split(pairs)
	if len(kept) != 4 || len(discarded) != 2 || discarded[0].First[Rate] != 4 || discarded[1].First[Rate] != 5 {
		t.Errorf("kept %v, discarded %v", kept, discarded)
	}
	if kept, discarded := Split(nil); kept != nil || discarded != nil {
		t.Errorf("of none: kept %v, discarded %v", kept, discarded)
	}
}

// The ratio is each pair's own: the median of ratios is not the ratio of medians, and what was discarded has no say.
func TestCompare(t *testing.T) {
	pairs := []Pair{pair(2, 1, 10), pair(30, 10, 11), pair(4, 4, 9), pair(1000, 1, 50)}
	pairs[1].Load, pairs[3].Load = 0.5, 7
	f, err := Compare(Figure{Name: "1", Goal: Goal{"≥", 2}}, Rate, pairs)
	if err != nil {
		t.Fatal(err)
	}
	if f.Value != 2 || f.Min != 1 || f.Max != 3 || f.Kept != 3 || f.Discarded != 1 || f.Lowest != 9 || f.Highest != 11 || f.Load != 0.5 {
		t.Errorf("%+v", f)
	}
	if f.First != "4.00 Gbit/s" || f.Second != "4.00 Gbit/s" {
		t.Errorf("medians are %q and %q", f.First, f.Second)
	}
	if got, want := f.String(), "figure 1: 2.00× (1.00–3.00) goal ≥ 2× PASS"; got != want {
		t.Errorf("line is %q, want %q", got, want)
	}
}

func TestCompareNothing(t *testing.T) {
	for name, pairs := range map[string][]Pair{
		"no pair":   nil,
		"nothing":   {pair(1, 0, 10)},
		"no number": {pair(math.NaN(), 1, 10)},
		"no end":    {pair(math.Inf(1), 1, 10)},
		"absent":    {{First: Run{Rate: 1}, Second: Run{}, Control: 10}},
	} {
		if f, err := Compare(Figure{}, Rate, pairs); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		f    Figure
		want string
	}{
		{Figure{Name: "2b (8 streams)", Unit: "×", Goal: Goal{"≥", 2.5}, Value: 2.499, Min: 2.1, Max: 12.34},
			"figure 2b (8 streams): 2.499× (2.10–12.3) goal ≥ 2.5× FAIL"},
		{Figure{Name: "2", Unit: "×", Goal: Goal{"≤", 0.4}, Value: 0.4, Min: 0.3, Max: 0.5}, "figure 2: 0.40× (0.30–0.50) goal ≤ 0.4× PASS"},
		{Figure{Name: "7", Unit: " allocations", Goal: Goal{"≤", 0}}, "figure 7: 0 allocations (0–0) goal ≤ 0 allocations PASS"},
		{Figure{Title: "IPv6", Unit: "×", Value: 1234, Min: 123.4, Max: 2000}, "reported, IPv6: 1234× (123–2000)"},
	} {
		if got := c.f.String(); got != c.want {
			t.Errorf("line is %q, want %q", got, c.want)
		}
	}
	if v := (Figure{Value: 1}).Verdict(); v != "" {
		t.Errorf("the verdict without a goal is %q", v)
	}
}

func TestFormat(t *testing.T) {
	for m, want := range map[Metric]string{
		Rate: "1234.50 Gbit/s", RTT: "1234 µs", Lossless: "1 thousand packets/s", CPU: "1234.50 CPU s/GB",
	} {
		if got := m.Format(1234.5); !strings.HasPrefix(got, want) {
			t.Errorf("%v as %s is %q, want %q", 1234.5, m, got, want)
		}
	}
}
