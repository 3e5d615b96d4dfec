package rpc

import (
	"context"
	"sync"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
)

// errStopping ends the streams of a controller that stops.
var errStopping = fault.New(fault.Unavailable, "the controller stops; connect again").WithReason("STOPPING")

// endless says of a method that its calls last until somebody ends them.
func endless(fullMethod string) bool {
	switch fullMethod {
	case fleetv1.SyncService_Sync_FullMethodName,
		fleetv1.RelayService_RelayIKE_FullMethodName,
		operatorv1.ResourceService_Watch_FullMethodName,
		healthv1.Health_Watch_FullMethodName,
		reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName,
		reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName:
		return true
	}
	return false
}

// calls knows how many calls run, and ends the endless ones when the server stops.
type calls struct {
	life context.Context // of endless calls
	end  context.CancelCauseFunc

	mu       sync.Mutex
	running  int
	stopping bool
	none     chan struct{} // closed when the server stops and no call runs
}

func newCalls() *calls {
	c := &calls{none: make(chan struct{})}
	c.life, c.end = context.WithCancelCause(context.Background())
	return c
}

// begin counts a call and returns its context and what ends it. It refuses endless calls when the server
// stops; others were accepted before.
func (c *calls) begin(ctx context.Context, method string) (context.Context, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !endless(method) {
		c.running++
		return ctx, c.done, nil
	}
	if c.stopping {
		return nil, nil, errStopping
	}
	c.running++
	ctx, cancel := context.WithCancelCause(ctx)
	detach := context.AfterFunc(c.life, func() { cancel(context.Cause(c.life)) })
	return ctx, func() {
		detach()
		cancel(nil)
		c.done()
	}, nil
}

func (c *calls) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.settle()
}

// stop ends the endless calls.
func (c *calls) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	c.end(errStopping)
	c.settle()
}

// settle closes none when it is time; the caller holds mu.
func (c *calls) settle() {
	if !c.stopping || c.running > 0 {
		return
	}
	select {
	case <-c.none:
	default:
		close(c.none)
	}
}

// idle is closed when the server stops and no call runs.
func (c *calls) idle() <-chan struct{} { return c.none }
