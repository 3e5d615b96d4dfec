package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

func TestCallerReachesTheHandler(t *testing.T) {
	r := newRig(t, Limits{})
	got := make(chan caller.Caller, 1)
	r.resources.get = func(ctx context.Context, _ *operatorv1.GetRequest) (*operatorv1.GetResponse, error) {
		who, _ := caller.FromContext(ctx)
		got <- who
		return &operatorv1.GetResponse{}, nil
	}
	r.auth.set(caller.RoleViewer, nil)
	if err := r.get(goodGet); err != nil {
		t.Fatal(err)
	}
	who := <-got
	if who.Role != caller.RoleViewer || who.Local || who.TLS == nil || who.RemoteAddr.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("got %+v", who)
	}
	if _, err := operatorv1.NewResourceServiceClient(r.localClient).Get(t.Context(), goodGet); err != nil {
		t.Fatal(err)
	}
	if who := <-got; who.Role != caller.RoleAdmin || !who.Local || who.TLS != nil || who.RemoteAddr.IsValid() {
		t.Errorf("on the unix socket: %+v", who)
	}
}

func TestAuthenticationFails(t *testing.T) {
	r := newRig(t, Limits{})
	called := false
	r.resources.get = func(context.Context, *operatorv1.GetRequest) (*operatorv1.GetResponse, error) {
		called = true
		return &operatorv1.GetResponse{}, nil
	}
	r.auth.set(caller.RoleAdmin, fault.New(fault.PermissionDenied, "removed").WithReason("HOST_REMOVED"))
	if err := fault.FromError(r.get(goodGet)); fault.ReasonOf(err) != "HOST_REMOVED" {
		t.Errorf("got %v", err)
	}
	r.auth.set("panic", nil)
	if err := r.get(goodGet); status.Code(err) != codes.Internal {
		t.Errorf("got %v", err)
	}
	if called {
		t.Error("the handler was called")
	}
}

func TestPanicIsContained(t *testing.T) {
	r := newRig(t, Limits{})
	r.resources.get = func(context.Context, *operatorv1.GetRequest) (*operatorv1.GetResponse, error) {
		panic("secret detail")
	}
	err := r.get(goodGet)
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret detail") {
		t.Errorf("got %v", err)
	}
	if log := r.log.String(); !strings.Contains(log, "secret detail") || !strings.Contains(log, "ERROR") || !strings.Contains(log, "call_test.go") {
		t.Errorf("the log has no stack: %s", log)
	}
	r.resources.get = nil
	if err := r.get(goodGet); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestValidation(t *testing.T) {
	r := newRig(t, Limits{})
	r.resources.get = func(context.Context, *operatorv1.GetRequest) (*operatorv1.GetResponse, error) {
		t.Error("the handler got an invalid request")
		return &operatorv1.GetResponse{}, nil
	}
	err := fault.FromError(r.get(&operatorv1.GetRequest{Kind: 99, Name: strings.Repeat("x", 129)}))
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Kind() != fault.InvalidArgument || f.Reason() != "INVALID_FIELD" {
		t.Fatalf("got %v", err)
	}
	var names []string
	for _, field := range f.Fields() {
		names = append(names, field.Name)
		if field.Description == "" {
			t.Errorf("%s has no description", field.Name)
		}
	}
	if !reflect.DeepEqual(names, []string{"kind", "name"}) {
		t.Errorf("fields %v", names)
	}
	// The path of a nested field is the one that a person writes.
	_, err = operatorv1.NewResourceServiceClient(r.client).Create(t.Context(), &operatorv1.CreateRequest{
		Resource: &operatorv1.Resource{Kind: &operatorv1.Resource_Host{Host: &operatorv1.Host{
			Metadata: &operatorv1.Metadata{Name: "web-1"},
			Spec:     &operatorv1.HostSpec{Subnets: []string{"10.0.0.0/8", "nonsense"}},
		}}},
	})
	if err = fault.FromError(err); !strings.Contains(err.Error(), "resource.host.spec.subnets[1]: ") {
		t.Errorf("got %v", err)
	}
}

func TestValidationOfStreams(t *testing.T) {
	r := newRig(t, Limits{})
	r.auth.set(caller.RoleAgent, nil)
	stream, err := fleetv1.NewSyncServiceClient(r.client).Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&fleetv1.SyncRequest{}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
	if seen := <-r.syncs.ended; fault.KindOf(seen) != fault.InvalidArgument {
		t.Errorf("the handler saw %v", seen)
	}
}

func TestErrorsOnTheWire(t *testing.T) {
	r := newRig(t, Limits{})
	cases := []struct {
		name   string
		err    error
		code   codes.Code
		reason string
	}{
		{"fault", fault.New(fault.FailedPrecondition, "m").WithReason("R"), codes.FailedPrecondition, "R"},
		{"wrapped fault", fmt.Errorf("secret: %w", fault.New(fault.NotFound, "m")), codes.NotFound, ""},
		{"fault over a store error", fault.New(fault.Conflict, "m").WithReason("R").Wrap(store.ErrUnavailable), codes.Aborted, "R"},
		{"plain", errors.New("secret"), codes.Internal, ""},
		{"canceled", fmt.Errorf("secret: %w", context.Canceled), codes.Canceled, ""},
		{"deadline", fmt.Errorf("secret: %w", context.DeadlineExceeded), codes.DeadlineExceeded, ""},
		{"conflict", &store.ConflictError{Key: "secret"}, codes.Aborted, "CONFLICT"},
		{"etcd down", fmt.Errorf("%w: secret", store.ErrUnavailable), codes.Unavailable, "STORE_UNAVAILABLE"},
		{"etcd full", fmt.Errorf("%w: secret", store.ErrNoSpace), codes.ResourceExhausted, "STORE_FULL"},
		{"compacted", fmt.Errorf("%w: secret", store.ErrCompacted), codes.OutOfRange, "COMPACTED"},
		{"restored", store.ErrIncarnation, codes.Unavailable, "RESTORING"},
		{"rolled back", store.ErrBehind, codes.Unavailable, "STORE_BEHIND"},
		{"not found", fmt.Errorf("%w: secret", store.ErrNotFound), codes.NotFound, ""},
		{"too large", fmt.Errorf("%w: secret", store.ErrTxnTooLarge), codes.ResourceExhausted, "TOO_LARGE"},
		{"status", status.Error(codes.Unimplemented, "m"), codes.Unimplemented, ""},
		{"status of somebody else", fmt.Errorf("secret: %w", status.Error(codes.PermissionDenied, "secret")), codes.Internal, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r.resources.get = func(context.Context, *operatorv1.GetRequest) (*operatorv1.GetResponse, error) { return nil, c.err }
			err := r.get(goodGet)
			if status.Code(err) != c.code || fault.ReasonOf(fault.FromError(err)) != c.reason {
				t.Errorf("got %v, want %v %s", err, c.code, c.reason)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the caller sees the detail: %v", err)
			}
		})
	}
}

// TestFaultRoundTrip: every kind with all its details comes back as it was.
func TestFaultRoundTrip(t *testing.T) {
	for kind := fault.Internal; kind <= fault.Unimplemented; kind++ {
		sent := fault.New(kind, "the message").WithReason("REASON").WithField("a.b[1]", "wrong").WithField("c", "too").
			WithResource("Host", "web-1").Wrap(errors.New("secret"))
		got, ok := errors.AsType[*fault.Error](fault.FromError(statusOf(sent).Err()))
		if !ok || got.Kind() != kind || got.Message() != sent.Message() || got.Reason() != sent.Reason() ||
			!reflect.DeepEqual(got.Fields(), sent.Fields()) || got.Resource() != sent.Resource() {
			t.Errorf("%v: got %+v", kind, got)
		}
	}
}

func TestStatusIsBounded(t *testing.T) {
	f := fault.New(fault.InvalidArgument, strings.Repeat("é", 5000)+"\xff")
	for range 1000 {
		f = f.WithField(strings.Repeat("x", 1000), "\xff"+strings.Repeat("y", 1000))
	}
	s := statusOf(f)
	if n := len(s.Proto().String()); n > 32<<10 {
		t.Errorf("the status has %d bytes", n)
	}
	got, ok := errors.AsType[*fault.Error](fault.FromError(s.Err()))
	if !ok || len(got.Fields()) != maxViolations || len(got.Message()) > maxMessage {
		t.Errorf("%d fields, %d bytes", len(got.Fields()), len(got.Message()))
	}
}

func TestMessageSize(t *testing.T) {
	r := newRig(t, Limits{Message: 4096})
	big := &operatorv1.GetRequest{Kind: operatorv1.Kind_KIND_HOST, Name: strings.Repeat("x", 5000)}
	if err := r.get(big); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
}

func TestShutdownCutsLongStreams(t *testing.T) {
	r := newRig(t, Limits{})
	r.auth.set(caller.RoleAgent, nil)
	stream, err := fleetv1.NewSyncServiceClient(r.client).Sync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	<-r.syncs.started
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.server.Shutdown(ctx)
	}()
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on")
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("Shutdown does not end")
	}
	if err := r.get(goodGet); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after Shutdown: %v", err)
	}
}
