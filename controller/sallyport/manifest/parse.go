package manifest

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/sallyport/controller/sallyport/resource"
	"sallyport.dev/sallyport/services/yamldoc"
)

// Parse reads the documents of one file. With an error, of type Errors, no document is to be used.
// Notes say what was ignored.
func Parse(file string, data []byte) ([]*Document, []string, error) {
	p := &parsing{file: file}
	if len(data) > MaxFileSize {
		p.fail(p.at(1, 1), "longer than %d MiB: split it", MaxFileSize>>20)
		return nil, nil, p.errs
	}
	var docs []*Document
	for _, c := range split(data) {
		if d := p.document(c); d != nil {
			docs = append(docs, d)
		}
		if len(p.errs) >= maxErrors {
			break
		}
	}
	if len(p.errs) > 0 {
		return nil, p.notes, p.errs
	}
	return docs, p.notes, nil
}

// parsing is the state of one file.
type parsing struct {
	file  string
	errs  Errors
	notes []string
}

// fail records an error, or drops it when there are enough.
func (p *parsing) fail(at Position, format string, args ...any) {
	if len(p.errs) >= maxErrors {
		return
	}
	p.errs = append(p.errs, &Error{Position: at, Message: fmt.Sprintf(format, args...)})
}

func (p *parsing) at(line, column int) Position {
	return Position{File: p.file, Line: line, Column: column}
}

func (p *parsing) document(c chunk) *Document {
	if len(c.text) > MaxDocumentSize {
		p.fail(p.at(c.line+1, 1), "a document longer than %d MiB", MaxDocumentSize>>20)
		return nil
	}
	root, err := yamldoc.Parse(c.text, c.line)
	if bad, ok := errors.AsType[*yamldoc.Error](err); ok {
		p.fail(p.at(bad.Line, bad.Column), "%s", bad.Problem)
	}
	if err != nil || root == nil {
		return nil
	}
	d := &decoder{parsing: p}
	return d.resource(root)
}

// decoder turns the nodes of one document into a resource.
type decoder struct {
	*parsing
	doc *Document
}

// where returns the place of a node.
func (d *decoder) where(n *yaml.Node) Position { return d.at(n.Line, n.Column) }

// resource decodes the root of a document.
func (d *decoder) resource(root *yaml.Node) *Document {
	entries, ok := d.entries(root, "the document")
	if !ok {
		return nil
	}
	start := d.where(root)
	kind, ok := d.kind(entries, start)
	if !ok {
		return nil
	}
	r, inner, ok := resource.New(kind)
	if !ok {
		d.fail(start, "the API has no %s", kind.Name)
		return nil
	}
	d.doc = &Document{Resource: r, Kind: kind, Position: start, fields: make(map[string]place)}
	d.doc.fields[""] = place{at: start}
	rest := make([]entry, 0, len(entries))
	for _, e := range entries {
		switch e.name {
		case "kind":
		case "status":
			d.notes = append(d.notes, d.where(e.key).String()+": status is ignored: it is the controller's")
		default:
			rest = append(rest, e)
		}
	}
	errs := len(d.errs)
	d.message(rest, inner, kind.Name, "", "")
	d.doc.Name = resource.Metadata(r).GetName()
	if d.doc.Name == "" && len(d.errs) == errs {
		at, _ := d.doc.Locate("metadata.name")
		d.fail(at, "metadata.name is missing: every %s has a name", kind.Name)
	}
	return d.doc
}

// kind finds the kind of the document.
func (d *decoder) kind(entries []entry, start Position) (resource.Kind, bool) {
	for _, e := range entries {
		if e.name != "kind" {
			continue
		}
		name, ok := d.text(yamldoc.Value(e.value), "kind")
		if !ok {
			return resource.Kind{}, false
		}
		for _, k := range resource.Kinds() {
			if k.Name == name {
				return k, true
			}
		}
		d.fail(d.where(e.value), "unknown kind %q%s", name, yamldoc.Suggest(name, kindNames()))
		return resource.Kind{}, false
	}
	hint := ""
	for _, e := range entries {
		if slices.Contains([]string{"resources", "host", "policy", "manualPeer", "peer", "credential"}, e.name) {
			hint = "; this looks like -o json: files are written as get -o yaml writes them"
		}
	}
	d.fail(start, "kind is missing: say kind: %s%s", list(appliableNames()), hint)
	return resource.Kind{}, false
}

func kindNames() []string {
	var names []string
	for _, k := range resource.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

func appliableNames() []string {
	var names []string
	for _, k := range resource.Kinds() {
		if k.Appliable {
			names = append(names, k.Name)
		}
	}
	return names
}
