//go:build linux

package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"
)

// Transfer is what iperf3 moved.
type Transfer struct {
	Bytes       int64
	Seconds     float64
	Retransmits int
}

// Megabits is the rate in Mbit/s.
func (t Transfer) Megabits() float64 { return float64(t.Bytes) * 8 / 1e6 / t.Seconds }

// Transfer moves bytes over one TCP stream from a node to an address of another.
func (l *Lab) Transfer(ctx context.Context, from, to string, addr netip.Addr, bytes int64) (Transfer, error) {
	return l.iperf(ctx, from, to, addr, "-n", strconv.FormatInt(bytes, 10))
}

// TransferFor moves data over one TCP stream for a time, at no more than the given rate.
func (l *Lab) TransferFor(ctx context.Context, from, to string, addr netip.Addr, d time.Duration, megabits int) (Transfer, error) {
	return l.iperf(ctx, from, to, addr, "-t", strconv.Itoa(int(d.Seconds())), "-b", strconv.Itoa(megabits)+"M")
}

// iperf runs an iperf3 server on one node and a client on the other.
func (l *Lab) iperf(ctx context.Context, from, to string, addr netip.Addr, args ...string) (Transfer, error) {
	if err := checkTools(map[string]string{"iperf3": "iperf3"}); err != nil {
		return Transfer{}, err
	}
	const port = "5201"
	server := l.Command(ctx, to, "iperf3", "-s", "-1", "-B", addr.String(), "-p", port, "--forceflush")
	stdout, err := server.StdoutPipe()
	if err != nil {
		return Transfer{}, fmt.Errorf("lab: iperf3: %w", err)
	}
	if err := server.Start(); err != nil {
		return Transfer{}, fmt.Errorf("lab: iperf3: %w", err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	lines := bufio.NewReader(stdout)
	if said, err := untilSaid(lines, "Server listening"); err != nil {
		return Transfer{}, fmt.Errorf("lab: iperf3 server: %w: %s", err, said)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	client := append([]string{"iperf3", "-c", addr.String(), "-p", port, "-J"}, args...)
	out, err := l.Command(ctx, from, client...).Output()
	if err != nil {
		return Transfer{}, fmt.Errorf("lab: iperf3: %w: %s", err, out)
	}
	return parseTransfer(out)
}

func parseTransfer(out []byte) (Transfer, error) {
	var report struct {
		End struct {
			Sent struct {
				Retransmits int `json:"retransmits"`
			} `json:"sum_sent"`
			Received struct {
				Bytes   int64   `json:"bytes"`
				Seconds float64 `json:"seconds"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return Transfer{}, fmt.Errorf("lab: iperf3: %w", err)
	}
	if report.End.Received.Bytes == 0 || report.End.Received.Seconds == 0 {
		return Transfer{}, fmt.Errorf("lab: iperf3 moved nothing: %s", out)
	}
	return Transfer{
		Bytes:       report.End.Received.Bytes,
		Seconds:     report.End.Received.Seconds,
		Retransmits: report.End.Sent.Retransmits,
	}, nil
}

// retry tries every 100 ms until it works, the limit has passed or the context ends.
func retry(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}
