// sallyport is the operator's command line.
package main

import (
	"context"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"sallyport.dev/sallyport/controller/sallyport/cmd"
)

// version is set at build time.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	status := cmd.Run(ctx, cmd.Config{
		Version: version,
		Stdin:   os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: cmd.Terminal{Stdin: isTerminal(os.Stdin), Stdout: isTerminal(os.Stdout), Stderr: isTerminal(os.Stderr)},
		Getenv:   os.Getenv,
		Now:      time.Now,
		Poll:     500 * time.Millisecond,
		Jitter:   rand.Float64,
		Lab:      newLabCommand(),
	}, os.Args[1:])
	stop()
	os.Exit(status)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
