//go:build linux

// Package record writes what a run of the benchmark has found.
package record

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/deploy/bench/host"
	"sallyport.dev/sallyport/deploy/bench/tally"
)

// Report is one run.
type Report struct {
	host.Facts
	Date           time.Time
	Took           time.Duration
	Agent          string // what `sallyport-agent version` said
	Pairs, Seconds int
	Ciphers        []float64 // AES-128-GCM of 1,400 bytes on one core, before each measurement, Gbit/s
	Figures        []tally.Figure
	Unmeasured     []string // what could not be measured, and why
}

// Print writes the figures' lines, those with a goal first.
func (r Report) Print(out io.Writer) {
	for _, goal := range []bool{true, false} {
		for _, f := range r.Figures {
			if (f.Verdict() != "") == goal {
				fmt.Fprintln(out, f)
			}
		}
	}
}

// Markdown is the report as a page.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The datapath against others

Written by `+"`make bench-datapath`"+`; do not edit.

| | |
|---|---|
| date | %s |
| kernel | %s |
| processor | %s, %d cores |
| agent | %s, %s |
| AES-128-GCM alone | %.1f Gbit/s (%.1f–%.1f): 1,400 bytes, one core, the standard library |
| took | %v |

Both ends run on this one machine, in two network namespaces joined by a veth pair, MTU 1500 unless it says otherwise. Ours is
`+"`sallyport-agent`"+`, ESP in UDP, tunnel mode, AES-128-GCM unless it says otherwise; the other one has a wire of its own. They run in
turn, %d pairs of %d s, and before each pair the bare wire, the control. A value is the median of the pairs' ratios, with the
lowest and the highest; a pair whose control is more than %.0f %% off the median of all controls is discarded. CPU time is
that of both ends' processes, as the kernel accounts for it, per 10^9 bytes delivered. The load is the highest load average
before a pair. UDP packets are without loss when at most %.1f %% are lost; their sizes are those of the payload for 64 bytes, and
of the whole packet otherwise. What is measured in memory has no pairs: it is of %[11]d rounds of Go benchmarks on one core.
`, r.Date.UTC().Format("2006-01-02 15:04 UTC"), r.Kernel, r.CPU, r.Cores, r.Agent, r.Go, tally.Median(r.Ciphers), slices.Min(r.Ciphers), slices.Max(r.Ciphers), r.Took.Round(time.Second),
		r.Pairs, r.Seconds, 100*tally.MaxDrift, 100*tally.MaxLoss)
	r.table(&b, "What it must reach", true)
	r.table(&b, "Also measured", false)
	if len(r.Unmeasured) > 0 {
		b.WriteString("\n## What could not be measured\n\n")
		for _, u := range r.Unmeasured {
			fmt.Fprintf(&b, "* %s\n", strings.ReplaceAll(strings.TrimSpace(u), "\n", "; "))
		}
	}
	return b.String()
}

// table has the figures with a goal, or those without.
func (r Report) table(b *strings.Builder, title string, goal bool) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if goal {
		b.WriteString("| # | figure | value | goal | | ours | theirs | pairs | control, Gbit/s | load |\n|---|---|---|---|---|---|---|---|---|---|\n")
	} else {
		b.WriteString("| figure | value | ours | theirs | pairs | control, Gbit/s | load |\n|---|---|---|---|---|---|---|\n")
	}
	for _, f := range r.Figures {
		if (f.Verdict() != "") != goal {
			continue
		}
		if goal {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s ", f.Name, f.Title, f.Values(), f.GoalText(), f.Verdict())
		} else {
			fmt.Fprintf(b, "| %s | %s ", f.Title, f.Values())
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", f.First, f.Second, pairs(f), control(f), load(f))
	}
}

func pairs(f tally.Figure) string {
	switch {
	case f.Kept == 0:
		return ""
	case f.Discarded > 0:
		return fmt.Sprintf("%d, %d discarded", f.Kept, f.Discarded)
	}
	return fmt.Sprint(f.Kept)
}

func control(f tally.Figure) string {
	if f.Kept == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f–%.1f", f.Lowest, f.Highest)
}

func load(f tally.Figure) string {
	if f.Kept == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", f.Load)
}
