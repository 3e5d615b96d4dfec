package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	grpcstatus "google.golang.org/grpc/status"

	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/manifest"
	"sallyport.dev/sallyport/controller/sallyport/render"
	"sallyport.dev/sallyport/services/fault"
)

// saidError may have nothing to add: the user has seen the reason already.
type saidError interface {
	error
	Said() bool
}

// report tells the user what went wrong and returns the exit status.
func (a *app) report(ctx context.Context, err error) int {
	status := exit.Status(err)
	if e, ok := errors.AsType[saidError](err); ok && e.Said() {
		return status
	}
	if status == exit.Interrupted || (ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled)) {
		a.say("sallyport: interrupted")
		return exit.Interrupted
	}
	if bad, ok := errors.AsType[manifest.Errors](err); ok {
		a.say("%s", bad.Error()) // file:line:column first, as editors like it
		return status
	}
	a.say("sallyport: %s", a.words(err))
	return status
}

// words says what went wrong, with which value, and what to do.
func (a *app) words(err error) string {
	e, context, ok := answer(err)
	if !ok {
		if isDeadline(err) {
			return a.late(err.Error())
		}
		return err.Error()
	}
	text := context + clean(e.Public())
	switch e.Kind() {
	case fault.Unavailable:
		return a.unreachable(text)
	case fault.DeadlineExceeded:
		return a.late(text)
	case fault.Unauthenticated:
		return text + "\n  a new credential comes from an admin of the fleet: sallyport operator create NAME --role ROLE"
	case fault.PermissionDenied:
		return text + "\n  " + a.identity()
	case fault.Unimplemented:
		return text + "\n  the controller is older than this program, or runs without this service"
	case fault.Internal:
		return text + "\n  the controller's log says more"
	default:
		return text
	}
}

// answer finds what the controller said in err, and what a command put in front of it. Asked directly,
// FromError would take the text of the whole chain for the controller's.
func answer(err error) (said *fault.Error, context string, ok bool) {
	status, ok := errors.AsType[interface {
		error
		GRPCStatus() *grpcstatus.Status
	}](err)
	if !ok {
		said, ok = errors.AsType[*fault.Error](err)
		return said, "", ok
	}
	said, ok = errors.AsType[*fault.Error](fault.FromError(status))
	return said, strings.TrimSuffix(err.Error(), status.Error()), ok
}

func isDeadline(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// unreachable tells a controller that cannot be reached from one that says that it cannot serve.
func (a *app) unreachable(text string) string {
	const dialing, handshake = "Error while dialing: ", "authentication handshake failed: "
	for _, mark := range []string{dialing, handshake} {
		if _, cause, ok := strings.Cut(text, mark); ok && a.conn != nil {
			cause = strings.TrimSuffix(cause, `"`)
			return fmt.Sprintf("cannot reach the controller at %s: %s\n  %s", a.conn.Where(), cause, a.conn.Hint())
		}
	}
	if strings.Contains(text, "connection error") || strings.Contains(text, "error reading from server") {
		if a.conn != nil {
			return fmt.Sprintf("lost the controller at %s: %s\n  %s", a.conn.Where(), text, a.conn.Hint())
		}
	}
	return text + "\n  try again; sallyport status says how the controller is"
}

func (a *app) late(text string) string {
	where := "the controller"
	if a.conn != nil {
		where += " at " + a.conn.Where()
	}
	return fmt.Sprintf("no answer in time from %s: %s\n  --timeout gives it longer", where, text)
}

// identity says who the user is to the controller.
func (a *app) identity() string {
	if a.conn == nil || a.conn.Target.Credential == "" {
		return "the socket is for the root of the controller's machine"
	}
	return "the role is that of the credential " + a.conn.Target.Credential
}

// clean makes every line of foreign text safe to show.
func clean(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = render.Clean(l)
	}
	return strings.Join(lines, "\n")
}
