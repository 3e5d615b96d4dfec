//go:build linux

// Package station is what a test needs done at one end of a link: commands, echoes, transfers, each end's the same.
// A station runs inside the network namespace, or the virtual machine, that it is for, and is asked over one
// connection by package net/rpc; requests run at once.
//
//	Client ◀── net/rpc over a socket ──▶ Station in a namespace or a guest
//	                                       Run        a shell command
//	                                       Ping       one ICMP echo, its answer compared
//	                                       Transfer   bytes to the other station and back
//	                                       Reset      the end of all transfers
//	                                       Decapsulate  the sockets that take ESP in UDP for the kernel
package station

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os/exec"
	"sync"
	"time"
)

// Station serves one end. Make it with New.
type Station struct {
	mu      sync.Mutex
	sockets map[uint16]io.Closer // that decapsulate, by port
	echo    uint16               // the last echo's identifier
	port    uint16               // of the transfer server
	// transfers are the connections of transfers under way, of both sides.
	transfers map[*net.TCPConn]struct{}
}

// New makes a station and starts its transfer server on every address, on a TCP port: Port but in tests.
func New(port uint16) (*Station, error) {
	s := &Station{sockets: map[uint16]io.Closer{}, transfers: map[*net.TCPConn]struct{}{}}
	if err := s.listen(port); err != nil {
		return nil, err
	}
	return s, nil
}

// service is the name under which net/rpc finds the station.
const service = "Station"

// Serve answers until the connection ends.
func (s *Station) Serve(connection io.ReadWriteCloser) error {
	server := rpc.NewServer()
	if err := server.RegisterName(service, s); err != nil {
		return fmt.Errorf("station: %w", err)
	}
	server.ServeConn(connection)
	return nil
}

// Command is a script for sh.
type Command struct {
	Script  string
	Stdin   []byte
	Timeout time.Duration
	// Background starts it and does not wait.
	Background bool
}

// Outcome is what a command left.
type Outcome struct {
	Output []byte // both streams
	Exit   int    // -1 when it was ended
}

// Run runs a command. A status other than zero is no error.
func (s *Station) Run(c Command, out *Outcome) error {
	if c.Background {
		cmd := exec.Command("sh", "-c", c.Script)
		if err := cmd.Start(); err != nil {
			return err
		}
		go func() { _ = cmd.Wait() }()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", c.Script)
	cmd.Stdin = bytes.NewReader(c.Stdin)
	cmd.WaitDelay = time.Second
	var err error
	out.Output, err = cmd.CombinedOutput()
	out.Exit = cmd.ProcessState.ExitCode()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil
	}
	return err
}
