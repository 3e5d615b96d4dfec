//go:build linux

// Package load puts traffic through a bed and measures what arrives: TCP by iperf3, UDP by a sender of its own (Blast),
// round trips by ping.
package load

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"sallyport.dev/sallyport/deploy/bench/bed"
)

// Path is from where to where the traffic goes.
type Path struct {
	From, To            *bed.Namespace
	Source, Destination netip.Addr
}

// TCP is a transfer by iperf3 from From to To.
type TCP struct {
	Streams int
	Both    bool // both directions at once
	Time    time.Duration
}

// Transfer is what has arrived, in both directions together.
type Transfer struct {
	Bytes float64
	Gbits float64 // a second
}

// iperfPort is iperf3's own.
const iperfPort = "5201"

// slack is how much longer than its traffic a measurement may take.
const slack = 20 * time.Second

// Run carries it out.
func (t TCP) Run(ctx context.Context, b *bed.Bed, p Path) (Transfer, error) {
	server, err := b.Start(p.To, nil, "iperf3", "--server", "--one-off", "--forceflush", "--bind", p.Destination.String(), "--port", iperfPort)
	if err != nil {
		return Transfer{}, err
	}
	if err := server.Until(ctx, "Server listening", func() bool { return strings.Contains(server.Said(), "Server listening") }); err != nil {
		return Transfer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.Time+slack)
	defer cancel()
	cmd := p.From.Command(ctx, t.client(p)...)
	out, err := cmd.Output()
	if err != nil {
		return Transfer{}, fmt.Errorf("bench: iperf3: %w: %s", err, complaint(out, err))
	}
	return parseTCP(out)
}

func (t TCP) client(p Path) []string {
	argv := []string{"iperf3", "--client", p.Destination.String(), "--bind", p.Source.String(), "--port", iperfPort,
		"--time", fmt.Sprint(int(t.Time.Seconds())), "--parallel", fmt.Sprint(max(t.Streams, 1)), "--connect-timeout", "5000", "--json"}
	if t.Both {
		argv = append(argv, "--bidir")
	}
	return argv
}

// report is what we read of iperf3's JSON.
type report struct {
	Error string `json:"error"`
	End   struct {
		Received sum `json:"sum_received"`
		Reverse  sum `json:"sum_received_bidir_reverse"`
	} `json:"end"`
}

type sum struct {
	Bytes float64 `json:"bytes"`
	Bits  float64 `json:"bits_per_second"`
}

func parseTCP(out []byte) (Transfer, error) {
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		return Transfer{}, fmt.Errorf("bench: iperf3 said: %w: %.500s", err, out)
	}
	if r.Error != "" {
		return Transfer{}, fmt.Errorf("bench: iperf3: %s", r.Error)
	}
	if r.End.Received.Bytes == 0 {
		return Transfer{}, fmt.Errorf("bench: iperf3: nothing has arrived")
	}
	return Transfer{
		Bytes: r.End.Received.Bytes + r.End.Reverse.Bytes,
		Gbits: (r.End.Received.Bits + r.End.Reverse.Bits) / 1e9,
	}, nil
}

// complaint is what iperf3 says when it fails: in its JSON, or on standard error.
func complaint(out []byte, err error) string {
	var r report
	if json.Unmarshal(out, &r) == nil && r.Error != "" {
		return r.Error
	}
	if exit, ok := err.(*exec.ExitError); ok {
		return strings.TrimSpace(string(exit.Stderr))
	}
	return ""
}
