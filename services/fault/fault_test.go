package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"sallyport.dev/sallyport/services/fault"
)

func TestErrorText(t *testing.T) {
	base := fault.New(fault.InvalidArgument, "the host is wrong")
	cases := []struct {
		name        string
		err         *fault.Error
		full, shown string
	}{
		{"plain", base, "the host is wrong", "the host is wrong"},
		{"field", base.WithField("spec.subnets[1]", "not a prefix"), "the host is wrong: spec.subnets[1]: not a prefix", "the host is wrong: spec.subnets[1]: not a prefix"},
		{"fields", base.WithField("a", "x").WithField("b", "y"), "the host is wrong: a: x; b: y", "the host is wrong: a: x; b: y"},
		{"cause", base.Wrap(io.ErrUnexpectedEOF), "the host is wrong: unexpected EOF", "the host is wrong"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.err.Error(); got != c.full {
				t.Errorf("Error() = %q, want %q", got, c.full)
			}
			if got := c.err.Public(); got != c.shown {
				t.Errorf("Public() = %q, want %q", got, c.shown)
			}
		})
	}
}

func TestWithLeavesTheSentinelAlone(t *testing.T) {
	sentinel := fault.New(fault.NotFound, "no such host").WithField("name", "unknown")
	a := sentinel.WithField("a", "a")
	b := sentinel.WithField("b", "b").WithReason("R").WithResource("Host", "h").Wrap(io.EOF)
	if len(sentinel.Fields()) != 1 || sentinel.Reason() != "" || sentinel.Unwrap() != nil {
		t.Errorf("sentinel changed: %+v", sentinel)
	}
	if a.Fields()[1].Name != "a" || b.Fields()[1].Name != "b" {
		t.Errorf("copies share fields: %v, %v", a.Fields(), b.Fields())
	}
	if !errors.Is(fmt.Errorf("wrapped: %w", a), sentinel) {
		t.Error("a copy with details does not match its sentinel")
	}
	if errors.Is(b, sentinel) {
		t.Error("another reason matches the sentinel")
	}
	if !errors.Is(b, io.EOF) {
		t.Error("the cause is lost")
	}
}

func TestKindOf(t *testing.T) {
	if got := fault.KindOf(fmt.Errorf("x: %w", fault.New(fault.Exhausted, "full").WithReason("POOL_FULL"))); got != fault.Exhausted {
		t.Errorf("KindOf = %v", got)
	}
	if got := fault.KindOf(io.EOF); got != fault.Internal {
		t.Errorf("KindOf of a foreign error = %v", got)
	}
	if got := fault.ReasonOf(fmt.Errorf("x: %w", fault.New(fault.Exhausted, "full").WithReason("POOL_FULL"))); got != "POOL_FULL" {
		t.Errorf("ReasonOf = %q", got)
	}
}

func TestFromError(t *testing.T) {
	s, err := status.New(codes.FailedPrecondition, "the host was removed").WithDetails(
		&errdetails.ErrorInfo{Domain: fault.Domain, Reason: "HOST_REMOVED"},
		&errdetails.ResourceInfo{ResourceType: "Host", ResourceName: "web-1"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "name", Description: "gone"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := errors.AsType[*fault.Error](fault.FromError(s.Err()))
	if !ok {
		t.Fatal("not a fault")
	}
	if got.Kind() != fault.FailedPrecondition || got.Reason() != "HOST_REMOVED" ||
		got.Resource() != (fault.Resource{Kind: "Host", Name: "web-1"}) ||
		len(got.Fields()) != 1 || got.Fields()[0] != (fault.Field{Name: "name", Description: "gone"}) {
		t.Errorf("got %+v", got)
	}
	if want := "the host was removed: name: gone"; got.Error() != want {
		t.Errorf("Error() = %q, want %q", got.Error(), want)
	}
	if status.Code(errors.Unwrap(errors.Unwrap(got))) != codes.FailedPrecondition {
		t.Error("the status is lost")
	}
}

func TestFromErrorKeepsTheRest(t *testing.T) {
	own := fault.New(fault.NotFound, "x")
	if fault.FromError(nil) != nil || fault.FromError(io.EOF) != io.EOF || fault.FromError(own) != error(own) {
		t.Error("FromError changed an error that is no status")
	}
}

func TestFromErrorIgnoresForeignReasons(t *testing.T) {
	s, err := status.New(codes.Unavailable, "x").WithDetails(&errdetails.ErrorInfo{Domain: "example.com", Reason: "HOST_REMOVED"})
	if err != nil {
		t.Fatal(err)
	}
	if got := fault.ReasonOf(fault.FromError(s.Err())); got != "" {
		t.Errorf("reason %q of another domain was believed", got)
	}
}
