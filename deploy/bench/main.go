//go:build linux

// Bench measures the agent's datapath against other userspace tunnels on one machine: `make bench-datapath`.
//
// A measurement pairs two contenders on beds of their own (package bed) and runs them in turn, A B A B, with the bare wire
// as control before each pair. A figure is the median of the pairs' ratios.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
