//go:build linux

package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sallyport.dev/sallyport/deploy/bench/bed"
)

// controllerPort is where the controller listens, at end 0.
const controllerPort = "7443"

// fleet is a controller, at end 0, and what its command line needs.
type fleet struct {
	Binaries
	bed    *bed.Bed
	folder string
}

// startFleet starts both ends as hosts of a fleet, whose subnets are the inner networks.
func (s Sallyport) startFleet(ctx context.Context, b *bed.Bed, setup Setup) ([]*bed.Process, error) {
	f := &fleet{s.Binaries, b, filepath.Join(b.Folder, "controller")}
	if err := f.controller(ctx); err != nil {
		return nil, err
	}
	manifest := fmt.Sprintf("kind: Policy\nmetadata: {name: bench}\nspec: {hosts: \"*\", proposal: %s}\n", setup.Proposal)
	var agents []*bed.Process
	for end := range b.Ends {
		agent, err := f.agent(ctx, end)
		if err != nil {
			return nil, err
		}
		agents = append(agents, agent)
		manifest += fmt.Sprintf("---\nkind: Host\nmetadata: {name: %s}\nspec: {subnets: [%q]}\n", hostName(end), bed.InnerNet(end, setup.Inner))
	}
	file := filepath.Join(f.folder, "bench.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	for end := range b.Ends {
		err := agents[end].Until(ctx, hostName(end)+" joins", func() bool { _, err := f.sallyport(ctx, "get", "hosts", hostName(end)); return err == nil })
		if err != nil {
			return nil, err
		}
	}
	if _, err := f.sallyport(ctx, "apply", "-f", file); err != nil {
		return nil, err
	}
	return agents, agents[0].Until(ctx, "the hosts' pair is up", func() bool { _, err := f.sallyport(ctx, "status"); return err == nil })
}

func hostName(end int) string { return [...]string{"a", "b"}[end] }

// controller starts the controller and waits until it answers.
func (f *fleet) controller(ctx context.Context) error {
	if err := os.Mkdir(f.folder, 0o700); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	in := func(name string) string { return filepath.Join(f.folder, name) }
	p, err := f.bed.Start(f.bed.Ends[0], nil, f.Controller, "run", "--name", "bench", "--trust-domain", "bench.internal",
		"--listen", ":"+controllerPort, "--advertise", f.address(), "--data-dir", in("data"), "--key-dir", in("keys"),
		"--socket", f.socket(), "--credential", in("operator.yaml"))
	if err != nil {
		return err
	}
	return p.Until(ctx, "the controller answers", func() bool { _, err := f.sallyport(ctx, "get", "hosts"); return err == nil })
}

func (f *fleet) address() string { return bed.Outer(0, 4).String() + ":" + controllerPort }
func (f *fleet) socket() string  { return filepath.Join(f.folder, "operator.sock") }

// sallyport runs the command line and returns what it printed.
func (f *fleet) sallyport(ctx context.Context, arguments ...string) (string, error) {
	return f.bed.Ends[0].Run(ctx, append([]string{f.CLI, "--socket", f.socket()}, arguments...)...)
}

// agent starts the agent of an end.
func (f *fleet) agent(ctx context.Context, end int) (*bed.Process, error) {
	folder, err := f.bed.FolderOf(end)
	if err != nil {
		return nil, err
	}
	token, err := f.sallyport(ctx, "join-token", "create", "--host", hostName(end))
	if err != nil {
		return nil, err
	}
	state, file := filepath.Join(folder, "state"), filepath.Join(folder, "join-token")
	if err := errors.Join(os.WriteFile(file, []byte(tokenLine(token)), 0o600), os.Mkdir(state, 0o700)); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	argv := []string{f.Agent, "run", "--controller", f.address(), "--join-token-file", file, "--state-dir", state, "--run-dir", filepath.Join(folder, "run")}
	return f.bed.Start(f.bed.Ends[end], nil, append(argv, mtuFlags(f.bed)...)...)
}

// tokenLine is the join token among what was printed with it.
func tokenLine(printed string) string {
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "sp1.") {
			return line
		}
	}
	return ""
}
