package plan

import "slices"

// MaxSelector is the length in bytes that ParseSelector accepts.
const MaxSelector = 1024

// Selector selects hosts by label, in kubectl's syntax: "*" for all, else requirements joined by ","
// that must all hold. Like kubectl's, k!=v and "k notin (…)" also select what has no label k.
// The zero value selects nothing.
type Selector struct {
	text         string
	all          bool
	requirements []requirement
}

// requirement is one term of a selector.
type requirement struct {
	key      string
	operator operator
	values   []string
}

// operator is what a requirement asks of a label.
type operator uint8

const (
	exists    operator = iota // k
	notExists                 // !k
	in                        // k=v, k==v, k in (…)
	notIn                     // k!=v, k notin (…)
)

// Matches reports whether a host with these labels is selected.
func (s Selector) Matches(labels map[string]string) bool {
	if s.all {
		return true
	}
	for _, r := range s.requirements {
		if !r.matches(labels) {
			return false
		}
	}
	return len(s.requirements) > 0
}

func (r requirement) matches(labels map[string]string) bool {
	value, ok := labels[r.key]
	switch r.operator {
	case exists:
		return ok
	case notExists:
		return !ok
	case in:
		return ok && slices.Contains(r.values, value)
	case notIn:
		return !ok || !slices.Contains(r.values, value)
	}
	return false
}

// IsZero reports whether the selector is the zero value, which selects nothing.
func (s Selector) IsZero() bool { return !s.all && len(s.requirements) == 0 }

// String returns the text that was parsed.
func (s Selector) String() string { return s.text }
