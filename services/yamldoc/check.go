package yamldoc

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// checkTree refuses what the package comment rules out. The parser has no such checks for nodes.
// It also counts the lines before the document in.
func checkTree(root *yaml.Node, before int) error {
	c := &checker{before: before, anchored: make(map[*yaml.Node]extent)}
	if _, err := c.node(root, 0); err != nil {
		return err
	}
	return nil
}

// extent is how much a node holds with its aliases written out.
type extent struct {
	size   int // bytes of scalars, and one for each node
	height int // collections in each other
}

// checker walks a tree once, depth first.
type checker struct {
	before int
	// anchored are the nodes with an anchor that have been left. An anchor stands before its aliases,
	// so an alias to a node that is not here stands inside it.
	anchored map[*yaml.Node]extent
}

func fail(n *yaml.Node, format string, args ...any) *Error {
	return &Error{Line: n.Line, Column: n.Column, Problem: fmt.Sprintf(format, args...)}
}

// node checks a node that lies in so many collections.
func (c *checker) node(n *yaml.Node, depth int) (extent, *Error) {
	n.Line += c.before
	e, err := c.measure(n, depth)
	switch {
	case err != nil:
		return extent{}, err
	case n.Style&yaml.TaggedStyle != 0:
		return extent{}, fail(n, "tags are not supported: remove %s", n.Tag)
	case depth+e.height > MaxNesting:
		return extent{}, fail(n, "collections nest deeper than %d", MaxNesting)
	case e.size > MaxExpanded:
		return extent{}, fail(n, "aliases make the document longer than %d MiB", MaxExpanded>>20)
	}
	if n.Anchor != "" {
		c.anchored[n] = e
	}
	return e, nil
}

func (c *checker) measure(n *yaml.Node, depth int) (extent, *Error) {
	switch n.Kind {
	case yaml.ScalarNode:
		return extent{size: 1 + len(n.Value)}, nil
	case yaml.AliasNode:
		e, ok := c.anchored[n.Alias]
		if !ok {
			return extent{}, fail(n, "the alias *%s stands inside what it names", n.Value)
		}
		return e, nil
	}
	if depth >= MaxNesting { // before the recursion
		return extent{}, fail(n, "collections nest deeper than %d", MaxNesting)
	}
	total := extent{size: 1}
	for _, child := range n.Content {
		e, err := c.node(child, depth+1)
		if err != nil {
			return extent{}, err
		}
		total.size += e.size
		total.height = max(total.height, e.height)
		if total.size > MaxExpanded {
			return total, nil // node refuses it; a sum of many more could overflow
		}
	}
	if n.Kind == yaml.MappingNode {
		if err := checkKeys(n); err != nil {
			return extent{}, err
		}
	}
	total.height++
	return total, nil
}

// checkKeys checks the keys of a mapping whose nodes have been checked.
func checkKeys(n *yaml.Node) *Error {
	first := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind == yaml.ScalarNode && key.Tag == "!!merge":
			return fail(key, "merge keys (<<) are not supported: write the fields out")
		case key.Kind == yaml.AliasNode, TypeOf(key) != Text:
			return fail(key, "a key must be a string, this is %s: put it in quotes", Describe(key))
		}
		if before, dup := first[key.Value]; dup {
			return fail(key, "%q is given twice: first on line %d", key.Value, before.Line)
		}
		first[key.Value] = key
	}
	return nil
}
