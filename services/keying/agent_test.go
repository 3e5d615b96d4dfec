package keying

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
)

// agent is the agent's end of a RelayIKE stream.
type agent struct {
	grpc.ServerStream
	ctx  context.Context
	end  context.CancelFunc
	up   chan *fleetv1.RelayIKERequest
	down chan *fleetv1.RelayIKEResponse
	over chan error
	// guard is what the controller has said of cookies.
	guard atomic.Pointer[fleetv1.CookieGuard]
}

func (a *agent) Context() context.Context     { return a.ctx }
func (a *agent) SendHeader(metadata.MD) error { return nil }

func (a *agent) Recv() (*fleetv1.RelayIKERequest, error) {
	select {
	case m := <-a.up:
		return m, nil
	case <-a.ctx.Done():
		return nil, io.EOF
	}
}

func (a *agent) Send(m *fleetv1.RelayIKEResponse) error {
	if find := m.GetFindPath(); find != nil {
		a.up <- &fleetv1.RelayIKERequest{Message: &fleetv1.RelayIKERequest_Path{Path: &fleetv1.HostPath{
			RemoteAddress: find.GetRemoteAddress(), LocalAddress: gateway.AsSlice(),
		}}}
		return nil
	}
	if g := m.GetGuard(); g != nil {
		a.guard.Store(g)
		return nil
	}
	select {
	case a.down <- m:
		return nil
	case <-a.ctx.Done():
		return errors.New("gone")
	}
}

// relay opens a stream of a host, with the epoch of that number.
func (f *fixture) relay(host string, n byte) *agent {
	f.t.Helper()
	ctx, cancel := context.WithCancel(caller.NewContext(context.Background(), caller.Caller{Role: caller.RoleAgent, Name: host}))
	a := &agent{ctx: ctx, end: cancel, up: make(chan *fleetv1.RelayIKERequest, 64), down: make(chan *fleetv1.RelayIKEResponse, 64), over: make(chan error, 1)}
	a.up <- &fleetv1.RelayIKERequest{Message: &fleetv1.RelayIKERequest_Hello{Hello: &fleetv1.RelayHello{Epoch: epoch(n), Stream: 1}}}
	service := f.service
	go func() { a.over <- service.RelayIKE(a) }()
	f.t.Cleanup(cancel)
	f.eventually("the stream is open", func() bool {
		r, err := service.leading()
		return err == nil && r.relays.has(host) || len(a.over) > 0
	})
	return a
}
