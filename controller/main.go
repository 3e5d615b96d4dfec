// sallyport-controller authenticates the hosts of a fleet, plans which security associations exist,
// keeps them in etcd and pushes their keys to the agents.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/services/flagfile"
)

// version is set at build time.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sallyport-controller:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "sallyport-controller",
		Short:         "The controller of a Sallyport fleet",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(runCommand(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), version) },
	})
	return cmd
}

func runCommand() *cobra.Command {
	var o options
	var config string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the controller",
		Long: `Run the controller. The first start makes the fleet: its certificate authority, its address pools and
an operator's credential, and prints how to join a host.`,
		Example: `  sallyport-controller run --advertise vpn.example.net:7443
  sallyport-controller run --config /etc/sallyport/controller.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config != "" {
				if err := flagfile.Apply(cmd.Flags(), config); err != nil {
					return err
				}
			}
			if err := o.complete(); err != nil {
				return err
			}
			return run(cmd.Context(), o, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "YAML file with one key per flag; the command line wins")
	o.register(cmd.Flags())
	return cmd
}
