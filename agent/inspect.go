package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/agent/local"
)

func policyCommand() *cobra.Command {
	cmd := ask("policy", "The security policy database, in the order in which it is asked", "policy", printPolicy)
	regions := ask("regions", "The same as parts that need no order (RFC 4301's decorrelation), each with the entry that takes it", "regions", printRegions)
	cmd.AddCommand(regions)
	return cmd
}

func printRegions(w io.Writer, regions []local.Region) error {
	fmt.Fprintf(w, "LOCAL\tREMOTE\tPROTOCOL\tLOCAL-PORTS\tREMOTE-PORTS\tACTION\tORDER\tPEER\n")
	for _, r := range regions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", r.Local, r.Remote, r.Protocol, r.LocalPorts, r.RemotePorts,
			r.Entry.Action, r.Entry.Order, orDash(r.Entry.Peer))
	}
	return nil
}

func printPolicy(w io.Writer, entries []local.Entry) error {
	fmt.Fprintf(w, "ORDER\tACTION\tPEER\tPOLICY\tLOCAL\tREMOTE\n")
	for _, e := range entries {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Order, e.Action, orDash(e.Peer), orDash(e.Policy),
			strings.Join(e.Local, ", "), strings.Join(e.Remote, ", "))
	}
	return nil
}

func traceCommand() *cobra.Command {
	var packet string
	var size int
	var df, inbound bool
	cmd := &cobra.Command{
		Use:   "trace --packet PACKET",
		Short: "Which policy and association a packet would take, and why",
		Long: `Say what would become of a packet: the entries of the policy database that were considered and why they do
not match, the one that does, the security association, and where it would go. Nothing is sent.`,
		Example: `  sallyport-agent trace --packet "tcp 10.1.0.1:40000 > 10.2.0.2:443"
  sallyport-agent trace --packet "icmp 10.1.0.1 > 10.2.0.2 8/0" --size 1500 --df
  sallyport-agent trace --inbound --packet "udp [fd00::2]:53 > [fd00::1]:5353"
  sallyport-agent trace --packet "hex 45000054…"`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&packet, "packet", "", `the packet: PROTOCOL SOURCE > DESTINATION [TYPE/CODE], or "hex" and a whole IP packet`)
	cmd.Flags().IntVar(&size, "size", 0, "length of the packet in bytes (default: its headers')")
	cmd.Flags().BoolVar(&df, "df", false, "the packet must not be fragmented (IPv4)")
	cmd.Flags().BoolVar(&inbound, "inbound", false, "the packet came out of an association; else it is to be sent")
	return question(cmd, func(ctx context.Context, runDir string, t *local.Trace) error {
		if packet == "" {
			return usageError{fmt.Errorf("no packet: give --packet, for example --packet %q", "tcp 10.1.0.1:40000 > 10.2.0.2:443")}
		}
		b, err := local.ParsePacket(packet, size, df)
		if err != nil {
			return usageError{err}
		}
		return local.Ask(ctx, runDir, "trace", local.TraceRequest{Packet: b, Inbound: inbound}, t)
	}, printTrace)
}

func printTrace(w io.Writer, t local.Trace) error {
	fmt.Fprintf(w, "Packet:\t%s\n", t.Flow)
	for _, s := range t.Considered {
		fmt.Fprintf(w, "Not:\t%s: %s\n", entryLine(s.Entry), s.Reason)
	}
	if t.Omitted > 0 {
		fmt.Fprintf(w, "Not:\t%d more\n", t.Omitted)
	}
	if t.Entry != nil {
		fmt.Fprintf(w, "Policy:\t%s\n", entryLine(*t.Entry))
	} else {
		fmt.Fprintf(w, "Policy:\tnone matches\n")
	}
	if a := t.SA; a != nil {
		fmt.Fprintf(w, "Association:\t%s SPI 0x%08x, generation %d, %s %s, %s, sequence number %d\n",
			a.Direction, a.SPI, a.Generation, a.Protocol, a.Mode, proposal(*a), a.Sequence)
	}
	if t.Dropped != "" {
		fmt.Fprintf(w, "Verdict:\tdropped, counted as %s: %s\n", t.Dropped, t.Detail)
		return nil
	}
	fmt.Fprintf(w, "Verdict:\t%s\n", t.Detail)
	return nil
}

func entryLine(e local.Entry) string {
	line := fmt.Sprintf("%d %s %s - %s", e.Order, e.Action, strings.Join(e.Local, ", "), strings.Join(e.Remote, ", "))
	if e.Peer != "" {
		line += " (" + e.Peer + ")"
	}
	return line
}
