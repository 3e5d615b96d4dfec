package fault

import (
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Domain is the domain of every google.rpc.ErrorInfo of ours.
const Domain = "sallyport.dev"

// FromError turns the gRPC status in err, with its google.rpc details, back into the *Error that the
// other end made. It wraps err, so that a program can still ask for the status. An error without a
// status, and an *Error, come back as they are; so does nil. services/rpc has the other direction.
func FromError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	e := New(kindOfCode(s.Code()), s.Message())
	for _, detail := range s.Details() {
		e = e.withDetail(detail)
	}
	e.cause = statusCause{err}
	return e
}

func (e *Error) withDetail(detail any) *Error {
	switch d := detail.(type) {
	case *errdetails.BadRequest:
		for _, v := range d.GetFieldViolations() {
			e = e.WithField(v.GetField(), v.GetDescription())
		}
	case *errdetails.ErrorInfo:
		if d.GetDomain() == Domain {
			e = e.WithReason(d.GetReason())
		}
	case *errdetails.ResourceInfo:
		e = e.WithResource(d.GetResourceType(), d.GetResourceName())
	}
	return e
}

// statusCause keeps the status for errors.As without saying its message twice.
type statusCause struct{ error }

func (c statusCause) Unwrap() error { return c.error }

func kindOfCode(c codes.Code) Kind {
	switch c {
	case codes.InvalidArgument:
		return InvalidArgument
	case codes.NotFound:
		return NotFound
	case codes.AlreadyExists:
		return AlreadyExists
	case codes.Aborted:
		return Conflict
	case codes.PermissionDenied:
		return PermissionDenied
	case codes.Unauthenticated:
		return Unauthenticated
	case codes.FailedPrecondition:
		return FailedPrecondition
	case codes.ResourceExhausted:
		return Exhausted
	case codes.Unavailable:
		return Unavailable
	case codes.OutOfRange:
		return OutOfRange
	case codes.DeadlineExceeded:
		return DeadlineExceeded
	case codes.Canceled:
		return Canceled
	case codes.Unimplemented:
		return Unimplemented
	default:
		return Internal
	}
}
