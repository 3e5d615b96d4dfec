// Package spec checks and completes what operators want, beyond what the API's own validation rules
// say: each function is pure and looks at one resource, or at one resource among the others of the
// fleet (Subnets). Problems name the field in the resource, as in "spec.subnets[1]", and say what to do.
package spec

import "fmt"

// Problem is one field that is wrong.
type Problem struct {
	// Field is the path inside the resource, as in "spec.subnets[1]".
	Field string
	// Text says what is wrong with which value, and what to do.
	Text string
}

// Report collects the problems of one resource, which forbid it, and warnings, which do not.
type Report struct {
	Problems []Problem
	Warnings []string
}

// Problem adds a problem.
func (r *Report) Problem(field, format string, args ...any) { r.problem(field, format, args...) }

func (r *Report) problem(field, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{Field: field, Text: fmt.Sprintf(format, args...)})
}

func (r *Report) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}
