package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"sallyport.dev/sallyport/agent/capture"
)

// Capture serves captures; nil where they are not allowed.
type Capture interface {
	// Record writes a capture until ctx ends. who is the process that asked.
	Record(ctx context.Context, who Caller, o capture.Options, w io.Writer) error
	// Table writes the keys of the installed SAs in Wireshark's format, and returns how many it could not.
	Table(who Caller, w io.Writer) (unknown int, err error)
}

// Caller is the process at the other end of the socket, as the kernel says.
type Caller struct {
	PID int32
	UID uint32
}

// ErrCaptureOff: the agent was not started with --allow-capture.
var ErrCaptureOff = errors.New("captures are off: they show traffic in clear. Start the agent with --allow-capture")

// unknownHeader says how many SAs the table could not have.
const unknownHeader = "Sallyport-Unknown-SAs"

// callerKey is where the connection's caller is in a request's context.
type callerKey struct{}

// withCaller finds out who connected.
func withCaller(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var who Caller
	_ = raw.Control(func(fd uintptr) {
		if cred, e := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); e == nil {
			who = Caller{PID: cred.Pid, UID: cred.Uid}
		}
	})
	return context.WithValue(ctx, callerKey{}, who)
}

func callerOf(r *http.Request) Caller {
	who, _ := r.Context().Value(callerKey{}).(Caller)
	return who
}

// serveCapture streams a capture for as long as the client reads.
func serveCapture(c Capture, stop context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if c == nil {
			http.Error(w, ErrCaptureOff.Error(), http.StatusForbidden)
			return
		}
		var o capture.Options
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		control := http.NewResponseController(w)
		_ = control.SetWriteDeadline(noDeadline) // it lasts until somebody has seen enough
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(stop, cancel)()
		w.Header().Set("Content-Type", "application/x-pcapng")
		if err := c.Record(ctx, callerOf(r), o, flusher{w, control}); err != nil && ctx.Err() == nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}
}

// flusher hands every write on at once.
type flusher struct {
	io.Writer
	control *http.ResponseController
}

func (f flusher) Write(b []byte) (int, error) {
	n, err := f.Writer.Write(b)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

func serveTable(c Capture) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if c == nil {
			http.Error(w, ErrCaptureOff.Error(), http.StatusForbidden)
			return
		}
		w.Header().Set("Trailer", unknownHeader)
		unknown, err := c.Table(callerOf(r), w)
		if err == nil {
			w.Header().Set(unknownHeader, fmt.Sprint(unknown))
		}
	}
}

// Record asks the agent whose socket lies in dir for a capture, and writes it to w until ctx ends.
func Record(ctx context.Context, dir string, o capture.Options, w io.Writer) error {
	response, err := request(ctx, dir, 0, http.MethodPost, "capture", o)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err = io.Copy(w, response.Body); ctx.Err() != nil {
		return nil // that is how a capture ends
	}
	return err
}

// Table writes the agent's keys to w, and returns how many SAs Wireshark cannot know.
func Table(ctx context.Context, dir string, w io.Writer) (unknown int, err error) {
	response, err := request(ctx, dir, requestTimeout, http.MethodPost, "sa-table", struct{}{})
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(w, io.LimitReader(response.Body, maxAnswer)); err != nil {
		return 0, err
	}
	_, _ = fmt.Sscan(response.Trailer.Get(unknownHeader), &unknown)
	return unknown, nil
}
