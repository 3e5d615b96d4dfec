package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/controller/peerauth"
	"sallyport.dev/sallyport/services/fleet"
	"sallyport.dev/sallyport/services/identity"
	"sallyport.dev/sallyport/services/identity/pad/ipseckey"
	"sallyport.dev/sallyport/services/identity/pad/revocation"
	"sallyport.dev/sallyport/services/keying"
	"sallyport.dev/sallyport/services/operator"
	"sallyport.dev/sallyport/services/planner"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// openTimeout is how long a start waits for etcd.
const openTimeout = time.Minute

// process is a controller: the store and the services over it. Data flows one way: store, view, world,
// services, ports.
type process struct {
	options options
	log     *slog.Logger
	closers []func() error

	etcd        *store.Embedded // nil with an external cluster
	keys        *store.Keyring
	store       *store.Store
	view        *store.View
	audit       *store.Audit
	events      *store.Events
	incarnation store.Incarnation
	fleet       *controllerv1.Fleet
	world       *world.Feed

	identity     *identity.Service
	fleetService *fleet.Service    // nil when another process runs it
	operator     *operator.Service // likewise
	planner      *planner.Planner  // likewise
	keying       *keying.Service   // likewise
}

// open builds a process that does nothing yet. On failure nothing stays open.
func open(ctx context.Context, o options, log *slog.Logger) (_ *process, err error) {
	p := &process{options: o, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := p.openStore(opening); err != nil {
		return nil, err
	}
	if p.fleet, err = found(opening, p.store, o); err != nil {
		return nil, err
	}
	return p, p.openView(ctx)
}

// openView starts the view. It outlives ctx, which may end while it begins: calls that run then still need it.
func (p *process) openView(ctx context.Context) (err error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	begun := context.AfterFunc(ctx, cancel)
	defer begun()
	if p.view, err = p.store.View(life); err != nil {
		cancel()
		return err
	}
	p.closers = append(p.closers, func() error { cancel(); p.view.Close(); return nil })
	return nil
}

// openStore starts etcd, or connects to it.
func (p *process) openStore(ctx context.Context) error {
	o := p.options
	for flag, dir := range map[string]string{
		"--data-dir": o.dataDir, "--key-dir": o.keyDir,
		"--credential": filepath.Dir(o.credential), "--socket": filepath.Dir(o.socket),
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
	}
	var err error
	p.keys, err = store.OpenKeyring(store.KeyringConfig{RootKeyFile: o.rootKey(), TrafficDir: o.trafficDir(), DataDir: o.dataDir, Log: p.log})
	if err != nil {
		return fmt.Errorf("--key-dir: %w", err)
	}
	endpoints := o.etcdEndpoints
	if len(endpoints) == 0 {
		p.etcd, err = store.StartEmbedded(store.EmbeddedConfig{DataDir: o.etcdDir(), Log: p.log})
		if err != nil {
			return fmt.Errorf("--data-dir: %w", err)
		}
		p.closers = append(p.closers, p.etcd.Close)
		endpoints = p.etcd.Endpoints()
	}
	tls, err := o.etcdTLS()
	if err != nil {
		return err
	}
	p.store, err = store.Open(ctx, store.Config{Endpoints: endpoints, TLS: tls, Keys: p.keys, Log: p.log})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.store.Close)
	if p.incarnation, err = p.store.Begin(ctx); err != nil {
		return err
	}
	p.audit, err = store.OpenAudit(o.auditFile(), time.Now)
	return err
}

// close ends what open began, in reverse.
func (p *process) close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	p.closers = nil
	return errors.Join(errs...)
}

// start builds the services and runs what of them runs by itself.
func (p *process) start(ctx context.Context, group *errgroup.Group) error {
	o := p.options
	if p.etcd != nil {
		group.Go(func() error { return p.etcd.Wait(ctx) })
	}
	p.events = store.NewEvents(p.store, p.log)
	p.world = world.New(world.Config{View: p.view, Incarnation: p.incarnation.Number, Log: p.log})
	group.Go(func() error { return p.world.Run(ctx) })

	var err error
	p.identity, err = identity.New(ctx, identity.Config{
		Store: p.store, View: p.view, Audit: p.audit, TrustDomain: p.fleet.GetTrustDomain(),
		Incarnation: p.incarnation.Number, Controller: o.name, Events: p.events, Log: p.log,
	})
	if err != nil {
		return err
	}
	p.operator, err = operator.New(operator.Config{
		Store: p.store, View: p.view, Feed: p.world, Audit: p.audit, Events: p.events, Fleet: p.fleet,
		Incarnation: p.incarnation.Number, Controller: o.name, Version: version,
		Tokens: p.identity, Authority: p.identity, Identities: peerauth.Identities{}, Halted: p.halted, Log: p.log,
	})
	if err != nil {
		return err
	}
	p.identity.SetHosts(p.operator)
	if o.runs(serviceFleet) {
		p.fleetService, err = fleet.New(fleet.Config{
			Store: p.store, View: p.view, World: p.world, Incarnation: p.incarnation.Number,
			Identity: p.identity, Controller: o.name, Events: p.events, Log: p.log,
		})
		if err != nil {
			return err
		}
		group.Go(func() error { return p.fleetService.Run(ctx) })
	}
	if o.runs(servicePlanner) {
		p.planner, err = planner.New(planner.Config{
			Store: p.store, Feed: p.world, Identity: o.name, Events: p.events, Log: p.log,
		})
		if err != nil {
			return err
		}
		group.Go(func() error { return p.planner.Run(ctx) })
	}
	if o.runs(serviceKeying) {
		if err := p.startKeying(ctx, group); err != nil {
			return err
		}
	}
	group.Go(func() error { return p.store.Maintain(ctx, p.maintains) })
	return nil
}

// startKeying starts what speaks IKE with peers.
func (p *process) startKeying(ctx context.Context, group *errgroup.Group) (err error) {
	config := peerauth.Config{Store: p.store, View: p.view, Revocation: revocation.New(revocation.NewHTTP(nil)), Log: p.log}
	if text := p.options.ipseckey; text != "" {
		server, err := netip.ParseAddrPort(text)
		if err != nil {
			return fmt.Errorf("--ipseckey-resolver %q: want ADDRESS:PORT", text)
		}
		if config.Resolver, err = ipseckey.New(ipseckey.Config{Server: server, TrustPath: p.options.ipseckeyTrust}); err != nil {
			return fmt.Errorf("--ipseckey-resolver: %w", err)
		}
	}
	authenticator := peerauth.New(config)
	p.keying, err = keying.New(keying.Config{
		Store: p.store, View: p.view, World: p.world, Incarnation: p.incarnation.Number, Controller: p.options.name,
		Authenticator: authenticator, Events: p.events, Log: p.log,
	})
	if err != nil {
		return err
	}
	group.Go(func() error { return p.keying.Run(ctx) })
	return nil
}

// maintains says whether etcd's upkeep is this process's: of its own etcd it always is, since a full one
// elects no leader; of a cluster it is that of whoever plans.
func (p *process) maintains() bool {
	return p.etcd != nil || p.planner != nil && p.planner.Stats().Leading
}

// halted says why nothing is delivered to agents; "" while it is, or when another process does it.
func (p *process) halted() string {
	if p.fleetService == nil {
		return ""
	}
	halt, halted := p.fleetService.Halted()
	if !halted {
		return ""
	}
	return halt.String()
}
