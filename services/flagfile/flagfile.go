// Package flagfile reads a daemon's configuration file: YAML with one key per command line flag, the
// flag's long name. What the command line sets wins over the file.
package flagfile

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/pflag"
)

// maxSize bounds a configuration file, bytes.
const maxSize = 1 << 20

// Apply sets flags from the file at path. Errors name the file, the line and the key.
func Apply(flags *pflag.FlagSet, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	if info.Size() > maxSize {
		return fmt.Errorf("configuration file %s has %d bytes; at most %d are read", path, info.Size(), maxSize)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration file: %w", err)
	}
	if err := apply(flags, raw); err != nil {
		return fmt.Errorf("%s:%w", path, err)
	}
	return nil
}

func apply(flags *pflag.FlagSet, raw []byte) error {
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return fmt.Errorf("1: not YAML: %w", err)
	}
	if len(file.Docs) > 1 {
		return fmt.Errorf("%d: one document only", file.Docs[1].GetToken().Position.Line)
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil // empty, or comments only
	}
	switch body := file.Docs[0].Body.(type) {
	case *ast.MappingNode:
		return applyAll(flags, body.Values)
	case *ast.MappingValueNode:
		return applyAll(flags, []*ast.MappingValueNode{body})
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil
	default:
		return fmt.Errorf("%d: want lines of the form key: value", body.GetToken().Position.Line)
	}
}

func applyAll(flags *pflag.FlagSet, entries []*ast.MappingValueNode) error {
	seen := map[string]bool{}
	for _, e := range entries {
		key := e.Key.GetToken()
		if seen[key.Value] {
			return fmt.Errorf("%d: %s is set twice", key.Position.Line, key.Value)
		}
		seen[key.Value] = true
		if err := set(flags, key.Value, e.Value); err != nil {
			return fmt.Errorf("%d: %w", key.Position.Line, err)
		}
	}
	return nil
}

// notInFile are flags that make no sense in a file.
var notInFile = []string{"config", "help", "version"}

func set(flags *pflag.FlagSet, key string, value ast.Node) error {
	flag := flags.Lookup(key)
	for _, no := range notInFile {
		if key == no {
			flag = nil
		}
	}
	if flag == nil {
		return fmt.Errorf("unknown key %q: the keys are the names of the flags, see --help", key)
	}
	values, err := scalars(value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if flag.Changed {
		return nil // the command line wins
	}
	// The flag's own value is set, not the flag set's, so that a list in the file does not count as
	// given on the command line.
	if slice, ok := flag.Value.(pflag.SliceValue); ok {
		err = slice.Replace(values)
	} else if len(values) != 1 {
		err = fmt.Errorf("want one value, not %d", len(values))
	} else {
		err = flag.Value.Set(values[0])
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// scalars are a scalar's text, or those of a list.
func scalars(n ast.Node) ([]string, error) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		var out []string
		for _, item := range n.Values {
			s, err := scalar(item)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
		return out, nil
	default:
		s, err := scalar(n)
		return []string{s}, err
	}
}

func scalar(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return strings.TrimSuffix(n.Value.Value, "\n"), nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	}
	return "", errors.New("want a value or a list of values")
}
