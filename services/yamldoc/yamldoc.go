// Package yamldoc reads one YAML document from hostile text, strictly.
//
// The tree it returns is safe to walk, aliases followed:
//
//   - no cycle, at most MaxNesting collections deep, at most MaxExpanded long with the aliases written out;
//   - every key is a string and stands once in its mapping; no merge keys, no tags;
//   - no characters that one reader takes for a line break and another does not.
//
// Scalars are left as they were written. TypeOf says what YAML 1.2 takes one for, so that a caller
// converts by the type that it wants and never by the look of the text: no, on and 0123 stay text.
package yamldoc

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxNesting is how deep collections may nest.
	MaxNesting = 32
	// MaxExpanded bounds a document with its aliases written out: bytes of scalars and one for each
	// node. A text of MaxSize without an alias stays below it.
	MaxExpanded = 2 * MaxSize
	// MaxSize is the longest text, bytes.
	MaxSize = 1 << 20
)

// Error is what is wrong with a document, and where.
type Error struct {
	// Line counts from 1.
	Line int
	// Column counts characters from 1; it is 1 where only the line is known.
	Column int
	// Problem is what, and what to do. It quotes no values, only keys, tags and the names of anchors.
	Problem string
}

// Error returns the line and the problem.
func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Problem) }

// Parse returns the root of the document in text, nil for a text without one. An error is an *Error.
// Before is how many lines of the file stand before the text: nodes and errors have the file's lines.
func Parse(text []byte, before int) (*yaml.Node, error) {
	root, err := parse(text)
	if err != nil {
		err.Line += before
		return nil, err
	}
	if root == nil {
		return nil, nil
	}
	if err := checkTree(root, before); err != nil {
		return nil, err
	}
	return root, nil
}

func parse(text []byte) (*yaml.Node, *Error) {
	if len(text) > MaxSize {
		return nil, &Error{1, 1, fmt.Sprintf("longer than %d MiB", MaxSize>>20)}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if err := checkCharacters(text); err != nil {
		return nil, err
	}
	text = withoutVersion(text)
	docs, problem := decode(bytes.NewReader(text))
	if problem != "" {
		return nil, syntaxError(text, problem)
	}
	if len(docs) == 0 {
		return nil, nil
	}
	if len(docs) > 1 {
		return nil, &Error{docs[1].Line, docs[1].Column, "one document only: another begins here"}
	}
	return docs[0].Content[0], nil
}

// withoutVersion makes a comment of a directive %YAML 1.2 before the document. The parser knows 1.1
// only; the differences that matter are in TypeOf.
func withoutVersion(text []byte) []byte {
	start := 0
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("%YAML 1.2")) {
			text = bytes.Clone(text)
			text[start] = '#'
			return text
		}
		if trimmed := bytes.TrimSpace(line); len(trimmed) > 0 && trimmed[0] != '#' {
			break
		}
		start += len(line)
	}
	return text
}

// Value returns the node that n stands for: n itself, or what an alias names.
func Value(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
