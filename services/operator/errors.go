package operator

import (
	"fmt"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/operator/spec"
)

// Reasons of errors, for programs (google.rpc.ErrorInfo).
const (
	ReasonNotFound         = "NOT_FOUND"
	ReasonExists           = "ALREADY_EXISTS"
	ReasonReadOnly         = "READ_ONLY"
	ReasonRevisionConflict = "REVISION_CONFLICT"
	ReasonInvalid          = "INVALID_FIELD"
	ReasonPoolFull         = "ADDRESS_POOL_FULL"
	ReasonListAgain        = "LIST_AGAIN"
	ReasonSlowWatcher      = "SLOW_WATCHER"
	ReasonBusy             = "CONFLICT"
)

func notFound(k operatorv1.Kind, name string) *fault.Error {
	return fault.Newf(fault.NotFound, "%s %q does not exist", kindName(k), name).
		WithReason(ReasonNotFound).WithResource(kindName(k), name)
}

func alreadyExists(k operatorv1.Kind, name string) *fault.Error {
	return fault.Newf(fault.AlreadyExists, "%s %q exists already: update it, or delete it first", kindName(k), name).
		WithReason(ReasonExists).WithResource(kindName(k), name)
}

// revisionConflict says which revision a write was based on and which one is there; 0 stands for none.
func revisionConflict(k operatorv1.Kind, name string, based, is int64) *fault.Error {
	now := fmt.Sprintf("is at revision %d", is)
	if is == 0 {
		now = "does not exist any more"
	}
	return fault.Newf(fault.Conflict, "%s %q %s, but the request is based on revision %d: get it again and repeat the change",
		kindName(k), name, now, based).
		WithReason(ReasonRevisionConflict).WithResource(kindName(k), name).
		WithField("metadata.revision", fmt.Sprintf("is %d, current is %d", based, is))
}

// wrongUID says that the resource was deleted and made again since it was read.
func wrongUID(k operatorv1.Kind, name, given, is string) *fault.Error {
	return fault.Newf(fault.Conflict, "%s %q is another one now (uid %s), the request names uid %s: get it again", kindName(k), name, is, given).
		WithReason(ReasonRevisionConflict).WithResource(kindName(k), name).
		WithField("metadata.uid", fmt.Sprintf("is %s, current is %s", given, is))
}

// readOnly refuses to write what follows from other things.
func readOnly(k operatorv1.Kind) *fault.Error {
	why := "it follows from hosts and policies: change those; sallyport rekey makes new ones"
	if k == kindEvent {
		why = "events are written by controllers and last a day"
	}
	if k == kindIKESA {
		why = "it follows from peers: change those; sallyport peer up, down and rekey act on it"
	}
	return fault.Newf(fault.InvalidArgument, "%s is read-only: %s", kindName(k), why).WithReason(ReasonReadOnly)
}

// invalid blames the fields of one resource; nil when there is no problem.
func invalid(k operatorv1.Kind, name string, r spec.Report) error {
	if len(r.Problems) == 0 {
		return nil
	}
	what := kindName(k)
	if name != "" { // a new join token has none
		what = fmt.Sprintf("%s %q", what, name)
	}
	f := fault.Newf(fault.InvalidArgument, "%s is not valid", what).
		WithReason(ReasonInvalid).WithResource(kindName(k), name)
	for _, p := range r.Problems {
		f = f.WithField(p.Field, p.Text)
	}
	return f
}

func invalidField(field, format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidArgument, "the request is not valid").WithReason(ReasonInvalid).
		WithField(field, fmt.Sprintf(format, args...))
}

// listAgain refuses to go on from a point that is gone.
func listAgain(why string) *fault.Error {
	return fault.New(fault.OutOfRange, why+": list again").WithReason(ReasonListAgain)
}
