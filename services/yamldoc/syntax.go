package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decode returns the first two documents of a text, or what is wrong with it.
func decode(text io.Reader) (docs []*yaml.Node, problem string) {
	defer func() {
		// The parser is foreign: one bad file must not look like a crash of this program.
		if recover() != nil {
			docs, problem = nil, "this cannot be read"
		}
	}()
	for d := yaml.NewDecoder(text); len(docs) < 2; {
		var doc yaml.Node
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, strings.TrimPrefix(err.Error(), "yaml: ")
		}
		docs = append(docs, &doc)
	}
	return docs, ""
}

// syntaxError finds the line of a problem and says what to do. The parser's own line is that of the
// enclosing collection or of the problem, in some cases less one, and often there is none.
func syntaxError(text []byte, problem string) *Error {
	lines := bytes.SplitAfter(text, []byte("\n"))
	numbered, line := firstLine(lines)
	problem = bare(problem)
	if strings.HasPrefix(problem, "did not find expected ','") {
		// Here the parser names the line of the open bracket, counted from 0: right, as it saw one more.
		fmt.Sscanf(numbered, "line %d:", &line)
	}
	column := 1
	if name, ok := unknownAnchor(problem); ok {
		column = max(bytes.Index(lines[line-1], []byte("*"+name)), 0) + 1
	}
	return &Error{Line: line, Column: column, Problem: explain(problem)}
}

// bare cuts "line 7: " from a problem.
func bare(problem string) string {
	if _, after, ok := strings.Cut(problem, ": "); ok && strings.HasPrefix(problem, "line ") {
		return after
	}
	return problem
}

// firstLine returns the number of the first line at which the text is wrong: if it ended there, the
// problem would be the same. For a quote that nobody closes it is the line that opens it. The problem
// is returned as the parser puts it after the empty line of a lineReader.
func firstLine(lines [][]byte) (problem string, line int) {
	all := &lineReader{lines: lines}
	_, problem = decode(all)
	same := func(n int) bool {
		_, p := decode(bytes.NewReader(append([]byte("\n"), bytes.Join(lines[:n], nil)...)))
		return p == problem
	}
	// The parser has looked at little more than it needed, so search backwards in growing steps, then
	// between the last two.
	found, step := max(all.read, 1), 1
	for found > step && same(found-step) {
		found -= step
		step *= 2
	}
	low := max(found-step, 0) // not the same here, or no line at all
	for found-low > 1 {
		if middle := (low + found) / 2; same(middle) {
			found = middle
		} else {
			low = middle
		}
	}
	return problem, found
}

// lineReader gives one line at a time and counts them. It begins with an empty line of its own: for the
// first line the parser would forget where a collection or a quote began.
type lineReader struct {
	lines   [][]byte
	read    int // lines begun
	rest    []byte
	started bool
}

// Read returns the rest of the line, or the next line.
func (r *lineReader) Read(p []byte) (int, error) {
	if !r.started {
		r.started, r.rest = true, []byte("\n")
	}
	for len(r.rest) == 0 {
		if r.read == len(r.lines) {
			return 0, io.EOF
		}
		r.rest = r.lines[r.read]
		r.read++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func unknownAnchor(problem string) (string, bool) {
	rest, ok := strings.CutPrefix(problem, "unknown anchor '")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, "' referenced")
}

// explain adds to the parser's words what people usually did.
func explain(problem string) string {
	if name, ok := unknownAnchor(problem); ok {
		return "there is no anchor &" + name + " in this document"
	}
	switch problem {
	case "did not find expected alphabetic or numeric character":
		return `a * or & at the start of a value is an alias or an anchor: to mean the text, quote it: "*"`
	case "found character that cannot start any token":
		return "not YAML: " + problem + ": indent by spaces, not tabs, and quote a value that begins with @, ` or %"
	case "found a tab character that violates indentation":
		return "not YAML: " + problem + ": indent by spaces"
	case "mapping values are not allowed in this context":
		return `not YAML: a ": " where none can be: check the indentation, or quote the value`
	case "could not find expected ':'":
		return "not YAML: a key without a colon"
	case "did not find expected key":
		return "not YAML: " + problem + ": check the indentation, and that nothing follows a quoted value"
	case "did not find expected node content":
		return `not YAML: a value is missing, or one between brackets begins with a colon: quote it: "::/0"`
	case "did not find expected ',' or ']'", "did not find expected ',' or '}'":
		return "not YAML: " + problem + " after the bracket that opens here"
	case "found unexpected end of stream":
		return "not YAML: the quote that opens here is not closed"
	case "exceeded max depth of 10000":
		return "collections nest too deep"
	}
	return "not YAML: " + problem
}
