// sallyport-agent joins a host to a fleet and runs its ESP datapath with the keys that the controller
// pushes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/agent/uplink"
)

// version is set at build time.
var version = "unknown"

// Exit statuses. The systemd unit knows exitRemoved.
const (
	exitFailure = 1
	exitUsage   = 2
	exitJoin    = 3 // the join token was refused, or there is none
	exitRemoved = 4 // the host was removed from the fleet
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run carries out a command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "sallyport-agent:", err)
	}
	return exitStatus(err)
}

func exitStatus(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, uplink.ErrRemoved):
		return exitRemoved
	case errors.Is(err, uplink.ErrJoinRefused), errors.Is(err, uplink.ErrNoToken):
		return exitJoin
	case errors.Is(err, errUsage):
		return exitUsage
	}
	return exitFailure
}

// errUsage marks what the command line or the configuration file got wrong.
var errUsage = errors.New("usage")

// usageError has the message of err, and is errUsage.
type usageError struct{ error }

func (usageError) Is(target error) bool { return target == errUsage }
func (e usageError) Unwrap() error      { return e.error }

func rootCommand() *cobra.Command {
	cmd := others(&cobra.Command{
		Use:   "sallyport-agent",
		Short: "The agent of a Sallyport fleet",
		Long: `The agent of a Sallyport fleet: it joins this host to the fleet and protects its traffic with ESP.

Exit statuses: 0 done, 1 failed, 2 wrong usage or configuration, 3 joining was refused, 4 the host was
removed from the fleet.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	})
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.AddCommand(runCommand(), cleanupCommand(), guardCommand(), statusCommand(), countersCommand(), saCommand(), policyCommand(), traceCommand(), captureCommand(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version) },
	})
	usageArgs(cmd)
	return cmd
}

// usageArgs makes a wrong operand or command below cmd wrong usage. A command that only has others prints its
// help when it stands alone.
func usageArgs(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, operands []string) error {
			if err := args(cmd, operands); err != nil {
				return usageError{err}
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		usageArgs(c)
	}
}

// others is a command that only has other commands.
func others(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}
