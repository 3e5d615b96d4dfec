// Package exit gives every end of the command line a number that scripts can act on.
package exit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sallyport.dev/sallyport/controller/sallyport/manifest"
	"sallyport.dev/sallyport/services/fault"
)

// The exit statuses. They are part of the interface and do not change.
const (
	// OK: done as asked.
	OK = 0
	// Failure is every failure without a number of its own; for diff: there are differences.
	Failure = 1
	// Usage is a command line that cannot be understood.
	Usage = 2
	// Invalid is input that is wrong: a file, a field, a value.
	Invalid = 3
	// NotFound is a resource that does not exist.
	NotFound = 4
	// Conflict is a change that the state of the fleet does not allow: an old revision, a name in use.
	Conflict = 5
	// Permission is a caller who may not, or who could not prove who they are.
	Permission = 6
	// Unavailable is a controller that cannot be reached, does not answer in time, or lacks a part.
	Unavailable = 7
	// Partial is a request of which a part was done.
	Partial = 8
	// NotUp is a fleet in which something wanted is not up.
	NotUp = 9
	// Interrupted is a command that was ended by Ctrl-C.
	Interrupted = 130
)

// Help describes the statuses for `sallyport help exit-codes`.
func Help() string {
	rows := []struct {
		status int
		means  string
	}{
		{OK, "Done as asked. status: all is up. diff: no difference."},
		{Failure, "A failure without a number of its own. diff: there are differences."},
		{Usage, "The command line cannot be understood: see --help."},
		{Invalid, "The input is wrong: a file, a field or a value. Change it; nothing was written."},
		{NotFound, "The resource does not exist."},
		{Conflict, "The state of the fleet does not allow it: an old revision, a name in use. Look again."},
		{Permission, "You may not, or your credential is not accepted."},
		{Unavailable, "The controller cannot be reached, did not answer in time, or lacks a part. Try again."},
		{Partial, "A part was done, a part was not: the output says which. Repeating is safe."},
		{NotUp, "status: a wanted pair, a host or the store is not as it should be."},
		{Interrupted, "Ended by Ctrl-C."},
	}
	var b strings.Builder
	b.WriteString("Every command ends with one of these statuses:\n\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "  %3d  %s\n", r.status, r.means)
	}
	b.WriteString("\n`sallyport lab exec` ends with the status of the command that it ran.")
	return b.String()
}

// Error is an error with its exit status. A nil Err ends the program without a word: all has been said.
type Error struct {
	Status int
	Err    error
}

// Error returns the text of the error within.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

// Unwrap returns the error within.
func (e *Error) Unwrap() error { return e.Err }

// ExitStatus returns the status.
func (e *Error) ExitStatus() int { return e.Status }

// Said reports whether the user has been told all there is to say.
func (e *Error) Said() bool { return e.Err == nil }

// Silent ends the program with a status and without a word.
func Silent(status int) error { return &Error{Status: status} }

// Errorf makes an error with a status.
func Errorf(status int, format string, args ...any) error {
	return &Error{Status: status, Err: fmt.Errorf(format, args...)}
}

// Status returns the exit status for err: that of the first error in its chain which has an
// ExitStatus method, else by what went wrong.
func Status(err error) int {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[interface {
		error
		ExitStatus() int
	}](err); ok {
		return e.ExitStatus()
	}
	if _, ok := errors.AsType[manifest.Errors](err); ok {
		return Invalid
	}
	if e, ok := errors.AsType[*fault.Error](fault.FromError(err)); ok {
		return ofKind(e.Kind())
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	return Failure
}

func ofKind(k fault.Kind) int {
	switch k {
	case fault.InvalidArgument:
		return Invalid
	case fault.NotFound:
		return NotFound
	case fault.AlreadyExists, fault.Conflict, fault.FailedPrecondition:
		return Conflict
	case fault.PermissionDenied, fault.Unauthenticated:
		return Permission
	case fault.Unavailable, fault.DeadlineExceeded:
		return Unavailable
	case fault.Canceled:
		return Interrupted
	default:
		return Failure
	}
}
