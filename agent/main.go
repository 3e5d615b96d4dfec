// sallyport-agent runs on every host of a fleet: it gets its identity and its keys from the controller
// and carries the host's protected traffic through ESP.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/agent/uplink"
)

// version is set at build time.
var version = "unknown"

// Exit statuses. systemd's unit names exitRemoved: a removed host is not started again.
const (
	exitFailure = 1
	exitRefused = 3
	exitRemoved = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := rootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sallyport-agent:", err)
		os.Exit(exitStatus(err))
	}
}

func exitStatus(err error) int {
	switch {
	case errors.Is(err, uplink.ErrRemoved):
		return exitRemoved
	case errors.Is(err, uplink.ErrJoinRefused), errors.Is(err, uplink.ErrNoToken):
		return exitRefused
	}
	return exitFailure
}

func rootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sallyport-agent",
		Short: "The agent of a host in a Sallyport fleet",
		Long: `The agent of a host in a Sallyport fleet.

Exit status: 0 ended as asked; 1 failed; 3 joining was refused, or there is no token; 4 this host was
removed from the fleet.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(runCommand(), cleanupCommand(), guardCommand(), statusCommand(), saCommand(), countersCommand(),
		&cobra.Command{
			Use:   "version",
			Short: "Print the version",
			Args:  cobra.NoArgs,
			Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version) },
		})
	return cmd
}
