//go:build linux

package record_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/deploy/bench/host"
	. "sallyport.dev/sallyport/deploy/bench/record"
	"sallyport.dev/sallyport/deploy/bench/tally"
)

func fixture() Report {
	return Report{
		Facts: host.Facts{Kernel: "Linux 6.12.1", CPU: "A Processor 9000", Cores: 2, Go: "go1.26.4"},
		Date:  time.Date(2026, 12, 24, 18, 30, 0, 0, time.UTC), Took: 31*time.Minute + 4*time.Second,
		Agent: "v1.2.3", Pairs: 7, Seconds: 5, Ciphers: []float64{28, 30.2, 29.64},
		Figures: []tally.Figure{
			{Name: "1", Title: "TCP, one stream", Unit: "×", Goal: tally.Goal{Relation: "≥", Bound: 2.5}, Value: 2.61, Min: 2.4, Max: 2.82,
				First: "5.01 Gbit/s", Second: "1.92 Gbit/s", Kept: 7, Discarded: 1, Lowest: 14.2, Highest: 17.1, Load: 1.5},
			{Title: "IPv6", Unit: "×", Value: 2.5, Min: 2.1, Max: 2.9, First: "4.80 Gbit/s", Second: "1.91 Gbit/s",
				Kept: 7, Lowest: 15, Highest: 16, Load: 1.25},
			{Name: "7", Title: "allocations per packet", Goal: tally.Goal{Relation: "≤"}, Value: 1, Min: 1, Max: 1},
		},
		Unmeasured: []string{"TCP, one stream, against strongSwan: pair 1: no answer\nand no end"},
	}
}

func TestMarkdown(t *testing.T) {
	const path = "testdata/benchmarks.md"
	got := fixture().Markdown()
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the page is\n%s\nwant\n%s", got, want)
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	fixture().Print(&b)
	const want = `figure 1: 2.61× (2.40–2.82) goal ≥ 2.5× PASS
figure 7: 1.00 (1.00–1.00) goal ≤ 0 FAIL
reported, IPv6: 2.50× (2.10–2.90)
`
	if b.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", b.String(), want)
	}
}
