//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"sallyport.dev/sallyport/deploy/bench/bed"
	"sallyport.dev/sallyport/deploy/bench/host"
	"sallyport.dev/sallyport/deploy/bench/record"
	"sallyport.dev/sallyport/deploy/bench/tally"
)

// cipherTime is how long the raw cipher rate is measured, before each measurement: the processor's clock changes.
const cipherTime = 300 * time.Millisecond

// cipher measures the raw cipher rate and prints it.
func (b *bench) cipher() error {
	rate, err := host.RawCipher(cipherTime)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "AES-128-GCM alone, 1,400 bytes, one core: %.1f Gbit/s\n", rate)
	b.ciphers = append(b.ciphers, rate)
	return nil
}

// run carries out a command line. The error says what could not be measured; a missed goal is none.
func run(ctx context.Context, arguments []string, out io.Writer) error {
	o, err := parse(arguments, out)
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("bench: needs root: it makes network namespaces and TUN devices")
	}
	chosen := o.chosen()
	if err := prepare(ctx, chosen, out); err != nil {
		return err
	}
	if err := bed.Sweep(ctx); err != nil {
		return err
	}
	report := record.Report{Date: time.Now(), Pairs: o.pairs, Seconds: o.seconds}
	if report.Facts, err = host.Look(); err != nil {
		return err
	}
	if report.Agent, err = agentVersion(ctx, o.ours.Agent); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s, %s, %d cores\n", report.Kernel, report.CPU, report.Cores)
	var failed []error
	b := &bench{options: o, out: out}
	steps := []func() ([]tally.Figure, error){
		func() ([]tally.Figure, error) { return b.measureInMemory(ctx, o.chosenInMemory()) },
	}
	for _, m := range chosen {
		steps = append(steps, func() ([]tally.Figure, error) { return b.measure(ctx, m) })
	}
	for _, step := range steps {
		if err := b.cipher(); err != nil {
			return err
		}
		figures, err := step()
		if ctx.Err() != nil {
			return errors.Join(errors.New("bench: broken off"), err)
		}
		if err != nil {
			fmt.Fprintln(out, "not measured:", err)
			failed = append(failed, err)
			report.Unmeasured = append(report.Unmeasured, err.Error())
		}
		report.Figures = append(report.Figures, figures...)
	}
	report.Ciphers = b.ciphers
	slices.SortStableFunc(report.Figures, func(a, b tally.Figure) int { return strings.Compare(a.Name, b.Name) })
	report.Took = time.Since(report.Date)
	report.Print(out)
	if !o.valid() {
		fmt.Fprintf(out, "not valid: fewer than %d pairs of %d s\n", leastPairs, leastSeconds)
	}
	return errors.Join(append(failed, b.save(report))...)
}

// chosen are the measurements that give a wanted figure.
func (o options) chosen() []measurement {
	return slices.DeleteFunc(plan(), func(m measurement) bool {
		return !slices.ContainsFunc(m.figures, func(w wanted) bool { return o.wants(w.selector()) })
	})
}

// chosenInMemory are the figures in memory that are wanted.
func (o options) chosenInMemory() []inMemory {
	return slices.DeleteFunc(inMemoryPlan(), func(f inMemory) bool { return !o.wants(f.selector()) })
}

// prepare makes sure of what the measurements run.
func prepare(ctx context.Context, chosen []measurement, out io.Writer) error {
	needs := host.Tools()
	if slices.ContainsFunc(chosen, func(m measurement) bool { return m.against == strongswan }) {
		needs = append(needs, host.StrongSwan()...)
	}
	return host.Install(ctx, needs, out)
}

// save writes the table, which is of one whole and valid run.
func (b *bench) save(report record.Report) error {
	switch {
	case b.report == "":
		return nil
	case !b.valid() || len(b.figures) > 0:
		fmt.Fprintf(b.out, "%s stays as it is: it is of whole and valid runs\n", b.report)
		return nil
	}
	if err := os.WriteFile(b.report, []byte(report.Markdown()), 0o644); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// agentVersion is what the agent says that it is.
func agentVersion(ctx context.Context, binary string) (string, error) {
	out, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("bench: %s version: %w", binary, err)
	}
	return strings.TrimSpace(string(out)), nil
}
