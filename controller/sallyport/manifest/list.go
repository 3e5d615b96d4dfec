package manifest

import (
	"slices"
	"strings"
)

// list joins names for a message: "a, b or c".
func list(names []string) string {
	names = slices.Clone(names)
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}
