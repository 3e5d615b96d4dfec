package cmd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sallyport": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		tty := os.Getenv("TEST_TERMINAL") != ""
		os.Exit(Run(ctx, Config{
			Version: "v0.test", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			Terminal: Terminal{Stdin: tty, Stdout: tty, Stderr: tty},
			Getenv:   os.Getenv, Now: func() time.Time { return testNow },
			Poll: 5 * time.Millisecond, Jitter: rand.Float64,
		}, os.Args[1:]))
	}})
}

// TestScripts runs testdata/*.txtar: sessions of the command line with a controller in memory behind a
// real gRPC connection.
//
//	fleet host NAME ADDRESS [connected]      stores a host with a status
//	fleet sa SOURCE DEST SPI GEN PHASE       stores a security association, made now
//	fleet event REASON MESSAGE               stores an event
//	fleet delete REF                         deletes a resource
//	fleet pairs UP WANTED [A B REASON]       sets the status
//	fleet held N                             sets how many deletions wait
//	fleet down | up                          stops and starts the server
//	fleet fail METHOD CODE MESSAGE           makes the next call fail
//	fleet rekeys HOST ...                    a rekey makes new generations of these hosts with host z
//	fleet backup FILE                        makes a backup, and writes it to a file to compare with
//	fleet restored FILE                      compares what was restored
//	exits STATUS COMMAND ...                 runs a command and checks its exit status
//	await watcher                            waits until a command watches
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireUniqueNames: true, UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			c := &controller{fake: newFake(), path: filepath.Join(e.WorkDir, ".s")}
			e.Values["controller"] = c
			e.Setenv("SALLYPORT_SOCKET", c.path)
			e.Setenv("HOME", e.WorkDir)
			e.Defer(func() { c.stop() })
			return c.start()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fleet": fleetCommand, "exits": exits, "await": await,
		},
	})
}

// controller is a fake with a listener that can go down and come back.
type controller struct {
	*fake
	path string
	stop func()
}

func (c *controller) start() error {
	l, err := net.Listen("unix", c.path)
	if err != nil {
		return err
	}
	s := c.server()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends when stopped; a client notices any other end
	}()
	c.stop = func() { s.Stop(); <-done }
	return nil
}

// exits runs a command and checks its exit status: "exits 3 sallyport get …".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND …")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := err.(interface{ ExitCode() int }); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d\nstdout: %s\nstderr: %s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// await waits until a command in the background has opened its Watch.
func await(ts *testscript.TestScript, _ bool, _ []string) {
	c := ts.Value("controller").(*controller)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		c.mu.Lock()
		n := len(c.watchers)
		c.mu.Unlock()
		if n > 0 {
			return
		}
	}
	ts.Fatalf("nobody watches")
}

func fleetCommand(ts *testscript.TestScript, _ bool, args []string) {
	c := ts.Value("controller").(*controller)
	word, args := args[0], args[1:]
	switch word {
	case "down":
		c.stop()
		return
	case "up":
		ts.Check(c.start())
		return
	case "restored":
		c.mu.Lock()
		defer c.mu.Unlock()
		if want := ts.ReadFile(args[0]); string(c.restored) != want {
			ts.Fatalf("restored %d bytes, want %d", len(c.restored), len(want))
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch word {
	case "host":
		c.put(&operatorv1.Resource{Kind: &operatorv1.Resource_Host{Host: &operatorv1.Host{
			Metadata: &operatorv1.Metadata{Name: args[0]}, Spec: &operatorv1.HostSpec{},
			Status: &operatorv1.HostStatus{
				Addresses: []string{args[1]}, Connected: len(args) > 2, ObservedAddress: "192.0.2.7", EspPort: 4500, BehindNat: true,
				PairsWanted: 2, PairsUp: 1,
			},
		}}})
	case "sa":
		c.put(association(ts, args))
	case "event":
		c.put(&operatorv1.Resource{Kind: &operatorv1.Resource_Event{Event: &operatorv1.Event{
			Metadata: &operatorv1.Metadata{Name: fmt.Sprintf("e%d", 1000-c.revision)},
			Status: &operatorv1.EventStatus{
				Time: timestamppb.New(testNow.Add(time.Duration(c.revision) * time.Second)), Reason: args[0], Message: args[1],
				AboutKind: "Host", AboutName: "web-1", Warning: args[0] == "DuplicateIdentity",
			},
		}}})
	case "delete":
		c.drop(args[0])
	case "pairs":
		c.setPairs(ts, args)
	case "held":
		n, err := strconv.ParseUint(args[0], 10, 64)
		ts.Check(err)
		c.status.PairsHeld = n
	case "etcd":
		c.status.Store.Unreachable = args[0] == "down"
	case "rekeys":
		c.rekeyed = func(created time.Time) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for i := range args {
				sa := association(ts, []string{args[i], "z", "7", "2", "established"})
				sa.GetSecurityAssociation().GetMetadata().CreateTime = timestamppb.New(created)
				c.put(sa)
			}
		}
	case "fail":
		code, err := strconv.Atoi(args[1])
		ts.Check(err)
		c.fails[args[0]] = append(c.fails[args[0]], refusal(codes.Code(code), args[2]))
	case "backup":
		for i := range 20000 {
			c.backup = fmt.Appendf(c.backup, "line %d of a backup that is longer than a message\n", i)
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), c.backup, 0o600))
	default:
		ts.Fatalf("fleet %s?", word)
	}
}

func association(ts *testscript.TestScript, args []string) *operatorv1.Resource {
	spi, err := strconv.ParseUint(args[2], 0, 32)
	ts.Check(err)
	generation, err := strconv.ParseUint(args[3], 10, 32)
	ts.Check(err)
	return &operatorv1.Resource{Kind: &operatorv1.Resource_SecurityAssociation{SecurityAssociation: &operatorv1.SecurityAssociation{
		Metadata: &operatorv1.Metadata{
			Name: fmt.Sprintf("%s-%s.%010d.%s", args[0], args[1], generation, args[0]), CreateTime: timestamppb.New(testNow),
			Labels: map[string]string{"source": args[0], "destination": args[1], "policy": "mesh", "phase": args[4]},
		},
		Status: &operatorv1.SecurityAssociationStatus{
			Source: args[0], Destination: args[1], Policy: "mesh", Spi: uint32(spi), Generation: uint32(generation), Phase: args[4],
			Proposal: "aes256gcm16-esn", RekeyTime: timestamppb.New(testNow.Add(time.Hour)), HardTime: timestamppb.New(testNow.Add(8 * time.Hour)),
		},
	}}}
}

func (f *fake) setPairs(ts *testscript.TestScript, args []string) {
	up, err := strconv.ParseUint(args[0], 10, 64)
	ts.Check(err)
	wanted, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	f.status.PairsUp, f.status.PairsWanted, f.status.Pairs = up, wanted, nil
	f.status.Hosts, f.status.HostsConnected = 3, 3
	if len(args) > 2 {
		f.status.HostsConnected = 2
		f.status.Pairs = append(f.status.Pairs, &operatorv1.PairStatus{HostA: args[2], HostB: args[3], Policy: "mesh", Reason: args[4]})
	}
	for i := range up {
		f.status.Pairs = append(f.status.Pairs, &operatorv1.PairStatus{
			HostA: "a", HostB: fmt.Sprintf("b%d", i), Policy: "mesh", Up: true, Generation: 3,
			HardTime: timestamppb.New(testNow.Add(7*time.Hour - time.Duration(i)*time.Minute)),
		})
	}
}
