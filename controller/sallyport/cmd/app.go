// Package cmd is the operator's command line: every command of `sallyport` but the lab.
//
// Results go to the standard output and nothing else does, so that it can be piped; what people
// should know besides goes to the standard error. Package exit lists the exit statuses.
package cmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/connect"
	"sallyport.dev/sallyport/controller/sallyport/exit"
)

// Time limits when --timeout does not say otherwise.
const (
	callTimeout       = 30 * time.Second
	waitTimeout       = 5 * time.Minute
	completionTimeout = 2 * time.Second
)

// Config is the world of the command line.
type Config struct {
	// Version is this program's.
	Version string
	// Stdin, Stdout and Stderr are the standard streams.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal says which of them a person looks at.
	Terminal Terminal
	// Getenv reads the environment.
	Getenv func(string) string
	// Now is the clock, in the time zone to show times in.
	Now func() time.Time
	// Poll is how often a state is asked for while waiting.
	Poll time.Duration
	// Jitter returns a number in [0, 1).
	Jitter func() float64
	// Lab is the lab command; nil for none.
	Lab *cobra.Command
}

// Terminal says which standard streams are terminals.
type Terminal struct {
	Stdin, Stdout, Stderr bool
}

// app is one run of the program.
type app struct {
	Config
	connect connect.Options
	timeout time.Duration
	conn    *connect.Conn
	running bool // a command has begun: its errors are no longer about the command line
}

// Run runs the command line and returns the exit status.
func Run(ctx context.Context, cfg Config, args []string) int {
	a := &app{Config: cfg}
	a.connect.Getenv = cfg.Getenv
	root := a.root()
	root.SetArgs(args)
	root.SetIn(cfg.Stdin)
	root.SetOut(cfg.Stdout)
	root.SetErr(cfg.Stderr)
	a.observe(root)
	command, err := root.ExecuteContextC(ctx)
	if a.conn != nil {
		_ = a.conn.Close() // everything has been received; there is nobody to tell
	}
	if err == nil {
		return exit.OK
	}
	if !a.running {
		fmt.Fprintf(cfg.Stderr, "sallyport: %v\nsee %s --help\n", err, command.CommandPath())
		return exit.Usage
	}
	return a.report(ctx, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "Operate a Sallyport fleet",
		Long: `sallyport operates a fleet of IPsec hosts through its controller.

The controller is found by a credential file (--credential, then $SALLYPORT_CREDENTIAL, then
~/.config/sallyport/operator.yaml, then /etc/sallyport/operator.yaml) or, on the controller's own
machine, by its unix socket (--socket).`,
		Example: `  sallyport join-token create --host web-1
  sallyport apply -f fleet.yaml
  sallyport status
  sallyport get sas -w`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       a.Version,
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.connect.Credential, "credential", "", "credential file")
	flags.StringVar(&a.connect.Socket, "socket", "", "unix socket of a controller on this machine")
	flags.StringVar(&a.connect.Server, "server", "", "controller's host:port, instead of the credential's")
	flags.DurationVar(&a.timeout, "timeout", 0, "longest time to take (default 30s, with --wait 5m; a watch and a backup have no limit)")
	root.SetVersionTemplate("sallyport {{.Version}}\n")
	root.AddCommand(
		a.applyCommand(), a.diffCommand(), a.getCommand(), a.deleteCommand(),
		a.joinTokenCommand(), a.rekeyCommand(), a.confirmDeletionsCommand(), a.statusCommand(),
		a.caCommand(), a.operatorCommand(), a.peerCommand(), a.exportCommand(), a.backupCommand(), a.restoreCommand(),
		a.versionCommand(), exitCodesTopic(),
	)
	if a.Lab != nil {
		root.AddCommand(a.Lab)
	}
	return root
}

// observe notes when a command of the tree begins, so that errors before it count as wrong usage.
func (a *app) observe(c *cobra.Command) {
	note := func(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
		if run == nil {
			return nil
		}
		return func(c *cobra.Command, args []string) error {
			a.running = true
			return run(c, args)
		}
	}
	c.RunE = note(c.RunE)
	c.PersistentPreRunE = note(c.PersistentPreRunE)
	for _, sub := range c.Commands() {
		a.observe(sub)
	}
}

// group makes a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return exit.Errorf(exit.Usage, "%s needs a command: see %s --help", c.CommandPath(), c.CommandPath())
		},
	}
	c.AddCommand(subs...)
	return c
}

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "The exit statuses", Long: exit.Help()}
}

// within bounds a command by --timeout, or else by a default; 0 is no bound.
func (a *app) within(ctx context.Context, otherwise time.Duration) (context.Context, context.CancelFunc) {
	d := otherwise
	if a.timeout > 0 {
		d = a.timeout
	}
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// open returns the connection, made at the first call.
func (a *app) open() (*connect.Conn, error) {
	if a.conn != nil {
		return a.conn, nil
	}
	conn, err := connect.Open(a.connect)
	if err != nil {
		return nil, err
	}
	a.conn = conn
	return conn, nil
}

func (a *app) resources() (operatorv1.ResourceServiceClient, error) {
	conn, err := a.open()
	if err != nil {
		return nil, err
	}
	return operatorv1.NewResourceServiceClient(conn), nil
}

func (a *app) admin() (operatorv1.AdminServiceClient, error) {
	conn, err := a.open()
	if err != nil {
		return nil, err
	}
	return operatorv1.NewAdminServiceClient(conn), nil
}

// colour is true when the standard output should have colours: https://no-color.org.
func (a *app) colour() bool {
	return a.Terminal.Stdout && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}

// say writes a line for people.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.Stderr, format+"\n", args...)
}
