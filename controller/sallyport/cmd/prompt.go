package cmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"sallyport.dev/sallyport/controller/sallyport/exit"
)

// confirm asks a question on the terminal; anything but yes ends the command.
func (a *app) confirm(ctx context.Context, question string) error {
	fmt.Fprintf(a.Stderr, "%s [y/N] ", question)
	answer := make(chan string, 1)
	// The read cannot be interrupted. On Ctrl-C the goroutine is left behind: the program ends.
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(a.Stdin, 1024)).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.Stderr)
		return ctx.Err()
	case s := <-answer:
		if s == "y" || s == "yes" {
			return nil
		}
		return exit.Errorf(exit.Failure, "not confirmed: nothing was done")
	}
}

// interactive is true when a person can answer a question.
func (a *app) interactive() bool { return a.Terminal.Stdin && a.Terminal.Stderr }

// progress shows a line that replaces itself, on a terminal only.
type progress struct {
	out  io.Writer
	on   bool
	last string
}

func (a *app) progress() *progress {
	return &progress{out: a.Stderr, on: a.Terminal.Stderr && a.Getenv("TERM") != "dumb"}
}

func (p *progress) show(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.on && text != p.last {
		fmt.Fprint(p.out, "\r\x1b[K"+text)
		p.last = text
	}
}

// done removes the line.
func (p *progress) done() {
	if p.last != "" {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.last = ""
	}
}
