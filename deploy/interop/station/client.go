//go:build linux

package station

import (
	"context"
	"fmt"
	"io"
	"net/rpc"
	"strings"
	"time"
)

// Client asks a station. It may be used concurrently.
type Client struct {
	rpc *rpc.Client
	// Name is for messages.
	Name string
}

// NewClient takes the connection over.
func NewClient(name string, connection io.ReadWriteCloser) *Client {
	return &Client{rpc: rpc.NewClient(connection), Name: name}
}

// Close ends the connection, and with it the station.
func (c *Client) Close() error { return c.rpc.Close() }

func (c *Client) call(ctx context.Context, method string, arguments, out any) error {
	call := c.rpc.Go(service+"."+method, arguments, out, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return fmt.Errorf("%s: %w", c.Name, call.Error)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %s: %w", c.Name, method, ctx.Err())
	}
}

// commandTimeout bounds a command whose caller has no deadline.
const commandTimeout = 2 * time.Minute

// Run runs a script that must succeed and returns what it printed.
func (c *Client) Run(ctx context.Context, script string, stdin []byte) (string, error) {
	timeout := commandTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	var out Outcome
	if err := c.call(ctx, "Run", Command{Script: script, Stdin: stdin, Timeout: timeout}, &out); err != nil {
		return "", fmt.Errorf("%s: %w", script, err)
	}
	if out.Exit != 0 {
		return string(out.Output), fmt.Errorf("%s: %s: exit %d: %s", c.Name, script, out.Exit, strings.TrimSpace(string(out.Output)))
	}
	return string(out.Output), nil
}

// Start starts a script and does not wait for its end.
func (c *Client) Start(ctx context.Context, script string) error {
	return c.call(ctx, "Run", Command{Script: script, Background: true}, &Outcome{})
}

// Ping sends one echo.
func (c *Client) Ping(ctx context.Context, e Echo) error {
	return c.call(ctx, "Ping", e, &Answered{})
}

// Transfer runs one transfer.
func (c *Client) Transfer(ctx context.Context, t Transfer) error {
	return c.call(ctx, "Transfer", t, &Answered{})
}

// Reset ends all transfers there.
func (c *Client) Reset(ctx context.Context) error {
	return c.call(ctx, "Reset", uint16(0), &Answered{})
}

// Decapsulate makes the kernel there take ESP in UDP on port.
func (c *Client) Decapsulate(ctx context.Context, port uint16) error {
	return c.call(ctx, "Decapsulate", port, &Answered{})
}
