package tally

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Goal is what a value is compared with. The zero value is no goal.
type Goal struct {
	Relation string // "≥" or "≤"
	Bound    float64
}

// Reached says whether v, an ordinary number, is on the right side.
func (g Goal) Reached(v float64) bool {
	switch g.Relation {
	case "≥":
		return v >= g.Bound
	case "≤":
		return v <= g.Bound
	}
	return false
}

// Figure is one result.
type Figure struct {
	Name  string // "1"; "" for one that is only reported
	Title string
	Unit  string // behind the values: "×", or "M packets/s"
	Goal  Goal
	// Value is the median; Min and Max are over the pairs.
	Value, Min, Max float64
	// First and Second are the medians of what was compared, with units, for people; "" when there is nothing to say.
	First, Second string
	// Kept and Discarded count the pairs, Lowest and Highest are the controls of the kept ones in Gbit/s.
	Kept, Discarded int
	Lowest, Highest float64
	// Load is the highest load average before a kept pair.
	Load float64
}

// Compare makes a figure of pairs: the ratio of a metric, first contender by second.
func Compare(f Figure, m Metric, pairs []Pair) (Figure, error) {
	kept, discarded := Split(pairs)
	f.Kept, f.Discarded = len(kept), len(discarded)
	var ratios, first, second, controls []float64
	for _, p := range kept {
		a, b := p.First[m], p.Second[m]
		if !(a > 0) || !(b > 0) || math.IsInf(a, 0) || math.IsInf(b, 0) {
			return f, fmt.Errorf("bench: %s: %s was measured as %v and %v: no ratio", f.Title, m, a, b)
		}
		ratios, first, second = append(ratios, a/b), append(first, a), append(second, b)
		controls = append(controls, p.Control)
		f.Load = max(f.Load, p.Load)
	}
	if len(ratios) == 0 {
		return f, fmt.Errorf("bench: %s: no pair is left of %d", f.Title, len(pairs))
	}
	f.Unit = "×"
	f.Value, f.Min, f.Max = Median(ratios), slices.Min(ratios), slices.Max(ratios)
	f.First, f.Second = m.Format(Median(first)), m.Format(Median(second))
	f.Lowest, f.Highest = slices.Min(controls), slices.Max(controls)
	return f, nil
}

// Format writes a value of the metric with its unit.
func (m Metric) Format(v float64) string {
	switch m {
	case Lossless, Flood:
		return fmt.Sprintf("%.0f thousand %s", v/1000, m)
	case RTT:
		return fmt.Sprintf("%.0f %s", v, m)
	}
	return fmt.Sprintf("%.2f %s", v, m)
}

// Verdict is PASS or FAIL; "" without a goal.
func (f Figure) Verdict() string {
	switch {
	case f.Goal == Goal{}:
		return ""
	case f.Goal.Reached(f.Value):
		return "PASS"
	}
	return "FAIL"
}

// String is the figure's line.
func (f Figure) String() string {
	if f.Goal == (Goal{}) {
		return fmt.Sprintf("reported, %s: %s", f.Title, f.Values())
	}
	return fmt.Sprintf("figure %s: %s goal %s %s", f.Name, f.Values(), f.GoalText(), f.Verdict())
}

// Values are the median and, in parentheses, the range.
func (f Figure) Values() string {
	return fmt.Sprintf("%s%s (%s–%s)", f.value(), f.Unit, number(f.Min), number(f.Max))
}

// value writes the median with as many digits as it takes not to belie the verdict.
func (f Figure) value() string {
	text := number(f.Value)
	for digits := 3; digits < 10 && f.Verdict() != ""; digits++ {
		if shown, err := strconv.ParseFloat(text, 64); err != nil || f.Goal.Reached(shown) == f.Goal.Reached(f.Value) {
			break
		}
		text = strconv.FormatFloat(f.Value, 'f', digits, 64)
	}
	return text
}

// GoalText is "≥ 2.5×".
func (f Figure) GoalText() string {
	if f.Goal == (Goal{}) {
		return ""
	}
	return fmt.Sprintf("%s %v%s", f.Goal.Relation, f.Goal.Bound, f.Unit)
}

// number writes three digits, or all before the point.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
