//go:build linux

package strongswan

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Result is what came of a scenario.
type Result struct {
	Scenario Scenario
	Err      error
	Took     time.Duration
}

// Report is what a run has found.
type Report struct {
	Date       time.Time
	StrongSwan string // version
	Results    []Result
	Took       time.Duration
}

// Version is strongSwan's, as swanctl tells it.
func (p Programs) Version() string {
	out, err := exec.Command(p.Swanctl, "--help").CombinedOutput()
	if line, _, _ := strings.Cut(string(out), "\n"); err == nil || line != "" {
		return strings.TrimSpace(line)
	}
	return "unknown"
}

// Write writes the report as Markdown.
func (r Report) Write(b *strings.Builder) {
	passed := 0
	for _, result := range r.Results {
		if result.Err == nil {
			passed++
		}
	}
	fmt.Fprintf(b, `# strongSwan as peer

Written by `+"`make interop-strongswan`"+`; do not edit.

| | |
|---|---|
| date | %s |
| peer | %s, ESP in userspace by kernel-libipsec |
| scenarios | %d, of which %d passed |
| took | %v |

Each scenario is a file of `+"`deploy/interop/strongswan/scenarios`"+`: both sides' settings, and steps that are waited for. A
gateway of each side has a network behind it; "traffic passes" pings between them both ways, and "is up" means that both
sides have the same IKE SA with the same SPIs of its child.

| scenario | what it shows | steps | result |
|---|---|---|---|
`, r.Date.UTC().Format("2006-01-02 15:04 UTC"), r.StrongSwan, len(r.Results), passed, r.Took.Round(time.Second))
	results := slices.Clone(r.Results)
	slices.SortStableFunc(results, func(a, b Result) int { return strings.Compare(a.Scenario.Name, b.Scenario.Name) })
	for _, result := range results {
		verdict := fmt.Sprintf("✓ %.1f s", result.Took.Seconds())
		if result.Err != nil {
			first, _, _ := strings.Cut(result.Err.Error(), "\n")
			verdict = "✗ " + strings.ReplaceAll(first, "|", "\\|")
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", result.Scenario.Name, result.Scenario.Title, strings.Join(result.Scenario.Steps, "; "), verdict)
	}
}
