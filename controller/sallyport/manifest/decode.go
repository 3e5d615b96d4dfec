package manifest

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	"sallyport.dev/sallyport/services/yamldoc"
)

// entry is one key of a mapping with its value.
type entry struct {
	name  string
	key   *yaml.Node
	value *yaml.Node // perhaps an alias
}

// entries returns the keys of a mapping. what names the mapping in errors. A null has none.
func (d *decoder) entries(n *yaml.Node, what string) ([]entry, bool) {
	switch yamldoc.TypeOf(n) {
	case yamldoc.Null:
		return nil, true
	case yamldoc.Mapping:
	default:
		d.fail(d.where(n), "%s must be a mapping of keys to values, this is %s", what, yamldoc.Describe(n))
		return nil, false
	}
	found := make([]entry, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		found = append(found, entry{name: n.Content[i].Value, key: n.Content[i], value: n.Content[i+1]})
	}
	return found, true
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
			d.fail(d.where(e.key), "unknown field %q in %s%s", e.name, what, yamldoc.Suggest(e.name, jsonNames(fields, path == "")))
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
	n := yamldoc.Value(e.value)
	if yamldoc.TypeOf(n) == yamldoc.Null && !fd.IsList() && !fd.IsMap() && !isMessage(fd) {
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
func (d *decoder) mapField(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path, written string) {
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
		value := yamldoc.Value(e.value)
		if yamldoc.TypeOf(value) == yamldoc.Null {
			d.fail(d.where(e.key), "%s.%s has no value: write \"\" for an empty one", written, e.name)
			continue
		}
		if v, ok := d.text(value, written+"."+e.name); ok {
			values.Set(protoreflect.ValueOfString(e.name).MapKey(), protoreflect.ValueOfString(v))
		}
	}
}

// listField decodes a list of scalars or messages.
func (d *decoder) listField(n *yaml.Node, m protoreflect.Message, fd protoreflect.FieldDescriptor, path, written string) {
	switch yamldoc.TypeOf(n) {
	case yamldoc.Null:
		return
	case yamldoc.List:
	default:
		d.fail(d.where(n), "%s must be a list, this is %s: write - before each item", written, yamldoc.Describe(n))
		return
	}
	values := m.Mutable(fd).List()
	for i, item := range n.Content {
		index := fmt.Sprintf("[%d]", i)
		d.doc.fields[path+index] = place{at: d.where(item), path: written + index}
		value := yamldoc.Value(item)
		if !isMessage(fd) {
			if v, ok := d.scalar(value, fd, written+index); ok {
				values.Append(v)
			}
		} else if entries, ok := d.entries(value, written+index); ok {
			d.message(entries, values.AppendMutable().Message(), written+index, path+index, written+index)
		}
	}
}
