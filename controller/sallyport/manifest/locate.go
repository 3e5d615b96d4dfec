package manifest

import (
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

// Locate returns where the field that a controller names was written, and its path as the file spells
// it. The path may be one of the resource ("spec.lifetime.rekey_time", `metadata.labels["k"]`) or of a
// request ("resources[3].host.spec.subnets[1]"). For a field that the file does not have the nearest
// parent answers, with the path as given.
func (d *Document) Locate(path string) (Position, string) {
	path = TrimRequest(path)
	canonical := canonicalPath(path)
	if p, ok := d.fields[canonical]; ok {
		return p.at, p.path
	}
	for canonical != "" {
		canonical = parent(canonical)
		if p, ok := d.fields[canonical]; ok {
			return p.at, path
		}
	}
	return d.Position, path
}

// RequestIndex returns the index of the resource in a path of an ApplyRequest: 3 for
// "resources[3].host.spec". It returns false for other paths.
func RequestIndex(path string) (int, bool) {
	rest, ok := strings.CutPrefix(path, "resources[")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, "]")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(digits)
	return i, err == nil && i >= 0
}

// TrimRequest cuts what leads to the resource from a path of a request: "resources[3].host.",
// "resource.policy." or just "resources[3].".
func TrimRequest(path string) string {
	head, rest, _ := strings.Cut(path, ".")
	if _, ok := RequestIndex(head); !ok && head != "resource" {
		return path
	}
	kind, spec, _ := strings.Cut(rest, ".")
	fields := (&operatorv1.Resource{}).ProtoReflect().Descriptor().Fields()
	if fields.ByName(protoreflect.Name(kind)) != nil || fields.ByJSONName(kind) != nil {
		return spec
	}
	return rest
}

// canonicalPath spells names as the proto does (rekey_time) and keys of maps as ["k"].
func canonicalPath(path string) string {
	if key, ok := strings.CutPrefix(path, "metadata.labels."); ok {
		return "metadata.labels[" + strconv.Quote(key) + "]"
	}
	var b strings.Builder
	quoted := false
	for i, r := range path {
		if r == '"' && (i == 0 || path[i-1] != '\\') {
			quoted = !quoted
		}
		if !quoted && unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// parent cuts the last element of a canonical path.
func parent(path string) string {
	if open := strings.LastIndexByte(path, '['); strings.HasSuffix(path, "]") && open >= 0 {
		return path[:open]
	}
	if dot := strings.LastIndexByte(path, '.'); dot >= 0 {
		return path[:dot]
	}
	return ""
}
