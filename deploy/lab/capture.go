//go:build linux

package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Capture is a running packet capture.
type Capture struct {
	// File is the pcap file.
	File string
	lab  *Lab
	cmd  *exec.Cmd
	said string // the end of what tcpdump says
	done chan error
}

// headers is enough of a packet to tell what it is, bytes.
const headers = 160

// Capture records all that crosses the underlay's switch, whole, into a file of the lab's directory. It
// returns when the recording has begun.
func (l *Lab) Capture(ctx context.Context, name string) (*Capture, error) {
	return l.capture(ctx, name, 0)
}

// CaptureHeaders records the beginning of all that crosses the underlay's switch.
func (l *Lab) CaptureHeaders(ctx context.Context, name string) (*Capture, error) {
	return l.capture(ctx, name, headers)
}

// capture records at most snaplen bytes of each packet; 0 is all of it.
func (l *Lab) capture(ctx context.Context, name string, snaplen int) (*Capture, error) {
	if err := checkTools(captureTools()); err != nil {
		return nil, err
	}
	c := &Capture{File: l.Path(name + ".pcap"), lab: l, done: make(chan error, 1)}
	c.cmd = l.Command(context.WithoutCancel(ctx), nodeNet, recorder("br0", c.File, snaplen)...)
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("lab: tcpdump: %w", err)
	}
	lines := bufio.NewReader(stderr)
	said, err := untilSaid(lines, recording())
	go func() {
		rest, _ := io.ReadAll(lines)
		c.said = string(rest)
		c.done <- c.cmd.Wait()
	}()
	if err != nil {
		_ = c.cmd.Process.Kill()
		<-c.done
		return nil, fmt.Errorf("lab: tcpdump: %w: %s", err, said)
	}
	return c, nil
}

// untilSaid reads lines until one has the words.
func untilSaid(lines *bufio.Reader, words string) (said string, err error) {
	for {
		line, err := lines.ReadString('\n')
		said += line
		if err != nil {
			return said, err
		}
		if strings.Contains(line, words) {
			return said, nil
		}
	}
}

// Stop ends the capture and completes its file. It fails when packets were missed: such a capture
// proves nothing.
func (c *Capture) Stop() error {
	lag := c.catchUp()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return fmt.Errorf("lab: tcpdump: %w", err)
	}
	if err := <-c.done; err != nil {
		return fmt.Errorf("lab: tcpdump: %w", err)
	}
	if lag != nil {
		return lag
	}
	if !recordedAll(c.said) {
		return fmt.Errorf("lab: the capture %s is not whole: %s", c.File, strings.TrimSpace(c.said))
	}
	return nil
}

// Count is the number of captured packets that a capture filter matches (pcap-filter(7)).
func (c *Capture) Count(ctx context.Context, filter string) (int, error) {
	lines, err := c.Lines(ctx, filter, 0)
	return len(lines), err
}

// Lines describes the captured packets that a filter matches, most of them at the most (0: all).
func (c *Capture) Lines(ctx context.Context, filter string, most int) ([]string, error) {
	args := []string{"-nn", "-t", "-r", c.File}
	if most > 0 {
		args = append(args, "-c", strconv.Itoa(most))
	}
	var stderr bytes.Buffer
	argv := append(reader(), append(args, filter)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("lab: read %s: %w: %s", c.File, err, stderr.String())
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		// Continuation lines begin with white space.
		if strings.TrimSpace(line) != "" && line[0] != ' ' && line[0] != '\t' {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines, nil
}

// Filters for a lab's underlay.
const (
	// FilterESP is ESP in UDP (RFC 3948), NAT keepalives included.
	FilterESP     = "(udp port 4500)"
	filterControl = "(tcp port " + controllerPort + ")"
	// filterLink is what any Ethernet link carries: ARP, neighbour discovery and multicast listener
	// reports (types 130 to 143; behind a hop-by-hop header for the latter).
	filterLink = "(arp or (icmp6 and ip6[40] >= 130 and ip6[40] <= 143) or (ip6[6] = 0 and ip6[48] = 143))"
	// filterIntruder is the router of the underlay, from which InjectClear sends: what it says is not
	// what the fleet let out. That the fleet does not answer it is for InjectClear's caller to check.
	filterIntruder = "(host 10.99.0.254 or host fd99::fe)"
	// FilterClear is everything else: there must be none.
	FilterClear = "not " + FilterESP + " and not " + filterControl + " and not " + filterLink + " and not " + filterIntruder
)

// ErrClear: traffic crossed the underlay that is neither ESP nor the control stream.
var ErrClear = errors.New("lab: clear traffic on the underlay")

// AssertNoClear fails when the capture holds anything but ESP in UDP, the control stream and what a
// link needs, or when it holds no ESP at all (then it would prove nothing).
func (c *Capture) AssertNoClear(ctx context.Context) (esp int, err error) {
	clear, err := c.Lines(ctx, FilterClear, 5)
	if err != nil {
		return 0, err
	}
	if len(clear) > 0 {
		return 0, fmt.Errorf("%w: %s", ErrClear, strings.Join(clear, "; "))
	}
	esp, err = c.Count(ctx, FilterESP)
	if err != nil {
		return 0, err
	}
	if esp == 0 {
		return 0, fmt.Errorf("lab: %s holds no ESP: the capture proves nothing", c.File)
	}
	return esp, nil
}
