// Package flagfile reads a daemon's configuration file: YAML with one key per command line flag, the
// flag's long name. What the command line sets wins over the file.
package flagfile

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"sallyport.dev/sallyport/services/yamldoc"
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
	root, err := yamldoc.Parse(raw, 0)
	if bad, ok := errors.AsType[*yamldoc.Error](err); ok {
		return fmt.Errorf("%d: %s", bad.Line, bad.Problem)
	}
	if err != nil || root == nil {
		return err // nil: empty, or comments only
	}
	switch yamldoc.TypeOf(root) {
	case yamldoc.Null:
		return nil
	case yamldoc.Mapping:
		return applyAll(flags, root)
	default:
		return fmt.Errorf("%d: want lines of the form key: value", root.Line)
	}
}

func applyAll(flags *pflag.FlagSet, root *yaml.Node) error {
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if err := set(flags, key.Value, value); err != nil {
			return fmt.Errorf("%d: %w", key.Line, err)
		}
	}
	return nil
}

// notInFile are flags that make no sense in a file.
var notInFile = []string{"config", "help", "version"}

func set(flags *pflag.FlagSet, key string, value *yaml.Node) error {
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
func scalars(n *yaml.Node) ([]string, error) {
	n = yamldoc.Value(n)
	if yamldoc.TypeOf(n) != yamldoc.List {
		s, err := scalar(n)
		return []string{s}, err
	}
	var out []string
	for _, item := range n.Content {
		s, err := scalar(yamldoc.Value(item))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// scalar is the text of a scalar as it was written: the flag decides what it means.
func scalar(n *yaml.Node) (string, error) {
	switch yamldoc.TypeOf(n) {
	case yamldoc.List, yamldoc.Mapping, yamldoc.Null:
		return "", errors.New("want a value or a list of values")
	}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return strings.TrimSuffix(n.Value, "\n"), nil
	}
	return n.Value, nil
}
