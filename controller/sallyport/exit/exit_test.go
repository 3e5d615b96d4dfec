package exit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sallyport.dev/sallyport/controller/sallyport/manifest"
	"sallyport.dev/sallyport/services/fault"
)

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{Errorf(Usage, "x"), 2},
		{fmt.Errorf("more: %w", Silent(NotUp)), 9},
		{manifest.Errors{{Message: "x"}}, 3},
		{status.Error(codes.InvalidArgument, "x"), 3},
		{fault.New(fault.InvalidArgument, "x"), 3},
		{status.Error(codes.NotFound, "x"), 4},
		{status.Error(codes.Aborted, "x"), 5},
		{status.Error(codes.AlreadyExists, "x"), 5},
		{status.Error(codes.FailedPrecondition, "x"), 5},
		{status.Error(codes.PermissionDenied, "x"), 6},
		{status.Error(codes.Unauthenticated, "x"), 6},
		{status.Error(codes.Unavailable, "x"), 7},
		{status.Error(codes.DeadlineExceeded, "x"), 7},
		{context.DeadlineExceeded, 7},
		{status.Error(codes.Internal, "x"), 1},
		{status.Error(codes.ResourceExhausted, "x"), 1},
		{status.Error(codes.Canceled, "x"), 130},
		{context.Canceled, 130},
		{Errorf(Partial, "x: %w", context.Canceled), 8},
	} {
		if got := Status(tc.err); got != tc.want {
			t.Errorf("Status(%v) = %d, want %d", tc.err, got, tc.want)
		}
	}
}

func TestHelpNamesEveryStatus(t *testing.T) {
	for _, s := range []int{OK, Failure, Usage, Invalid, NotFound, Conflict, Permission, Unavailable, Partial, NotUp, Interrupted} {
		if !strings.Contains(Help(), fmt.Sprintf("\n  %3d  ", s)) {
			t.Errorf("status %d is not described", s)
		}
	}
}
