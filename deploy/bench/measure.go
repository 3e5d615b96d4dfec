//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/deploy/bench/bed"
	"sallyport.dev/sallyport/deploy/bench/contender"
	"sallyport.dev/sallyport/deploy/bench/host"
	"sallyport.dev/sallyport/deploy/bench/load"
	"sallyport.dev/sallyport/deploy/bench/tally"
)

// bench is one run of the program.
type bench struct {
	options
	out     io.Writer
	beds    int       // made so far
	ciphers []float64 // raw rates so far, Gbit/s
}

// contest is both contenders of a measurement and the bare wire, ready.
type contest struct {
	first, second, bare *arena
}

// measure carries out a measurement. Pairs that are discarded are made up for, up to as many again.
func (b *bench) measure(ctx context.Context, m measurement) (_ []tally.Figure, err error) {
	for _, w := range m.figures {
		fmt.Fprintf(b.out, "— %s\n", w.title)
	}
	c, closeAll, err := b.open(ctx, m)
	defer func() { err = errors.Join(err, closeAll()) }()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.figures[0].title, err)
	}
	var pairs []tally.Pair
	for kept := 0; kept < b.pairs && len(pairs) < 2*b.pairs; {
		p, err := b.pair(ctx, c, m.load)
		if err != nil {
			return nil, fmt.Errorf("%s: pair %d: %w", m.figures[0].title, len(pairs)+1, err)
		}
		pairs = append(pairs, p)
		good, _ := tally.Split(pairs)
		kept = len(good)
		fmt.Fprintf(b.out, "  pair %d: %s %s | %s %s | bare wire %.1f Gbit/s, load %.2f\n",
			len(pairs), c.first.name, describe(p.First), c.second.name, describe(p.Second), p.Control, p.Load)
	}
	return b.figuresOf(m, pairs)
}

// figuresOf makes a measurement's figures and prints their lines.
func (b *bench) figuresOf(m measurement, pairs []tally.Pair) ([]tally.Figure, error) {
	var figures []tally.Figure
	for _, w := range m.figures {
		f, err := tally.Compare(tally.Figure{Name: w.label(), Title: w.title, Goal: w.goal}, w.metric, pairs)
		if err != nil {
			return figures, err
		}
		if f.Discarded > 0 {
			fmt.Fprintf(b.out, "  discarded %d of %d pairs: the bare wire was more than %.0f %% off its median\n", f.Discarded, len(pairs), 100*tally.MaxDrift)
		}
		if f.Kept < b.pairs {
			fmt.Fprintf(b.out, "  only %d pairs are left: this machine was not steady\n", f.Kept)
		}
		fmt.Fprintln(b.out, f)
		figures = append(figures, f)
	}
	return figures, nil
}

// pair runs the control and then both contenders.
func (b *bench) pair(ctx context.Context, c contest, run loadFunc) (p tally.Pair, err error) {
	if p.Load, err = host.Load(); err != nil {
		return p, err
	}
	control, err := load.TCP{Time: b.controlTime()}.Run(ctx, c.bare.bed, c.bare.path)
	if err != nil {
		return p, fmt.Errorf("the bare wire: %w", err)
	}
	p.Control = control.Gbits
	if p.First, err = run(ctx, c.first, b.time()); err != nil {
		return p, fmt.Errorf("%s: %w", c.first.name, err)
	}
	if p.Second, err = run(ctx, c.second, b.time()); err != nil {
		return p, fmt.Errorf("%s: %w", c.second.name, err)
	}
	return p, nil
}

// controlTime is the length of a control.
func (b *bench) controlTime() time.Duration {
	return max(time.Second, b.time()*2/5).Truncate(time.Second)
}

// open sets up a measurement. What it has made, closeAll closes, also after an error.
func (b *bench) open(ctx context.Context, m measurement) (c contest, closeAll func() error, err error) {
	var beds []*bed.Bed
	closeAll = func() error {
		var errs []error
		for _, b := range beds {
			errs = append(errs, b.Close())
		}
		return errors.Join(errs...)
	}
	theirs := m.setup // which knows tunnels only
	theirs.Mode = "tunnel"
	for _, place := range []struct {
		arena **arena
		who   contender.Contender
		setup contender.Setup
		plan  bed.Plan
	}{
		{&c.bare, nil, contender.Setup{Mode: "transport", Outer: 4}, bed.Plan{MTU: m.bed.MTU}},
		{&c.first, contender.Sallyport{Binaries: b.ours}, m.setup, m.bed},
		{&c.second, b.opponent(m.against), theirs, m.bed},
	} {
		b.beds++
		place.plan.Number = b.beds
		made, err := bed.Open(ctx, place.plan)
		if err != nil {
			return c, closeAll, err
		}
		beds = append(beds, made)
		if *place.arena, err = start(ctx, made, place.who, place.setup); err != nil {
			return c, closeAll, err
		}
	}
	return c, closeAll, nil
}

// start brings a contender up; nobody is the bare wire.
func start(ctx context.Context, b *bed.Bed, who contender.Contender, setup contender.Setup) (*arena, error) {
	a := &arena{bed: b, path: load.Path{
		From: b.Stations[0], To: b.Stations[1], Source: setup.Address(0), Destination: setup.Address(1),
	}}
	if who == nil {
		return a, nil
	}
	a.name = who.Name()
	var err error
	if a.processes, err = who.Start(ctx, b, setup); err != nil {
		return nil, err
	}
	if err := a.path.Await(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", a.name, err, said(a.processes))
	}
	return a, nil
}

func said(processes []*bed.Process) string {
	var all []string
	for _, p := range processes {
		all = append(all, p.Said())
	}
	return strings.Join(all, "\n")
}

func (b *bench) opponent(o opponent) contender.Contender {
	if o == strongswan {
		daemon, _ := host.Find("charon-systemd") // prepare has found them
		swanctl, _ := host.Find("swanctl")
		return contender.StrongSwan{Daemon: daemon, Swanctl: swanctl}
	}
	return contender.WireGuard{Binary: b.wg}
}

// describe writes what a run has shown.
func describe(r tally.Run) string {
	var parts []string
	for _, m := range slices.Sorted(maps.Keys(r)) {
		parts = append(parts, m.Format(r[m]))
	}
	return strings.Join(parts, ", ")
}
