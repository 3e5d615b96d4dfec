// Package manifest reads resources from YAML files and writes them back.
//
// A file holds documents that are separated by "---". Each document is one resource:
//
//	kind: Host            # Host, Policy, ManualPeer, Peer or Credential
//	metadata: {name: web-1, labels: {role: web}}
//	spec: {subnets: [10.1.0.0/24]}
//	status: …             # ignored: it is the controller's
//
// The fields are those of the API's messages, in the JSON spelling (rekeyTime) or the proto one
// (rekey_time). Durations are written "1h30m", timestamps as RFC 3339. A string that YAML 1.2 would take
// for a number, a boolean or nothing must be quoted; nothing is converted in silence, and text such as
// no or 0123 stays as it is written. Every error names file, line
// and column, and Locate finds the line of a field that the controller complains about.
package manifest

import (
	"fmt"
	"strings"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// Bounds of the input. The API takes 10,000 resources at once.
const (
	// MaxFileSize is the longest file, bytes.
	MaxFileSize = 32 << 20
	// MaxDocumentSize is the longest document, bytes.
	MaxDocumentSize = 1 << 20
	// maxErrors is how many errors are collected before the rest is dropped.
	maxErrors = 50
)

// Position is a place in a file.
type Position struct {
	// File is the path as given; "-" for standard input.
	File string
	// Line and Column count from 1.
	Line, Column int
}

// String returns file:line:column.
func (p Position) String() string {
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is one thing that is wrong in a file.
type Error struct {
	// Position is where.
	Position Position
	// Message is what, and what to do.
	Message string
}

// Error returns file:line:column: message.
func (e *Error) Error() string { return e.Position.String() + ": " + e.Message }

// Errors is all that is wrong, in the order of the files.
type Errors []*Error

// Error returns one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Document is one resource and where it was written.
type Document struct {
	// Resource is what was read; its status is empty.
	Resource *operatorv1.Resource
	// Kind of the resource.
	Kind resource.Kind
	// Name of the resource.
	Name string
	// Position of the document's first line.
	Position Position

	fields map[string]place
}

// place is where a field was written, and how.
type place struct {
	at   Position
	path string
}

// Ref names the document as "host/web-1".
func (d *Document) Ref() string { return d.Kind.Singular + "/" + d.Name }
