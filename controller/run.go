package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/rpc"
	"sallyport.dev/sallyport/services/store"
)

// shutdownTime is how long requests may take to end.
const shutdownTime = 10 * time.Second

// run is the life of the controller: one round per incarnation of the store. A restore ends an
// incarnation, and the next round begins with what it restored.
func run(ctx context.Context, o options, out io.Writer) error {
	log, err := o.log.Logger(os.Stderr)
	if err != nil {
		return err
	}
	for {
		err := runIncarnation(ctx, o, log, out)
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, errStopped) || errors.Is(err, context.Canceled)):
			log.Info("controller has stopped")
			return nil
		case errors.Is(err, store.ErrIncarnation):
			log.Warn("the store was restored; starting over with its new incarnation")
		default:
			return err
		}
	}
}

// runIncarnation starts the services and returns when the context ends, or one of them fails.
func runIncarnation(ctx context.Context, o options, log *slog.Logger, out io.Writer) (err error) {
	p, err := open(ctx, o, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()

	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The ports close first: what answers the calls that run outlives them.
	services, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := p.bring(ctx, services, stop, group, out); err != nil {
		cancel()
		stop()
		return reason(err, group.Wait())
	}
	log.Info("controller is ready", "name", o.name, "listen", o.listen, "socket", o.socket,
		"trust_domain", p.fleet.GetTrustDomain(), "incarnation", p.incarnation.Number, "version", version)
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd was not told that the controller is ready", "err", err)
	}
	return group.Wait()
}

// reason is why a start failed: by itself, or because a service that had begun did.
func reason(start, services error) error {
	if errors.Is(start, context.Canceled) && services != nil {
		return services
	}
	return start
}

// bring starts the services, opens the ports and, for a new fleet, says what to do next. The ports live as
// long as ctx; when they are closed, stop ends the services. Who stops a controller in the midst of a fleet's first start
// has its operator's credential all the same: nothing would write it later.
func (p *process) bring(ctx, services context.Context, stop func(), group *errgroup.Group, out io.Writer) error {
	if err := p.start(services, group); err != nil {
		return err
	}
	brought := make(chan struct{})
	defer close(brought)
	if err := p.serve(ctx, func() { <-brought; stop() }, group); err != nil {
		return err
	}
	return p.welcome(context.WithoutCancel(ctx), out)
}

// errStopped ends the group when the process was asked to.
var errStopped = errors.New("stopped")

// serve opens the ports.
func (p *process) serve(ctx context.Context, stopServices func(), group *errgroup.Group) error {
	server, err := rpc.New(rpc.Config{Auth: p.identity, TLS: p.identity.ServerConfig(), Register: p.register, Log: p.log})
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", p.options.listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w: another program may have the port, or the address may not be this machine's", p.options.listen, err)
	}
	unix, err := rpc.ListenUnix(p.options.socket)
	if err != nil {
		return errors.Join(fmt.Errorf("--socket %s: %w", p.options.socket, err), tcp.Close())
	}
	group.Go(func() error { return server.ServeTLS(tcp) })
	group.Go(func() error { return server.ServeUnix(unix) })
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		server.Shutdown(stop)
		stopServices()
		return errStopped
	})
	if p.options.metricsListen != "" {
		if err := p.serveMetrics(ctx, group); err != nil {
			return err
		}
	}
	group.Go(func() error { return p.tellHealth(ctx, server) })
	return nil
}

// register puts the services of this process on a port.
func (p *process) register(r grpc.ServiceRegistrar) {
	if p.fleetService != nil {
		fleetv1.RegisterEnrolmentServiceServer(r, p.identity)
		fleetv1.RegisterSyncServiceServer(r, p.fleetService)
	}
	if p.keying != nil {
		fleetv1.RegisterRelayServiceServer(r, p.keying)
		operatorv1.RegisterPeerServiceServer(r, p.keying)
	}
	if p.options.runs(serviceOperator) {
		operatorv1.RegisterResourceServiceServer(r, p.operator)
		operatorv1.RegisterAdminServiceServer(r, p.operator)
	}
}

// healthEvery is how often the health service is told.
const healthEvery = time.Second

// tellHealth says whether this controller does its work: not while delivery to agents is halted.
func (p *process) tellHealth(ctx context.Context, server *rpc.Server) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		server.SetServing(p.halted() == "")
		select {
		case <-ctx.Done():
			server.SetServing(false)
			return nil
		case <-tick.C:
		}
	}
}
