package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/agent/capture"
	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/local"
)

// recording serves captures of the datapath, one at a time, and logs who asked.
type recording struct {
	datapath *datapath.Datapath
	port     uint16
	log      *slog.Logger
	busy     sync.Mutex
}

var errCaptureBusy = errors.New("another capture is running: end that first")

// Record implements local.Capture.
func (r *recording) Record(ctx context.Context, who local.Caller, o capture.Options, w io.Writer) error {
	if !r.busy.TryLock() {
		return errCaptureBusy
	}
	defer r.busy.Unlock()
	recorder, err := capture.New(o, r.port)
	if err != nil {
		return err
	}
	r.log.Warn("audit: a capture of traffic begins", "uid", who.UID, "pid", who.PID, "inner", o.Inner || !o.Outer, "outer", o.Outer || !o.Inner)
	r.datapath.SetTap(recorder.Packet)
	done, err := recorder.Write(ctx, w)
	r.datapath.SetTap(nil)
	r.log.Warn("audit: the capture of traffic has ended", "uid", who.UID, "pid", who.PID, "packets", done.Packets, "lost", done.Lost)
	return err
}

// Table implements local.Capture.
func (r *recording) Table(who local.Caller, w io.Writer) (int, error) {
	keys := r.datapath.Keys()
	defer func() {
		for _, k := range keys {
			clear(k.SA.Key)
		}
	}()
	r.log.Warn("audit: the keys of all security associations were handed out", "uid", who.UID, "pid", who.PID, "associations", len(keys))
	unknown, err := capture.WriteTable(w, keys)
	return len(unknown), err
}

func captureCommand() *cobra.Command {
	var runDir, file, table string
	var o capture.Options
	cmd := &cobra.Command{
		Use:   "capture",
		Short: "Record inner and outer packets as pcapng, for Wireshark",
		Long: `Record the packets that the agent carries, as pcapng: interface "inner" is the traffic in clear, interface
"outer" what crosses the underlay. Interrupt it to end it. The agent must have been started with
--allow-capture, and logs who captured.

With --sa-table the keys of the security associations are written too, as Wireshark's table of ESP SAs: copy
the file to esp_sa in Wireshark's profile directory to have it decrypt the outer packets. Guard that file.`,
		Example: `  sallyport-agent capture --write tunnel.pcapng --packets 1000
  sallyport-agent capture --inner --write - | wireshark -k -i -
  sallyport-agent capture --write tunnel.pcapng --sa-table esp_sa`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usageError{errors.New("give --write FILE, or --write - for the standard output")}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if table != "" {
				if err := writeTable(ctx, cmd.ErrOrStderr(), runDir, table); err != nil {
					return err
				}
			}
			return writeCapture(ctx, cmd.OutOrStdout(), runDir, file, o)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&file, "write", "w", "", "file to write, - for the standard output")
	f.StringVar(&table, "sa-table", "", "file for the keys, as Wireshark's table of ESP SAs")
	f.BoolVar(&o.Inner, "inner", false, "only the traffic in clear")
	f.BoolVar(&o.Outer, "outer", false, "only what crosses the underlay")
	f.Uint64VarP(&o.Packets, "packets", "c", 0, "end after so many packets")
	f.IntVarP(&o.SnapLen, "snaplen", "s", 0, "bytes of each packet to keep (default: all)")
	f.StringVar(&runDir, "run-dir", defaultRunDir, "directory of the agent's unix socket")
	return cmd
}

func writeCapture(ctx context.Context, stdout io.Writer, runDir, file string, o capture.Options) error {
	if file == "-" {
		return local.Record(ctx, runDir, o, stdout)
	}
	return toFile(file, func(w io.Writer) error { return local.Record(ctx, runDir, o, w) })
}

func writeTable(ctx context.Context, stderr io.Writer, runDir, file string) error {
	unknown := 0
	err := toFile(file, func(w io.Writer) (err error) {
		unknown, err = local.Table(ctx, runDir, w)
		return err
	})
	if err == nil && unknown > 0 {
		fmt.Fprintf(stderr, "%d associations are not in %s: Wireshark does not know their transforms\n", unknown, file)
	}
	return err
}

// toFile writes a file that only its owner may read. It does not overwrite one.
func toFile(file string, write func(io.Writer) error) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usageError{fmt.Errorf("%s exists: choose another name", file)}
	}
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	err = errors.Join(write(w), w.Flush(), f.Close())
	if info, e := os.Stat(file); err != nil && e == nil && info.Size() == 0 {
		_ = os.Remove(file)
	}
	return err
}
