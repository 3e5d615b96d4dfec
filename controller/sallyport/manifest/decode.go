package manifest

import (
	"fmt"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// entry is one key of a mapping with its value.
type entry struct {
	name  string
	key   ast.Node
	value ast.Node
}

// entries returns the keys of a mapping. what names the mapping in errors. A null has none.
func (d *decoder) entries(n ast.Node, what string) ([]entry, bool) {
	var values []*ast.MappingValueNode
	switch v := n.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.MappingNode:
		values = v.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{v}
	default:
		d.fail(d.where(n), "%s must be a mapping of keys to values, this is %s", what, describe(n))
		return nil, false
	}
	found := make([]entry, 0, len(values))
	for _, mv := range values {
		e, ok := d.entry(mv)
		if !ok {
			return nil, false
		}
		found = append(found, e)
	}
	return found, true
}

func (d *decoder) entry(mv *ast.MappingValueNode) (entry, bool) {
	var key ast.Node = mv.Key
	if explicit, ok := key.(*ast.MappingKeyNode); ok {
		key = explicit.Value
	}
	switch k := key.(type) {
	case *ast.StringNode:
		return entry{name: k.Value, key: key, value: mv.Value}, true
	case *ast.MergeKeyNode:
		d.fail(d.where(key), "merge keys (<<) are not supported: write the fields out")
	default:
		d.fail(d.where(key), "a key must be a string, this is %s: put it in quotes", describe(key))
	}
	return entry{}, false
}

// message decodes entries into m. path is the canonical path of m in the resource ("" for the
// resource itself), written the same path as the file spells it.
func (d *decoder) message(entries []entry, m protoreflect.Message, what, path, written string) {
	fields := m.Descriptor().Fields()
	seen := make(map[protoreflect.Name]entry, len(entries))
	for _, e := range entries {
		fd := fields.ByJSONName(e.name)
		if fd == nil {
			fd = fields.ByName(protoreflect.Name(e.name))
		}
		if fd == nil {
			d.fail(d.where(e.key), "unknown field %q in %s%s", e.name, what, Suggest(e.name, jsonNames(fields, path == "")))
			continue
		}
		if first, dup := seen[fd.Name()]; dup {
			d.fail(d.where(e.key), "%q is given twice: first as %q on line %d", e.name, first.name, d.where(first.key).Line)
			continue
		}
		seen[fd.Name()] = e
		d.field(e, m, fd, join(path, string(fd.Name())), join(written, e.name))
	}
}

// jsonNames lists the fields of a message, for suggestions; at the top also the kind, and not the
// status, which nobody writes.
func jsonNames(fields protoreflect.FieldDescriptors, top bool) []string {
	var names []string
	for i := range fields.Len() {
		name := fields.Get(i).JSONName()
		if top && name == "status" {
			continue
		}
		names = append(names, name)
	}
	if top {
		names = append(names, "kind")
	}
	return names
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// field decodes one field. A null leaves it unset, as in protojson.
func (d *decoder) field(e entry, m protoreflect.Message, fd protoreflect.FieldDescriptor, path, written string) {
	d.doc.fields[path] = place{at: d.where(e.key), path: written}
	n := d.resolve(e.value)
	if n == nil {
		return
	}
	if _, null := n.(*ast.NullNode); null && !fd.IsList() && !fd.IsMap() && !isMessage(fd) {
		return
	}
	switch {
	case fd.IsMap():
		d.mapField(n, m, fd, path, written)
	case fd.IsList():
		d.listField(n, m, fd, path, written)
	case isMessage(fd):
		entries, ok := d.entries(n, written)
		if ok {
			d.message(entries, m.Mutable(fd).Message(), written, path, written)
		}
	default:
		d.doc.fields[path] = place{at: d.where(e.value), path: written}
		if v, ok := d.scalar(n, fd, written); ok {
			m.Set(fd, v)
		}
	}
}

// isMessage is true for a field that is written as a mapping: durations and timestamps are not.
func isMessage(fd protoreflect.FieldDescriptor) bool {
	if fd.Kind() != protoreflect.MessageKind {
		return false
	}
	name := fd.Message().FullName()
	return name != durationName && name != timestampName
}

// mapField decodes a map of strings to strings, which is all that the API has.
func (d *decoder) mapField(n ast.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path, written string) {
	entries, ok := d.entries(n, written)
	if !ok {
		return
	}
	if fd.MapKey().Kind() != protoreflect.StringKind || fd.MapValue().Kind() != protoreflect.StringKind {
		d.fail(d.where(n), "%s cannot be written in a file", written)
		return
	}
	values := m.Mutable(fd).Map()
	for _, e := range entries {
		index := "[" + strconv.Quote(e.name) + "]"
		d.doc.fields[path+index] = place{at: d.where(e.key), path: written + "." + e.name}
		if values.Has(protoreflect.ValueOfString(e.name).MapKey()) {
			d.fail(d.where(e.key), "%s has %q twice", written, e.name)
			continue
		}
		if _, null := e.value.(*ast.NullNode); null {
			d.fail(d.where(e.key), "%s.%s has no value: write \"\" for an empty one", written, e.name)
			continue
		}
		if v, ok := d.text(e.value, written+"."+e.name); ok {
			values.Set(protoreflect.ValueOfString(e.name).MapKey(), protoreflect.ValueOfString(v))
		}
	}
}

// listField decodes a list of scalars or messages.
func (d *decoder) listField(n ast.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path, written string) {
	if _, null := n.(*ast.NullNode); null {
		return
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(d.where(n), "%s must be a list, this is %s: write - before each item", written, describe(n))
		return
	}
	values := m.Mutable(fd).List()
	for i, item := range seq.Values {
		index := fmt.Sprintf("[%d]", i)
		d.doc.fields[path+index] = place{at: d.where(item), path: written + index}
		value := d.resolve(item)
		switch {
		case value == nil:
		case isMessage(fd):
			entries, ok := d.entries(value, written+index)
			if ok {
				d.message(entries, values.AppendMutable().Message(), written+index, path+index, written+index)
			}
		default:
			if v, ok := d.scalar(value, fd, written+index); ok {
				values.Append(v)
			}
		}
	}
}
