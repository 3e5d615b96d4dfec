package rpc

import (
	"context"
	"errors"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

// A status travels in HTTP/2 trailers, so it has to stay small.
const (
	maxMessage    = 1024
	maxViolations = 32
	maxViolation  = 256
)

// statusOf turns the error of a handler into what the caller may see. An error that says nothing of
// its kind is INTERNAL and keeps its text to itself: the log has it.
func statusOf(err error) *status.Status {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return statusOfFault(f)
	}
	// Not errors.As: a status deep in an error is etcd's, and none of the caller's business.
	if s, ok := err.(interface{ GRPCStatus() *status.Status }); ok {
		return s.GRPCStatus()
	}
	return statusOfFault(known(err))
}

// known finds words for errors that have none for the caller.
func known(err error) *fault.Error {
	switch {
	case errors.Is(err, context.Canceled):
		return fault.New(fault.Canceled, "the call was canceled")
	case errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.DeadlineExceeded, "the answer took too long")
	case errors.Is(err, store.ErrConflict):
		return fault.New(fault.Conflict, "something changed meanwhile: read it again and try again").WithReason("CONFLICT")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed):
		return fault.New(fault.Unavailable, "the controller cannot reach etcd: try again later").WithReason("STORE_UNAVAILABLE")
	case errors.Is(err, store.ErrNoSpace):
		return fault.New(fault.Exhausted, "etcd is out of space: an administrator has to look at sallyport status").WithReason("STORE_FULL")
	case errors.Is(err, store.ErrCompacted):
		return fault.New(fault.OutOfRange, "that revision is gone: list again").WithReason("COMPACTED")
	case errors.Is(err, store.ErrIncarnation), errors.Is(err, store.ErrRestoring):
		return fault.New(fault.Unavailable, "the store is being restored: try again later").WithReason("RESTORING")
	case errors.Is(err, store.ErrBehind):
		return fault.New(fault.Unavailable, "etcd lost what it had: an administrator has to run sallyport restore").WithReason("STORE_BEHIND")
	case errors.Is(err, store.ErrTxnTooLarge):
		return fault.New(fault.Exhausted, "the request is too large to be one transaction: split it").WithReason("TOO_LARGE")
	case errors.Is(err, store.ErrNotFound):
		return fault.New(fault.NotFound, "not found")
	}
	return fault.New(fault.Internal, "internal error: the controller's log has the details")
}

func statusOfFault(f *fault.Error) *status.Status {
	s := status.New(codeOf(f.Kind()), cut(f.Message(), maxMessage))
	details := detailsOf(f)
	if len(details) == 0 {
		return s
	}
	with, err := s.WithDetails(details...)
	if err != nil {
		return s
	}
	return with
}

func detailsOf(f *fault.Error) []protoadapt.MessageV1 {
	var details []protoadapt.MessageV1
	if fields := f.Fields(); len(fields) > 0 {
		bad := new(errdetails.BadRequest)
		for _, field := range fields[:min(len(fields), maxViolations)] {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: cut(field.Name, maxViolation), Description: cut(field.Description, maxViolation),
			})
		}
		details = append(details, bad)
	}
	if f.Reason() != "" {
		details = append(details, &errdetails.ErrorInfo{Reason: f.Reason(), Domain: fault.Domain})
	}
	if r := f.Resource(); r != (fault.Resource{}) {
		details = append(details, &errdetails.ResourceInfo{ResourceType: r.Kind, ResourceName: cut(r.Name, maxViolation)})
	}
	return details
}

// cut shortens s to n bytes of whole, valid characters: a status holds UTF-8 only.
func cut(s string, n int) string {
	clean := make([]rune, 0, min(len(s), n))
	for size, r := range s {
		if size+utf8.RuneLen(r) > n {
			break
		}
		clean = append(clean, r)
	}
	return string(clean)
}

func codeOf(k fault.Kind) codes.Code {
	switch k {
	case fault.InvalidArgument:
		return codes.InvalidArgument
	case fault.NotFound:
		return codes.NotFound
	case fault.AlreadyExists:
		return codes.AlreadyExists
	case fault.Conflict:
		return codes.Aborted
	case fault.PermissionDenied:
		return codes.PermissionDenied
	case fault.Unauthenticated:
		return codes.Unauthenticated
	case fault.FailedPrecondition:
		return codes.FailedPrecondition
	case fault.Exhausted:
		return codes.ResourceExhausted
	case fault.Unavailable:
		return codes.Unavailable
	case fault.OutOfRange:
		return codes.OutOfRange
	case fault.DeadlineExceeded:
		return codes.DeadlineExceeded
	case fault.Canceled:
		return codes.Canceled
	case fault.Unimplemented:
		return codes.Unimplemented
	default:
		return codes.Internal
	}
}
