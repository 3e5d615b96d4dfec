package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/install"
	"sallyport.dev/sallyport/agent/local"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/uplink"
	"sallyport.dev/sallyport/services/flagfile"
	"sallyport.dev/sallyport/services/protocol/aesgcm"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

func runCommand() *cobra.Command {
	var o options
	var config string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Join the fleet and protect this host's traffic",
		Long: `Run the agent. The first start needs a join token; later ones do not. With the controller away, what is
installed goes on until its hard lifetime. The rules that drop protected traffic in clear outlive the
agent: sallyport-agent cleanup removes them.

With --manual it runs without a controller: policies, security associations and their keys are those of a
file, which SIGHUP makes it read again.`,
		Example: `  sallyport-agent run --controller vpn.example.net:7443 --join-token-file /etc/sallyport/join-token
  sallyport-agent run --config /etc/sallyport/agent.yaml
  sallyport-agent run --manual /etc/sallyport/manual.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config != "" {
				if err := flagfile.Apply(cmd.Flags(), config); err != nil {
					return usageError{err}
				}
			}
			return o.run(cmd.Context())
		},
	}
	o.register(cmd.Flags())
	cmd.Flags().StringVar(&config, "config", "", "YAML file with one key per flag; the command line wins")
	return cmd
}

// agent is what runs.
type agent struct {
	options   *options
	log       *slog.Logger
	network   *netio.Network
	routes    *netio.Routes
	datapath  *datapath.Datapath
	installer *install.Installer // nil in keying mode manual
	uplink    *uplink.Uplink     // likewise
	// lastUplinks are the controllers' addresses in the agent's last life.
	lastUplinks []netip.AddrPort
}

func (o *options) run(ctx context.Context) error {
	if err := o.check(); err != nil {
		return err
	}
	log, err := o.log.Logger(os.Stderr)
	if err != nil {
		return usageError{err}
	}
	a := &agent{options: o, log: log}
	if o.manual != "" {
		return a.runManual(ctx)
	}
	token, err := o.token()
	if err != nil {
		return err
	}
	return a.run(ctx, func(ctx context.Context, state *uplink.State) ([]task, error) { return a.join(ctx, state, token) })
}

// task is what runs as long as the agent does.
type task func(context.Context) error

// run opens what every keying mode needs, lets begin begin, and runs the tasks that it returns until something
// ends for good.
func (a *agent) run(ctx context.Context, begin func(context.Context, *uplink.State) ([]task, error)) error {
	state, err := uplink.OpenState(a.options.stateDir)
	if err != nil {
		return err
	}
	defer state.Close()
	socket, err := local.Listen(a.options.runDir)
	if err != nil {
		return err
	}
	defer socket.Close()
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	defer func() {
		cancel()
		_ = group.Wait()
	}()
	if err := a.openDatapath(ctx, group); err != nil {
		return err
	}
	if a.network, err = netio.NewNetwork(a.options.network()); err != nil {
		return err
	}
	defer a.network.Close()
	tasks, err := begin(ctx, state)
	if err != nil {
		return err
	}
	return a.serve(ctx, group, socket, tasks)
}

// join makes the agent one of a fleet.
func (a *agent) join(ctx context.Context, state *uplink.State, token *enrol.Token) ([]task, error) {
	o := a.options
	if err := a.startInstaller(ctx); err != nil {
		return nil, err
	}
	changes, err := netio.WatchAddresses(ctx)
	if err != nil {
		return nil, err
	}
	installer, err := exportKeys(a.installer)
	if err != nil {
		return nil, err
	}
	manualKeys, events, keep := a.manualKeys(state.Dir(), installer)
	a.uplink, err = uplink.New(uplink.Config{
		Controllers: o.controllers, State: state, JoinToken: token,
		Dialer:    uplink.TLSDialer{Control: netio.MarkControl(o.mark)},
		Installer: installer, Manual: manualKeys, Events: events,
		Addresses: a.addresses, AddressesChanged: changes, Drops: func() map[string]uint64 { return local.Drops(a.datapath.Counters()) },
		ESPPort: o.listenPort, Version: version, Log: a.log,
	})
	if err != nil {
		return nil, err
	}
	up := func(ctx context.Context) error {
		if err := a.uplink.Run(ctx); err != nil {
			return err
		}
		return ctx.Err()
	}
	repair := func(ctx context.Context) error {
		return a.keepInstalled(ctx, func() ([]string, error) { return a.installer.Repair() })
	}
	return []task{up, a.followControllers, repair, keep}, nil
}

// startInstaller guards from here on what the last life guarded; nothing has been sent yet.
func (a *agent) startInstaller(ctx context.Context) error {
	saved, _, err := netio.Saved(a.options.stateDir)
	if err != nil {
		return err
	}
	a.lastUplinks = saved.Uplink
	a.installer, err = install.New(ctx, install.Config{
		Datapath: a.datapath, Network: a.network, Saved: saved, FixedMTU: a.options.mtu != 0, Log: a.log,
	})
	if err != nil {
		return err
	}
	return a.installer.Start()
}

// openDatapath makes the devices and starts the datapath, which has nothing to carry yet.
func (a *agent) openDatapath(ctx context.Context, group *errgroup.Group) error {
	o := a.options
	mtu := o.mtu
	if mtu == 0 {
		mtu = netio.DefaultMTU
	}
	tun, err := netio.OpenTUN(o.tun, mtu)
	if err != nil {
		return err
	}
	if a.routes, err = netio.OpenRoutes(o.mark); err != nil {
		return errors.Join(err, tun.Close())
	}
	config := datapath.Config{TUN: tun, Clock: netio.BootTime, KeepKeys: o.allowCapture, PathTo: a.routes.PathTo}
	v4, v6, err := a.openSockets(&config)
	if err != nil {
		return errors.Join(err, tun.Close())
	}
	if a.datapath, err = datapath.New(config); err != nil {
		return err
	}
	makeRoom()
	group.Go(func() error { return a.datapath.Run(ctx) }) // closes the devices
	group.Go(func() error { return a.watchSpeed(ctx, speed{tun, v4, v6}) })
	return nil
}

// openSockets opens the sockets for ESP in UDP, which it returns, and for native ESP and AH.
func (a *agent) openSockets(c *datapath.Config) (v4, v6 *netio.UDPSocket, err error) {
	o := a.options
	v4, v6, err = netio.ListenUDP(netio.UDPOptions{Port: o.listenPort, Mark: o.mark, NoChecksum: o.udpNoChecksum})
	if err != nil {
		return nil, nil, err
	}
	c.UDP = sockets(v4, v6)
	for _, native := range []struct {
		protocol datapath.Protocol
		into     *datapath.Sockets
	}{{datapath.ESP, &c.ESP}, {datapath.AH, &c.AH}} {
		raw4, raw6, err := netio.ListenRaw(uint8(native.protocol), o.mark)
		if err != nil {
			return nil, nil, errors.Join(err, closeSockets(c))
		}
		*native.into = sockets(raw4, raw6)
	}
	ahErrors, err := netio.ListenAHErrors()
	if err != nil {
		return nil, nil, errors.Join(err, closeSockets(c))
	}
	if ahErrors != nil {
		c.AHErrors = ahErrors
	}
	return v4, v6, nil
}

// sockets makes interfaces of sockets that may be nil: a nil pointer in an interface is not nil.
func sockets[T interface {
	comparable
	datapath.Conn
}](v4, v6 T) (s datapath.Sockets) {
	var none T
	if v4 != none {
		s.IPv4 = v4
	}
	if v6 != none {
		s.IPv6 = v6
	}
	return s
}

func closeSockets(c *datapath.Config) error {
	var errs []error
	for _, s := range []datapath.Sockets{c.UDP, c.ESP, c.AH} {
		for _, conn := range []datapath.Conn{s.IPv4, s.IPv6} {
			if conn != nil {
				errs = append(errs, conn.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// serve runs the agent until something ends for good.
func (a *agent) serve(ctx context.Context, group *errgroup.Group, socket net.Listener, tasks []task) error {
	for _, t := range tasks {
		group.Go(func() error { return t(ctx) })
	}
	group.Go(func() error { return local.Serve(ctx, socket, a.source()) })
	if a.options.metricsListen != "" {
		if err := a.serveMetrics(ctx, group); err != nil {
			return err
		}
	}
	a.log.Info("sallyport-agent runs", "version", version, "tun", a.options.tun, "port", a.options.listenPort, "aes-gcm", aesgcm.Implementation())
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		a.log.Warn("systemd could not be told that the agent is ready", "err", err)
	}
	err := group.Wait()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	if errors.Is(err, context.Canceled) {
		a.log.Info("sallyport-agent stops; the guard stays")
		return nil
	}
	return err
}

// addresses are the underlay addresses, for the controller.
func (a *agent) addresses() []netip.Addr {
	addresses, err := a.network.UnderlayAddresses(a.installer.Pools())
	if err != nil {
		a.log.Warn("the host's addresses cannot be listed", "err", err)
	}
	return addresses
}

// status is how the agent stands.
func (a *agent) status() local.Status {
	if a.uplink == nil {
		s := local.Summarise(version, uplink.Status{}, nil, a.datapath.Pairs(), a.datapath.SAs())
		s.Manual = a.options.manual
		return s
	}
	var addresses []string
	for _, address := range a.installer.Addresses() {
		addresses = append(addresses, address.String())
	}
	return local.Summarise(version, a.uplink.Status(), addresses, a.datapath.Pairs(), a.datapath.SAs())
}

// source answers the agent's own commands.
func (a *agent) source() local.Source {
	return local.Source{
		Status:       a.status,
		Associations: func() []local.Association { return local.Associations(a.datapath.Pairs(), a.datapath.SAs()) },
		Counters: func(ctx context.Context) (local.Counters, error) {
			guard, err := netio.GuardCounters(ctx, a.options.network())
			return local.Count(a.datapath.Counters(), guard), err
		},
		Policies: func() []local.Entry { return local.Entries(a.datapath.Policies()) },
		Regions: func() ([]local.Region, error) {
			regions, err := a.datapath.Regions()
			return local.Regions(regions), err
		},
		Trace: func(q local.TraceRequest) (local.Trace, error) {
			t, err := a.datapath.Trace(q.Packet, q.Inbound)
			return local.Traced(t), err
		},
		Capture: a.capture(),
	}
}

// capture is nil unless captures are allowed.
func (a *agent) capture() local.Capture {
	if !a.options.allowCapture {
		return nil
	}
	return &recording{datapath: a.datapath, port: a.options.listenPort, log: a.log}
}
