//go:build linux

package main

import (
	"io"
	"slices"
	"testing"
)

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		arguments []string
		pairs     int
		seconds   int
		valid     bool
	}{
		{nil, 7, 5, true},
		{[]string{"--pairs", "9", "--seconds", "10"}, 9, 10, true},
		{[]string{"--pairs", "6"}, 6, 5, false},
		{[]string{"--seconds", "4"}, 7, 4, false},
		{[]string{"--quick"}, 2, 2, false},
	} {
		o, err := parse(c.arguments, io.Discard)
		if err != nil || o.pairs != c.pairs || o.seconds != c.seconds || o.valid() != c.valid {
			t.Errorf("%v: %+v, %v", c.arguments, o, err)
		}
	}
	for _, wrong := range [][]string{{"--pairs", "0"}, {"--seconds", "-1"}, {"--figures", "1,99"}, {"--no-such"}} {
		if o, err := parse(wrong, io.Discard); err == nil {
			t.Errorf("%v: %+v", wrong, o)
		}
	}
}

// Every figure of the goals is there, and one number selects what gives it and nothing else.
func TestChosen(t *testing.T) {
	all := names()
	for _, name := range []string{"1", "2", "2b", "2c", "3", "4", "5", "6", "7", "8", "9", "ipv6", "ah"} {
		if !slices.Contains(all, name) {
			t.Errorf("no figure %s", name)
		}
	}
	for _, c := range []struct {
		figures            []string
		measured, inMemory int
	}{{nil, len(plan()), len(inMemoryPlan())}, {[]string{"2"}, 1, 0}, {[]string{"2b"}, 2, 0}, {[]string{"5", "9"}, 1, 4}} {
		o := options{figures: c.figures}
		if m, i := len(o.chosen()), len(o.chosenInMemory()); m != c.measured || i != c.inMemory {
			t.Errorf("%v: %d measurements and %d in memory, want %d and %d", c.figures, m, i, c.measured, c.inMemory)
		}
	}
}
