package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/agent/local"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/uplink"
)

func cleanupCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove what the agent installed, the guard too",
		Long: `Remove the rules, the routes, the TUN and the guard that an agent installed. From then on traffic that was
protected may leave in clear. Stop the agent first. The identity stays: delete the state directory to
forget it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkNetwork(); err != nil {
				return err
			}
			return cleanUp(cmd.Context(), &o)
		},
	}
	registerNetwork(cmd.Flags(), &o)
	cmd.Flags().StringVar(&o.stateDir, "state-dir", defaultStateDir, "directory of the saved guard")
	cmd.Flags().StringVar(&o.runDir, "run-dir", defaultRunDir, "not used; for symmetry with run")
	_ = cmd.Flags().MarkHidden("run-dir")
	return cmd
}

// cleanUp holds the state directory meanwhile: an agent that runs would install everything again.
func cleanUp(ctx context.Context, o *options) error {
	if _, err := os.Stat(o.stateDir); err == nil {
		state, err := uplink.OpenState(o.stateDir)
		if errors.Is(err, uplink.ErrStateInUse) {
			return fmt.Errorf("%w: stop the agent first (systemctl stop sallyport-agent)", err)
		}
		if err != nil {
			return err
		}
		defer state.Close()
	}
	return netio.Cleanup(ctx, o.network())
}

func guardCommand() *cobra.Command {
	var stateDir string
	restore := &cobra.Command{
		Use:   "restore",
		Short: "Put the saved guard back, before the network is up",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return netio.RestoreGuard(cmd.Context(), stateDir) },
	}
	restore.Flags().StringVar(&stateDir, "state-dir", defaultStateDir, "directory of the saved guard")
	cmd := others(&cobra.Command{Use: "guard", Short: "The rules that drop protected traffic in clear"})
	cmd.AddCommand(restore)
	return cmd
}

// ask makes a command that asks the running agent, and prints a table or JSON.
func ask[T any](use, short, what string, table func(io.Writer, T) error) *cobra.Command {
	return question(&cobra.Command{Use: use, Short: short, Args: cobra.NoArgs},
		func(ctx context.Context, runDir string, v *T) error { return local.Get(ctx, runDir, what, v) }, table)
}

// question makes cmd print what get gets from the running agent, as a table or JSON.
func question[T any](cmd *cobra.Command, get func(ctx context.Context, runDir string, v *T) error, table func(io.Writer, T) error) *cobra.Command {
	var runDir, output string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if output != "table" && output != "json" {
			return usageError{fmt.Errorf("--output %q: want table or json", output)}
		}
		var v T
		if err := get(cmd.Context(), runDir, &v); err != nil {
			return err
		}
		if output == "json" {
			encoder := json.NewEncoder(cmd.OutOrStdout())
			encoder.SetIndent("", "  ")
			return encoder.Encode(v)
		}
		w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
		if err := table(w, v); err != nil {
			return err
		}
		return w.Flush()
	}
	cmd.Flags().StringVar(&runDir, "run-dir", defaultRunDir, "directory of the agent's unix socket")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func statusCommand() *cobra.Command {
	return ask("status", "How the agent stands", "status", printStatus)
}

func countersCommand() *cobra.Command {
	return ask("counters", "Packets carried and dropped", "counters", printCounters)
}

func saCommand() *cobra.Command {
	return ask("sa", "Security associations installed", "sa", printAssociations)
}

func printStatus(w io.Writer, s local.Status) error {
	if s.Manual != "" {
		fmt.Fprintf(w, "Version:\t%s\n", s.Version)
		fmt.Fprintf(w, "Keys:\tof the file %s\n", s.Manual)
	} else {
		printUplink(w, s)
	}
	fmt.Fprintf(w, "Pairs up:\t%d of %d\n", s.PairsUp, s.Pairs)
	fmt.Fprintf(w, "Associations:\t%d\n", s.Associations)
	if s.Manual == "" {
		fmt.Fprintf(w, "Alone:\t%s without the controller\n", seconds(s.AloneSeconds))
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "PEER\tUP\tPATH\tIN\tOUT\tHEARD\n")
	for _, p := range s.Peers {
		heard := "never"
		if p.ReceivedSecondsAgo >= 0 {
			heard = seconds(p.ReceivedSecondsAgo) + " ago"
		}
		fmt.Fprintf(w, "%s\t%v\t%s\t%d\t%d\t%s\n", p.Host, p.Up, orDash(p.Remote), p.InboundGeneration, p.OutboundGeneration, heard)
	}
	return nil
}

// printUplink prints how the agent stands with its controller.
func printUplink(w io.Writer, s local.Status) {
	up := s.Uplink
	fmt.Fprintf(w, "Host:\t%s\n", orDash(up.Host))
	fmt.Fprintf(w, "Version:\t%s\n", s.Version)
	fmt.Fprintf(w, "Addresses:\t%s\n", orDash(strings.Join(s.Addresses, ", ")))
	if up.Connected {
		fmt.Fprintf(w, "Controller:\t%s, connected since %s\n", up.Controller, up.Since.Format(time.DateTime))
	} else {
		fmt.Fprintf(w, "Controller:\t%s, not connected: %s\n", orDash(up.Controller), orDash(up.LastError))
	}
	if !up.CertificateNotAfter.IsZero() {
		fmt.Fprintf(w, "Certificate:\tuntil %s\n", up.CertificateNotAfter.Format(time.DateTime))
	}
}

func printCounters(w io.Writer, c local.Counters) error {
	fmt.Fprintf(w, "COUNTER\tPACKETS\tBYTES\n")
	fmt.Fprintf(w, "out\t%d\t%d\n", c.OutPackets, c.OutBytes)
	fmt.Fprintf(w, "in\t%d\t%d\n", c.InPackets, c.InBytes)
	for _, reason := range slices.Sorted(maps.Keys(c.Drops)) {
		fmt.Fprintf(w, "dropped: %s\t%d\t\n", reason, c.Drops[reason])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Guard)) {
		fmt.Fprintf(w, "guard: %s\t%d\t\n", name, c.Guard[name])
	}
	return nil
}

func printAssociations(w io.Writer, all []local.Association) error {
	fmt.Fprintf(w, "PEER\tDIR\tSPI\tGEN\tPROTOCOL\tMODE\tENCAP\tPROPOSAL\tPACKETS\tBYTES\tAGE\tLEFT\n")
	for _, a := range all {
		left := "-"
		if a.LeftSeconds != 0 {
			left = seconds(a.LeftSeconds)
		}
		fmt.Fprintf(w, "%s\t%s\t0x%08x\t%d\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", a.Host, a.Direction, a.SPI, a.Generation,
			a.Protocol, a.Mode, a.Encapsulation, proposal(a), a.Packets, a.Bytes, seconds(a.AgeSeconds), left)
	}
	return nil
}

func proposal(a local.Association) string {
	if a.ESN {
		return a.Proposal + "-esn"
	}
	return a.Proposal
}

func seconds(n int64) string { return (time.Duration(n) * time.Second).String() }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
