package cmd

import (
	"errors"
	"fmt"
	"strings"

	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/manifest"
	"sallyport.dev/sallyport/controller/sallyport/render"
	"sallyport.dev/sallyport/services/fault"
)

// place turns what the controller says of a request into errors at the lines of the files. An error
// that names neither a field nor a resource of theirs comes back as it is.
func place(err error, docs []*manifest.Document) error {
	e, ok := errors.AsType[*fault.Error](fault.FromError(err))
	if !ok {
		return err
	}
	about := named(e.Resource(), docs)
	if len(e.Fields()) == 0 {
		if about == nil {
			return err
		}
		return exit.Errorf(exit.Status(err), "%s: %s: %s", about.Position, about.Ref(), render.Clean(e.Public()))
	}
	var placed manifest.Errors
	var rest []string
	for _, f := range e.Fields() {
		if d := owner(f.Name, about, docs); d != nil {
			at, name := d.Locate(f.Name)
			what := strings.TrimPrefix(f.Description, fmt.Sprintf("%s %q: ", d.Kind.Name, d.Name)) // the reference says it
			text := fmt.Sprintf("%s: %s: %s", d.Ref(), render.Clean(name), render.Clean(what))
			placed = append(placed, &manifest.Error{Position: at, Message: text})
			continue
		}
		rest = append(rest, render.Clean(f.Name+": "+f.Description))
	}
	if len(placed) == 0 {
		return err
	}
	text := placed.Error()
	if len(rest) > 0 {
		text += "\n" + strings.Join(rest, "\n")
	}
	if message := e.Message(); message != "" {
		text = render.Clean(message) + "\n" + text
	}
	return exit.Errorf(exit.Status(err), "%s", text)
}

// named finds the document of the resource that an error is about.
func named(r fault.Resource, docs []*manifest.Document) *manifest.Document {
	for _, d := range docs {
		if r.Name != "" && d.Name == r.Name && (r.Kind == "" || strings.EqualFold(r.Kind, d.Kind.Name)) {
			return d
		}
	}
	return nil
}

// owner finds the document that has a field: by its index in the request, else by the resource that
// the error names, else the only one there is.
func owner(path string, about *manifest.Document, docs []*manifest.Document) *manifest.Document {
	if i, ok := manifest.RequestIndex(path); ok {
		if i < len(docs) {
			return docs[i]
		}
		return nil
	}
	if about == nil && len(docs) == 1 {
		return docs[0]
	}
	return about
}
