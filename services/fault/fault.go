// Package fault is the error that crosses package borders under services: a kind, a message for
// people, the fields that are wrong and a reason for programs. services/rpc turns it into a gRPC
// status with google.rpc details, and FromError turns that status back, so the agent and the command
// line see the same error as the service that made it.
package fault

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kind is the class of an error: what a program can do about it.
type Kind uint8

// The kinds, one for each gRPC code in use.
const (
	// Internal is a bug or broken data; the zero value, so that an unset kind never looks benign.
	Internal Kind = iota
	// InvalidArgument is a request that is wrong in itself: change it.
	InvalidArgument
	// NotFound is a thing that is not there.
	NotFound
	// AlreadyExists is a thing that is there already.
	AlreadyExists
	// Conflict is a write based on an old revision: read again, decide again.
	Conflict
	// PermissionDenied is a caller who may not.
	PermissionDenied
	// Unauthenticated is a caller who has not proven who they are.
	Unauthenticated
	// FailedPrecondition is a request that is right but not now: change the state first.
	FailedPrecondition
	// Exhausted is a limit, a rate or a pool that is full.
	Exhausted
	// Unavailable is a part that is down: try again later.
	Unavailable
	// OutOfRange is a position that is gone: list again.
	OutOfRange
	// DeadlineExceeded is an answer that took too long.
	DeadlineExceeded
	// Canceled is a call that the caller gave up.
	Canceled
	// Unimplemented is a method that the other end does not have.
	Unimplemented
)

// String returns the kind in words, as people read it in front of a message.
func (k Kind) String() string {
	switch k {
	case InvalidArgument:
		return "invalid argument"
	case NotFound:
		return "not found"
	case AlreadyExists:
		return "already exists"
	case Conflict:
		return "conflict"
	case PermissionDenied:
		return "permission denied"
	case Unauthenticated:
		return "unauthenticated"
	case FailedPrecondition:
		return "failed precondition"
	case Exhausted:
		return "exhausted"
	case Unavailable:
		return "unavailable"
	case OutOfRange:
		return "out of range"
	case DeadlineExceeded:
		return "deadline exceeded"
	case Canceled:
		return "canceled"
	case Unimplemented:
		return "unimplemented"
	default:
		return "internal error"
	}
}

// Field is one field of a request that is wrong.
type Field struct {
	// Name is the path of the field, as in "spec.subnets[1]".
	Name string
	// Description says what is wrong with its value and what to do.
	Description string
}

// Resource names the thing an error is about.
type Resource struct {
	// Kind of the resource, as in "Host".
	Kind string
	// Name of the resource.
	Name string
}

// Error is the typed error. It is immutable: the With methods return copies, so that a package may
// keep sentinels and add details to them.
type Error struct {
	kind     Kind
	message  string
	reason   string
	fields   []Field
	resource Resource
	cause    error
}

// New makes an error. The message is shown to the caller of an RPC: it says what was wrong, with
// which value, and what to do, and holds no secret.
func New(kind Kind, message string) *Error {
	return &Error{kind: kind, message: message}
}

// Newf is New with a format. %w is not special: use Wrap for a cause.
func Newf(kind Kind, format string, args ...any) *Error {
	return New(kind, fmt.Sprintf(format, args...))
}

// WithField returns a copy that also blames the field with that path.
func (e *Error) WithField(name, description string) *Error {
	c := *e
	c.fields = append(slices.Clone(e.fields), Field{Name: name, Description: description})
	return &c
}

// WithReason returns a copy with a reason for programs: upper snake case, stable, as HOST_REMOVED.
func (e *Error) WithReason(reason string) *Error {
	c := *e
	c.reason = reason
	return &c
}

// WithResource returns a copy that names the resource it is about.
func (e *Error) WithResource(kind, name string) *Error {
	c := *e
	c.resource = Resource{Kind: kind, Name: name}
	return &c
}

// Wrap returns a copy that keeps cause for errors.Is and the log. The caller of an RPC never sees
// the cause: say in the message what they may know.
func (e *Error) Wrap(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Kind returns the class of the error.
func (e *Error) Kind() Kind { return e.kind }

// Message returns the text without the fields and the cause.
func (e *Error) Message() string { return e.message }

// Reason returns the reason for programs; "" when there is none.
func (e *Error) Reason() string { return e.reason }

// Fields returns the fields that are wrong. The caller must not change them.
func (e *Error) Fields() []Field { return e.fields }

// Resource returns the resource that the error is about; zero when there is none.
func (e *Error) Resource() Resource { return e.resource }

// Error returns the message, the fields and the cause in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Public())
	if _, received := e.cause.(statusCause); e.cause != nil && !received {
		b.WriteString(": ")
		b.WriteString(e.cause.Error())
	}
	return b.String()
}

// Public returns the message and the fields in one line, without the cause: what the caller of an
// RPC may read.
func (e *Error) Public() string {
	var b strings.Builder
	b.WriteString(e.message)
	for i, f := range e.fields {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(f.Name + ": " + f.Description)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is an Error of the same kind, message and reason, so that a copy with
// details still matches the sentinel it was made from.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.kind == e.kind && t.reason == e.reason && t.message == e.message
}

// KindOf returns the kind of the first Error in err's chain; Internal when there is none. A nil err
// has no kind: do not ask.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.kind
	}
	return Internal
}

// ReasonOf returns the reason of the first Error in err's chain; "" when there is none.
func ReasonOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.reason
	}
	return ""
}
