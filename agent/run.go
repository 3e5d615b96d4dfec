package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/uplink"
	"sallyport.dev/sallyport/services/flagfile"
)

func runCommand() *cobra.Command {
	var o options
	var config string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the agent",
		Long: `Run the agent. The first start needs a join token; after that the host has an identity of its own.

When the agent ends, its rules stay: what is protected is dropped rather than sent in clear, until
the agent runs again or ` + "`sallyport-agent cleanup`" + ` takes the rules away.`,
		Example: `  sallyport-agent run --controller vpn.example.net:7443 --join-token-file token
  sallyport-agent run --config /etc/sallyport/agent.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config != "" {
				if err := flagfile.Apply(cmd.Flags(), config); err != nil {
					return err
				}
			}
			if err := o.check(); err != nil {
				return err
			}
			return run(cmd.Context(), o)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "YAML file with one key per flag; the command line wins")
	o.register(cmd.Flags())
	return cmd
}

// agent is what one life of the process is made of.
type agent struct {
	options  options
	log      *slog.Logger
	closers  []func()
	state    *uplink.State
	network  *netio.Network
	datapath *datapath.Datapath
	uplink   *uplink.Uplink
}

func run(ctx context.Context, o options) error {
	log, err := o.logger()
	if err != nil {
		return err
	}
	a := &agent{options: o, log: log}
	defer a.close()
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := a.open(ctx); err != nil {
		return err
	}
	group.Go(func() error { return a.datapath.Run(ctx) })
	if err := a.serve(ctx, group); err != nil {
		cancel()
		return errors.Join(err, group.Wait())
	}
	group.Go(func() error {
		// The agent lives as long as its uplink, which ends when it was asked to or when going on
		// would be useless.
		defer cancel()
		return a.uplink.Run(ctx)
	})
	log.Info("agent is running", "tun", o.tun, "listen_port", o.port, "version", version)
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd was not told that the agent is ready", "err", err)
	}
	err = group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	if err == nil {
		log.Info("agent has stopped; the guard's rules stay")
	}
	return err
}

// open builds the agent from the inside out: state, sockets, TUN, rules, datapath, uplink.
func (a *agent) open(ctx context.Context) error {
	o := a.options
	token, err := o.token()
	if err != nil {
		return err
	}
	if a.state, err = uplink.OpenState(o.stateDir); err != nil {
		return fmt.Errorf("--state-dir: %w", err)
	}
	a.onClose(func() { _ = a.state.Close() })
	if err := a.openDatapath(); err != nil {
		return err
	}
	if err := a.restoreRules(ctx); err != nil {
		return err
	}
	changed, err := netio.WatchAddresses(ctx)
	if err != nil {
		return err
	}
	install := newInstaller(ctx, a.network, a.datapath, o.controllers)
	a.uplink, err = uplink.New(uplink.Config{
		Controllers: o.controllers, State: a.state, JoinToken: token,
		Dialer:    uplink.TLSDialer{Control: netio.MarkControl(o.mark)},
		Installer: install, Events: a.datapath.Events(),
		Addresses: a.underlayAddresses(install), AddressesChanged: changed,
		Drops: a.drops, ESPPort: o.port, Version: version, Log: a.log,
	})
	return err
}

func (a *agent) openDatapath() error {
	o := a.options
	v4, v6, err := netio.ListenUDP(o.port, o.mark)
	if err != nil {
		return fmt.Errorf("--listen-port %d: %w", o.port, err)
	}
	a.onClose(func() { _ = v4.Close() })
	config := datapath.Config{IPv4: v4, Clock: netio.BootTime}
	if v6 != nil { // a nil *UDPSocket in the interface would not be nil
		config.IPv6 = v6
		a.onClose(func() { _ = v6.Close() })
	}
	tun, err := netio.OpenTUN(o.tun, o.mtu)
	if err != nil {
		return err
	}
	a.onClose(func() { _ = tun.Close() })
	config.TUN = tun
	if a.network, err = netio.NewNetwork(o.network.config()); err != nil {
		return err
	}
	a.onClose(a.network.Close)
	a.datapath, err = datapath.New(config)
	return err
}

// restoreRules guards what the last life guarded, until the controller says more.
func (a *agent) restoreRules(ctx context.Context) error {
	saved, found, err := netio.Saved(a.options.network.config().StateDir)
	if err != nil || !found {
		return err
	}
	return a.network.Apply(ctx, saved)
}

// underlayAddresses lists where others may reach this host. An error leaves the list empty: the
// controller then knows the address from which it sees the host.
func (a *agent) underlayAddresses(install *installer) func() []netip.Addr {
	return func() []netip.Addr {
		addrs, err := a.network.UnderlayAddresses(install.pools())
		if err != nil {
			a.log.Warn("the host's addresses cannot be listed", "err", err)
		}
		return addrs
	}
}

// drops are the datapath's dropped packets, by reason; reasons that never occurred are left out.
func (a *agent) drops() map[string]uint64 {
	dropped := a.datapath.Counters().Dropped
	out := make(map[string]uint64)
	for _, r := range datapath.Reasons() {
		if n := dropped[r]; n > 0 {
			out[r.String()] = n
		}
	}
	return out
}

func (a *agent) onClose(f func()) { a.closers = append(a.closers, f) }

func (a *agent) close() {
	for i := len(a.closers) - 1; i >= 0; i-- {
		a.closers[i]()
	}
}
