package render

import (
	"bytes"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// Diff returns the unified difference of two texts, nil when they are the same.
func Diff(oldName string, before []byte, newName string, after []byte, colour bool) []byte {
	if bytes.Equal(before, after) {
		return nil
	}
	text := string(diff.Diff(oldName, before, newName, after))
	// The first line repeats the names as a command; the two lines after it have them.
	if _, rest, ok := strings.Cut(text, "\n"); ok && strings.HasPrefix(text, "diff ") {
		text = rest
	}
	if !colour {
		return []byte(text)
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		b.WriteString(diffStyle(line).Paint(line, true) + "\n")
	}
	return []byte(b.String())
}

func diffStyle(line string) Style {
	switch {
	case strings.HasPrefix(line, "--- "), strings.HasPrefix(line, "+++ "):
		return Bold
	case strings.HasPrefix(line, "@@"):
		return Faint
	case strings.HasPrefix(line, "-"):
		return Bad
	case strings.HasPrefix(line, "+"):
		return Good
	default:
		return Plain
	}
}
