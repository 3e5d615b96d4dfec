package manifest

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// maxNesting is how deep collections may nest. The API's messages are five deep; the YAML parser
// recurses without a bound of its own.
const maxNesting = 32

// Parse reads the documents of one file. With an error, of type Errors, no document is to be used.
// Notes say what was ignored.
func Parse(file string, data []byte) ([]*Document, []string, error) {
	p := &parsing{file: file}
	if len(data) > MaxFileSize {
		p.fail(p.at(nil, 0), "longer than %d MiB: split it", MaxFileSize>>20)
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

func (p *parsing) fail(at Position, format string, args ...any) {
	p.errs = append(p.errs, &Error{Position: at, Message: fmt.Sprintf(format, args...)})
}

// at returns the place of tk in a chunk that begins after so many lines.
func (p *parsing) at(tk *token.Token, before int) Position {
	if tk == nil || tk.Position == nil {
		return Position{File: p.file, Line: before + 1, Column: 1}
	}
	return Position{File: p.file, Line: before + tk.Position.Line, Column: tk.Position.Column}
}

func (p *parsing) document(c chunk) *Document {
	if len(c.text) > MaxDocumentSize {
		p.fail(p.at(nil, c.line), "a document longer than %d MiB", MaxDocumentSize>>20)
		return nil
	}
	body, tk, err := parseYAML(c.text)
	if err != nil {
		p.fail(p.at(tk, c.line), "%v", err)
		return nil
	}
	if body == nil {
		return nil
	}
	d := &decoder{parsing: p, before: c.line, anchors: anchors(body)}
	return d.resource(body)
}

// parseYAML returns the root node of a single document, or what is wrong and where.
func parseYAML(text []byte) (root ast.Node, at *token.Token, err error) {
	defer func() {
		// The parser is foreign and has panicked on odd input before. One bad file must not look like a
		// crash of this program.
		if r := recover(); r != nil {
			root, err = nil, errors.New("this is not YAML that can be read")
		}
	}()
	tokens := lexer.Tokenize(string(text))
	if tk := tooDeep(tokens); tk != nil {
		return nil, tk, fmt.Errorf("collections nest deeper than %d", maxNesting)
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		if syntax, ok := errors.AsType[yaml.Error](err); ok {
			return nil, syntax.GetToken(), errors.New(syntax.GetMessage())
		}
		return nil, nil, err
	}
	if len(f.Docs) > 1 {
		return nil, nil, errors.New("more than one document here: separate documents by a line ---")
	}
	if len(f.Docs) == 0 {
		return nil, nil, nil
	}
	return f.Docs[0].Body, nil, nil
}

// tooDeep returns the token at which brackets, or indicators on one line, nest too deep.
func tooDeep(tokens token.Tokens) *token.Token {
	depth, line, onLine := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, onLine = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			onLine++
		}
		if depth > maxNesting || onLine > maxNesting {
			return tk
		}
		if tk.Position.IndentLevel > maxNesting {
			return tk
		}
	}
	return nil
}

// anchors finds the anchors of a document.
func anchors(root ast.Node) map[string]ast.Node {
	found := make(map[string]ast.Node)
	for _, n := range ast.Filter(ast.AnchorType, root) {
		if a, ok := n.(*ast.AnchorNode); ok && a.Name != nil {
			found[a.Name.GetToken().Value] = a.Value
		}
	}
	return found
}

// decoder turns the nodes of one document into a resource.
type decoder struct {
	*parsing
	before  int
	anchors map[string]ast.Node
	doc     *Document
}

// where returns the place of a node. A block mapping's own token is its first colon, so its first
// key stands for it.
func (d *decoder) where(n ast.Node) Position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return d.where(m.Values[0].Key)
	}
	if n == nil {
		return d.at(nil, d.before)
	}
	return d.at(n.GetToken(), d.before)
}

// resolve follows anchors and aliases to the node that holds the value. It returns nil, with the
// error recorded, when there is none.
func (d *decoder) resolve(n ast.Node) ast.Node {
	for range maxNesting {
		switch v := n.(type) {
		case nil:
			return &ast.NullNode{BaseNode: &ast.BaseNode{}}
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			name := v.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				d.fail(d.where(v), "there is no anchor &%s in this document", name)
				return nil
			}
			n = target
		case *ast.TagNode:
			d.fail(d.where(v), "tags are not supported: remove %s", v.GetToken().Value)
			return nil
		default:
			return n
		}
	}
	d.fail(d.where(n), "aliases refer to each other without end")
	return nil
}

// resource decodes the root of a document.
func (d *decoder) resource(root ast.Node) *Document {
	root = d.resolve(root)
	if root == nil {
		return nil
	}
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
		name, ok := d.text(e.value, "kind")
		if !ok {
			return resource.Kind{}, false
		}
		for _, k := range resource.Kinds() {
			if k.Name == name {
				return k, true
			}
		}
		d.fail(d.where(e.value), "unknown kind %q%s", name, Suggest(name, kindNames()))
		return resource.Kind{}, false
	}
	hint := ""
	for _, e := range entries {
		if e.name == "resources" || e.name == "host" || e.name == "policy" {
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
