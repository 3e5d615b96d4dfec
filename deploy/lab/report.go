//go:build linux

package lab

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// report prints a demonstration: a heading per step, a line per fact, and a verdict.
type report struct {
	out    io.Writer
	step   int
	failed int
	passed int
	began  time.Time
}

// heading begins a step.
func (r *report) heading(title string) {
	r.step++
	fmt.Fprintf(r.out, "\n%d. %s\n", r.step, title)
	r.began = time.Now()
}

// check prints one line of a step's table and counts its verdict. It returns ok.
func (r *report) check(what, seen string, err error) bool {
	verdict := "PASS"
	if err != nil {
		verdict = "FAIL"
		r.failed++
	} else {
		r.passed++
	}
	fmt.Fprintf(r.out, "   %-4s  %-46s %s\n", verdict, what, seen)
	if err != nil {
		fmt.Fprintf(r.out, "         %v\n", err)
	}
	return err == nil
}

// elapsed is the time since the step began, for a check's "seen".
func (r *report) elapsed() string { return time.Since(r.began).Round(10 * time.Millisecond).String() }

// verdict prints the sum. An error says how many checks failed.
func (r *report) verdict() error {
	fmt.Fprintf(r.out, "\n%d passed, %d failed\n", r.passed, r.failed)
	if r.failed > 0 {
		return fmt.Errorf("lab: %d of %d checks failed", r.failed, r.passed+r.failed)
	}
	return nil
}

// oneLine joins what a command printed.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' }), "; ")
}
