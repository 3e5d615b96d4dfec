package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
)

// errPanic marks a handler that panicked: a bug of ours.
var errPanic = errors.New("the handler panicked")

// unary is the interceptor of calls with one request and one response.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
	err = s.call(ctx, info.FullMethod, func(ctx context.Context) error {
		if err := s.validate(req); err != nil {
			return err
		}
		var err error
		response, err = handler(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// stream is the interceptor of all other calls.
func (s *Server) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return s.call(stream.Context(), info.FullMethod, func(ctx context.Context) error {
		return handler(service, &validStream{ServerStream: stream, server: s, ctx: ctx})
	})
}

// validStream carries the caller and validates each message that comes in.
type validStream struct {
	grpc.ServerStream
	server *Server
	ctx    context.Context
}

// Context implements grpc.ServerStream.
func (v *validStream) Context() context.Context { return v.ctx }

// RecvMsg implements grpc.ServerStream.
func (v *validStream) RecvMsg(message any) error {
	if err := v.ServerStream.RecvMsg(message); err != nil {
		return err
	}
	return v.server.validate(message)
}

// call finds the caller, asks the table, runs the handler and turns its error into a status.
func (s *Server) call(ctx context.Context, method string, handle func(context.Context) error) error {
	ctx, end, err := s.calls.begin(ctx, method)
	if err != nil {
		return statusOf(err).Err()
	}
	defer end()
	who, err := s.callerOf(ctx)
	if err == nil {
		err = authorise(method, who)
	}
	if err == nil {
		err = s.whileValid(ctx, method, who, handle)
	}
	if err == nil {
		return nil
	}
	if errors.Is(context.Cause(ctx), errStopping) {
		return statusOf(errStopping).Err()
	}
	reply := statusOf(err)
	s.log.LogAttrs(ctx, level(reply.Code()), "call failed", slog.String("method", method),
		slog.Any("caller", who), slog.String("code", reply.Code().String()), slog.Any("error", err))
	return reply.Err()
}

// errNoLonger ends a call of somebody who would not be let in any more.
var errNoLonger = fault.New(fault.Unauthenticated,
	"the credential was revoked or has expired since the call began: ask an administrator for a new one").WithReason("CREDENTIAL_ENDED")

// whileValid runs the handler. An endless call ends when its caller would not be let in any more; the fleet service
// looks after Sync itself.
func (s *Server) whileValid(ctx context.Context, method string, who caller.Caller, handle func(context.Context) error) error {
	run := func(ctx context.Context) error {
		return protect(func() error { return handle(caller.NewContext(ctx, who)) })
	}
	if !endless(method) || who.Local || method == fleetv1.SyncService_Sync_FullMethodName || who.Role == caller.RoleAnyone {
		return run(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		tick := time.NewTicker(s.limits.Recheck)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if !s.auth.Valid(who) {
				cancel(errNoLonger)
			}
		}
	})
	err := run(ctx)
	if errors.Is(context.Cause(ctx), errNoLonger) {
		return errNoLonger
	}
	return err
}

// level keeps what a stranger can cause at will out of the log.
func level(c codes.Code) slog.Level {
	switch c {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return slog.LevelError
	case codes.Unavailable:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// protect turns a panic into an error. The process lives on: the state of the services is in etcd
// and under their own locks, which they release by defer.
func protect(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanic, r, debug.Stack())
		}
	}()
	return f()
}

// authorise asks the table. A stranger is told to prove who they are, a known caller that they may
// not.
func authorise(method string, who caller.Caller) error {
	if allowed(method, who.Role) {
		return nil
	}
	switch who.Role {
	case caller.RoleAnyone, "":
		return fault.New(fault.Unauthenticated, "this call needs a certificate of the fleet").WithReason("CERTIFICATE_REQUIRED")
	case caller.RoleAgentExpired:
		return fault.New(fault.Unauthenticated, "the host's certificate has expired: call Renew first").WithReason("CERTIFICATE_EXPIRED")
	}
	return fault.Newf(fault.PermissionDenied, "the role %s may not call %s", who.Role, method).WithReason("ROLE")
}

// callerOf says who is at the other end of the connection.
func (s *Server) callerOf(ctx context.Context) (caller.Caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller.Caller{}, errors.New("rpc: a call without a connection")
	}
	switch info := p.AuthInfo.(type) {
	case localInfo:
		return caller.Caller{Role: caller.RoleAdmin, Name: "local", Local: true}, nil
	case credentials.TLSInfo:
		who, err := s.authenticate(ctx, info, addrPort(p.Addr))
		if err != nil {
			return caller.Caller{}, err
		}
		return who, nil
	}
	return caller.Caller{}, fmt.Errorf("rpc: unknown kind of connection %T", p.AuthInfo)
}

func (s *Server) authenticate(ctx context.Context, info credentials.TLSInfo, remote netip.AddrPort) (who caller.Caller, err error) {
	err = protect(func() error {
		who, err = s.auth.Authenticate(ctx, info.State, remote)
		return err
	})
	return who, err
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
