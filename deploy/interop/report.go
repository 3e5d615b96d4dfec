//go:build linux

package interop

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report is what a run has found.
type Report struct {
	Date    time.Time
	Kernel  string // the peer's release
	Agent   string // what `sallyport-agent --version` said
	Results []Result
	// Notes are failures that belong to no case.
	Notes []string
	Took  time.Duration
}

// Write writes the report as Markdown.
func (r Report) Write(out io.Writer) error {
	var b strings.Builder
	failed := slices.DeleteFunc(slices.Clone(r.Results), func(r Result) bool { return len(r.Failures) == 0 })
	fmt.Fprintf(&b, `# The Linux kernel as peer

Written by `+"`make interop-kernel`"+`; do not edit.

| | |
|---|---|
| date | %s |
| peer | Linux %s, SAs and policies by `+"`ip xfrm`"+` |
| ours | %s, keying mode manual |
| cases | %d, of which %d passed |
| took | %v |

Each case is one pair of SAs. Both ends send ICMP echoes with 56, 1300 and 4000 bytes, the last one fragmented; %d bytes
go there and as many come back by TCP, and are compared. The counters of both ends must have grown, no error counter
of the kernel may have, and what passed the link must have been ESP or AH as the case says, under the case's SPIs, and
nothing in clear. With ESN both ends' numbers begin shortly before 2^32 and pass it.

`, r.Date.UTC().Format("2006-01-02 15:04 UTC"), r.Kernel, r.Agent, len(r.Results), len(r.Results)-len(failed),
		r.Took.Round(time.Second), transferSize)
	b.WriteString("A cell counts the cases that passed: without and with ESN. ✓ stands for all of them.\n")
	for _, t := range []struct {
		title string
		of    func(Case) bool
	}{
		{"ESP", func(c Case) bool { return c.Protocol == ESP && c.Inner == c.Outer }},
		{"ESP in tunnels of another IP version", func(c Case) bool { return c.Protocol == ESP && c.Inner != c.Outer }},
		{"AH", func(c Case) bool { return c.Protocol == AH }},
	} {
		r.table(&b, t.title, t.of)
	}
	r.absent(&b)
	b.WriteString("\n## What failed\n\n")
	if len(failed)+len(r.Notes) == 0 {
		b.WriteString("Nothing.\n")
	}
	for _, f := range failed {
		fmt.Fprintf(&b, "* case %d, %v: %s\n", f.Number, f.Case, strings.Join(f.Failures, "; "))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "* %s\n", n)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// table has a row per transform and a column per combination of the rest, both in the order of the cases.
func (r Report) table(b *strings.Builder, title string, of func(Case) bool) {
	type cell struct{ row, column string }
	var rows, columns []string
	passed, all := map[cell]int{}, map[cell]int{}
	for _, result := range r.Results {
		if !of(result.Case) {
			continue
		}
		at := cell{result.Transform(), column(result.Case)}
		if !slices.Contains(rows, at.row) {
			rows = append(rows, at.row)
		}
		if !slices.Contains(columns, at.column) {
			columns = append(columns, at.column)
		}
		all[at]++
		if len(result.Failures) == 0 {
			passed[at]++
		}
	}
	fmt.Fprintf(b, "\n## %s\n\n| transform | %s |\n|---|%s\n", title, strings.Join(columns, " | "), strings.Repeat(":-:|", len(columns)))
	for _, row := range rows {
		fmt.Fprintf(b, "| %s |", row)
		for _, column := range columns {
			at := cell{row, column}
			switch {
			case all[at] == 0:
				b.WriteString(" |")
			case passed[at] == all[at]:
				b.WriteString(" ✓ |")
			default:
				fmt.Fprintf(b, " **%d of %d** |", passed[at], all[at])
			}
		}
		b.WriteByte('\n')
	}
}

// column names what a case is but for its transform and ESN.
func column(c Case) string {
	parts := []string{c.Mode.String(), c.Families()}
	if c.Protocol == ESP {
		parts = append(parts, c.Encapsulation.String())
	}
	if c.alignable() {
		parts = append(parts, c.alignment())
	}
	return strings.Join(parts, " ")
}

// absent says what could not be tried.
func (r Report) absent(b *strings.Builder) {
	esp, ah := NotInPeer()
	fmt.Fprintf(b, `
## Not in the peer

What we have and this kernel has not, so that nothing can be said about it here. BLAKE2s-128 as integrity is ours
alone, with a number of the private-use range. AES-GMAC as integrity of AH (RFC 4543 section 4) is not among the
algorithms that Linux knows for AH (net/xfrm/xfrm_algo.c); for ESP it is, and is above.

* ESP: %s
* AH: %s
`, strings.Join(esp, ", "), strings.Join(ah, ", "))
}
