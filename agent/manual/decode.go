package manual

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/sallyport/services/yamldoc"
)

// maxErrors is how many errors are collected before the rest is dropped.
const maxErrors = 50

// decoder reads values and collects what is wrong with them.
type decoder struct {
	file    string
	readKey keyReader
	errs    Errors
	// inline is set when a key stands in the file itself.
	inline bool
}

// fail records an error at a node. err, which may be nil, is the reason for errors.Is.
func (d *decoder) fail(n *yaml.Node, err error, format string, args ...any) {
	if len(d.errs) < maxErrors {
		d.errs = append(d.errs, &Error{Position: Position{d.file, n.Line, n.Column}, Message: fmt.Sprintf(format, args...), Err: err})
	}
}

// entry is one key of a mapping with its value, an alias followed.
type entry struct{ key, value *yaml.Node }

// fields are the entries of a mapping by name.
type fields map[string]entry

// mapping reads a mapping that may have the named keys. what names it in errors.
func (d *decoder) mapping(n *yaml.Node, what string, names []string) (fields, bool) {
	if yamldoc.TypeOf(n) != yamldoc.Mapping {
		d.fail(n, nil, "%s must be a mapping of keys to values, this is %s", what, yamldoc.Describe(n))
		return nil, false
	}
	n = yamldoc.Value(n)
	m := make(fields, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], yamldoc.Value(n.Content[i+1])
		switch {
		case !slices.Contains(names, key.Value):
			d.fail(key, nil, "unknown field %q in %s%s", key.Value, what, yamldoc.Suggest(key.Value, names))
		case yamldoc.TypeOf(value) == yamldoc.Null:
			d.fail(key, nil, "%s of %s has no value", key.Value, what)
		default:
			m[key.Value] = entry{key, value}
		}
	}
	return m, true
}

// list reads a list.
func (d *decoder) list(e entry) []*yaml.Node {
	if yamldoc.TypeOf(e.value) != yamldoc.List {
		d.fail(e.value, nil, "%s must be a list, this is %s: put it in [ ]", e.key.Value, yamldoc.Describe(e.value))
		return nil
	}
	return e.value.Content
}

// text reads a string.
func (d *decoder) text(n *yaml.Node, what string) (string, bool) {
	switch yamldoc.TypeOf(n) {
	case yamldoc.Text:
		return yamldoc.Value(n).Value, true
	case yamldoc.Int, yamldoc.Float, yamldoc.Bool:
		d.fail(n, nil, "%s must be a string, this is %s: put it in quotes", what, yamldoc.Describe(n))
	default:
		d.fail(n, nil, "%s must be a string, this is %s", what, yamldoc.Describe(n))
	}
	return "", false
}

// word reads one of some words and returns its index; the first is the default, also of what is wrong. An empty
// word cannot be written.
func (d *decoder) word(m fields, name string, words ...string) int {
	e, given := m[name]
	if !given {
		return 0
	}
	if text, ok := d.text(e.value, name); ok {
		if i := slices.Index(words, text); i >= 0 && text != "" {
			return i
		}
		words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "" })
		d.fail(e.value, nil, "%s %q: want %s", name, text, strings.Join(words, " or "))
	}
	return 0
}

// boolean reads true or false.
func (d *decoder) boolean(m fields, name string, otherwise bool) bool {
	e, given := m[name]
	if !given {
		return otherwise
	}
	if yamldoc.TypeOf(e.value) != yamldoc.Bool {
		d.fail(e.value, nil, "%s must be true or false, this is %s", name, yamldoc.Describe(e.value))
		return otherwise
	}
	return strings.EqualFold(e.value.Value, "true")
}

// number reads a whole number, in decimal or hexadecimal digits, 0 where there is none.
func (d *decoder) number(m fields, name string, least, most uint64) uint64 {
	e, given := m[name]
	if !given {
		return 0
	}
	if yamldoc.TypeOf(e.value) == yamldoc.Int {
		if v, err := strconv.ParseUint(e.value.Value, 0, 64); err == nil && v >= least && v <= most {
			return v
		}
	}
	d.fail(e.value, nil, "%s must be a whole number from %d to %d, this is %s", name, least, most, yamldoc.Describe(e.value))
	return 0
}

// duration reads a duration, 0 where there is none.
func (d *decoder) duration(m fields, name string) time.Duration {
	e, given := m[name]
	if !given {
		return 0
	}
	if yamldoc.TypeOf(e.value) == yamldoc.Text {
		if v, err := time.ParseDuration(e.value.Value); err == nil && v >= 0 {
			return v
		}
	}
	d.fail(e.value, nil, "%s must be a duration such as 90s, 30m or 1h30m, this is %s", name, describe(e.value))
	return 0
}

// address reads one address, invalid where there is none.
func (d *decoder) address(m fields, name string) netip.Addr {
	e, given := m[name]
	if !given {
		return netip.Addr{}
	}
	text, ok := d.text(e.value, name)
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		d.fail(e.value, nil, "%s %q: want an address such as 192.0.2.1 or 2001:db8::1", name, text)
		return netip.Addr{}
	case a.Is4In6() || a.Zone() != "" || a.IsUnspecified():
		d.fail(e.value, nil, "%s %q: no packet has this address", name, text)
		return netip.Addr{}
	}
	return a
}

// describe is yamldoc.Describe, but shows a string. It is not for keys.
func describe(n *yaml.Node) string {
	if yamldoc.TypeOf(n) == yamldoc.Text {
		return strconv.Quote(n.Value)
	}
	return yamldoc.Describe(n)
}
