//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

const defaultName = "lab"

// Command is `sallyport lab`.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Run a local fleet in network namespaces",
		Long: `Run a local fleet in network namespaces: a controller and some hosts on a switched underlay.

As root it uses the machine's own namespaces. As an ordinary user it runs in a user namespace of its
own, where the kernel allows that.`,
		Example: `  sallyport lab up --hosts 3 --nat 1
  sallyport lab exec host-1 -- ping -c 3 100.80.0.2
  sallyport lab sallyport -- get sas
  sallyport lab down`,
		PersistentPreRunE: enterUserNamespace,
	}
	name := cmd.PersistentFlags().String("name", defaultName, "name of the lab")
	cmd.AddCommand(upCommand(name), downCommand(name), execCommand(name), cliCommand(name), listCommand(), demoCommand(name))
	return cmd
}

func upCommand(name *string) *cobra.Command {
	var hosts, nat int
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a lab: a controller, hosts, a mesh policy",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
			defer cancel()
			binaries, err := FindBinaries()
			if err != nil {
				return err
			}
			cfg := Config{Name: *name, Hosts: hosts, Binaries: binaries}
			if anchor, ok := recordedAnchor(); ok && insideUserNamespace() {
				cfg.Owner = anchor // its namespaces end with it
			}
			if nat > hosts {
				return fmt.Errorf("lab: --nat %d: there are only %d hosts", nat, hosts)
			}
			for i := hosts - nat + 1; i <= hosts; i++ {
				cfg.NAT = append(cfg.NAT, i)
			}
			l, err := Up(ctx, cfg)
			if err != nil {
				return err
			}
			if err := l.bring(ctx, cmd); err != nil {
				return errors.Join(err, l.Down(context.WithoutCancel(ctx)))
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&hosts, "hosts", 3, "number of hosts")
	cmd.Flags().IntVar(&nat, "nat", 0, "number of hosts behind NAT, the last ones")
	return cmd
}

// bring starts what a lab is for, and says how to use it.
func (l *Lab) bring(ctx context.Context, cmd *cobra.Command) error {
	steps := []struct {
		what string
		do   func() error
	}{
		{"controller", func() error { return l.StartController(ctx) }},
		{"hosts", func() error { return l.Join(ctx) }},
		{"mesh policy", func() error { _, err := l.Apply(ctx, "mesh", MeshPolicy); return err }},
		{"every pair up", func() error { return l.AwaitHosts(ctx) }},
	}
	for _, s := range steps {
		began := time.Now()
		if err := s.do(); err != nil {
			return fmt.Errorf("lab: %s: %w", s.what, err)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%-14s %v\n", s.what, time.Since(began).Round(time.Millisecond))
	}
	for i := 1; i <= l.state.Config.Hosts; i++ {
		addrs, err := l.Overlay(ctx, i)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%-8s %-16s %s\n", HostName(i), addrs[0], addrs[1])
	}
	return nil
}

func downCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop a lab and remove all that it made",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := Open(*name)
			if err != nil {
				return err
			}
			return l.Down(cmd.Context())
		},
	}
}

func execCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:     "exec NODE -- COMMAND [ARG ...]",
		Short:   "Run a command on a node: host-1, ctl, net, nat-1, ...",
		Example: "  sallyport lab exec host-1 -- ping -c 3 100.80.0.2",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := Open(*name)
			if err != nil {
				return err
			}
			if err := l.CheckNode(args[0]); err != nil {
				return err
			}
			return passThrough(l.Command(cmd.Context(), args[0], args[1:]...))
		},
	}
}

func cliCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:     "sallyport -- COMMAND [ARG ...]",
		Short:   "Run sallyport against the lab's controller",
		Example: "  sallyport lab sallyport -- get hosts -o wide",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := Open(*name)
			if err != nil {
				return err
			}
			return passThrough(l.CLICommand(cmd.Context(), args...))
		},
	}
}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the labs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			names, err := List()
			for _, name := range names {
				fmt.Fprintln(cmd.OutOrStdout(), name)
			}
			return err
		},
	}
}

func demoCommand(name *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a fleet at work: keys, traffic, rekeys, a NAT, and what happens when things break",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab := *name
			if !cmd.Flags().Changed("name") {
				lab = fmt.Sprintf("demo-%d", os.Getpid())
			}
			binaries, err := FindBinaries()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return Demo(ctx, lab, binaries, cmd.OutOrStdout())
		},
	}
	return cmd
}

// ExitError carries the exit status of a command that the lab ran for the user.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("the command ended with status %d", e.Code) }

// Said is true: what was wrong, the command itself has told.
func (e *ExitError) Said() bool { return true }

// ExitStatus is the status with which the caller should end.
func (e *ExitError) ExitStatus() int { return e.Code }

// passThrough runs a command on the terminal of the caller.
func passThrough(c *exec.Cmd) error {
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := c.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return &ExitError{Code: exit.ExitCode()}
	}
	return err
}
