package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"sallyport.dev/sallyport/agent/manual"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/uplink"
)

// runManual runs the agent without a controller: keying mode manual.
func (a *agent) runManual(ctx context.Context) error {
	path := a.options.manual
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	file, err := manual.Load(path)
	if err != nil { // before anything is touched
		return usageError{err}
	}
	defer file.Clear()
	reservations := new(reserved)
	defer reservations.close()
	return a.run(ctx, func(ctx context.Context, state *uplink.State) ([]task, error) {
		if err := reservations.open(state.Dir()); err != nil {
			return nil, err
		}
		applier := manual.NewApplier(manual.Config{
			Datapath: a.datapath, Network: a.network, Reservations: reservations.Reservations, Log: a.log,
		})
		if err := applier.Apply(ctx, file); err != nil {
			return nil, err
		}
		if err := a.fitMTU(); err != nil {
			return nil, err
		}
		return []task{
			func(ctx context.Context) error { return applier.Keeper().Run(ctx, a.datapath.Events()) },
			func(ctx context.Context) error { return applier.Follow(ctx, path, reload) },
			func(ctx context.Context) error {
				return a.keepInstalled(ctx, func() ([]string, error) {
					repaired, err := a.network.Repair(ctx)
					return repaired, errors.Join(err, a.fitMTU())
				})
			},
		}, nil
	})
}

// fitMTU makes the TUN take no larger packets than all SAs can carry, so that this host's own packets fit at once. An
// MTU that was given stays.
func (a *agent) fitMTU() error {
	if a.options.mtu != 0 {
		return nil
	}
	return a.network.SetMTU(min(netio.DefaultMTU, a.datapath.InnerMTU()))
}

// reserved are reservations that are closed when everything that uses them has ended.
type reserved struct{ *manual.Reservations }

func (r *reserved) open(dir string) (err error) {
	r.Reservations, err = manual.OpenReservations(dir)
	return err
}

func (r *reserved) close() {
	if r.Reservations != nil {
		r.Reservations.Close()
	}
}
