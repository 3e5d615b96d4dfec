package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Source answers the questions. Each is asked from any goroutine.
type Source struct {
	Status       func() Status
	Associations func() []Association
	Counters     func(context.Context) (Counters, error)
	Policies     func() []Entry
	Regions      func() ([]Region, error)
	Trace        func(TraceRequest) (Trace, error)
	// Capture is nil where captures are not allowed.
	Capture Capture
}

const (
	requestTimeout = 10 * time.Second
	// maxQuestion bounds what the agent reads, bytes: a packet of the longest kind.
	maxQuestion = 256 << 10
	// maxAnswer bounds what a command reads, bytes.
	maxAnswer = 256 << 20
)

// noDeadline lifts a deadline.
var noDeadline time.Time

// ErrNotRunning: nobody listens on the socket.
var ErrNotRunning = errors.New("no agent answers")

// Listen opens the socket in dir: dir 0700, socket 0600. A socket that a killed agent left is replaced;
// one that is answered is not.
func Listen(dir string) (net.Listener, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	path := filepath.Join(dir, Socket)
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("%s: another agent listens there: stop it, or choose another --run-dir", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	// The socket must not be open to others for a moment either.
	old := syscall.Umask(0o177)
	listener, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	return listener, nil
}

// Serve answers until ctx ends.
func Serve(ctx context.Context, listener net.Listener, source Source) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, source.Status(), nil) })
	mux.HandleFunc("GET /v1/sa", func(w http.ResponseWriter, _ *http.Request) { answer(w, source.Associations(), nil) })
	mux.HandleFunc("GET /v1/counters", func(w http.ResponseWriter, r *http.Request) {
		c, err := source.Counters(r.Context())
		answer(w, c, err)
	})
	mux.HandleFunc("GET /v1/policy", func(w http.ResponseWriter, _ *http.Request) { answer(w, source.Policies(), nil) })
	mux.HandleFunc("GET /v1/regions", func(w http.ResponseWriter, _ *http.Request) {
		regions, err := source.Regions()
		answer(w, regions, err)
	})
	mux.HandleFunc("POST /v1/trace", func(w http.ResponseWriter, r *http.Request) {
		var q TraceRequest
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&q)
		var t Trace
		if err == nil {
			t, err = source.Trace(q)
		}
		answer(w, t, err)
	})
	mux.HandleFunc("POST /v1/capture", serveCapture(source.Capture, ctx))
	mux.HandleFunc("POST /v1/sa-table", serveTable(source.Capture))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: requestTimeout, WriteTimeout: requestTimeout, IdleTimeout: time.Minute, ConnContext: withCaller}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("socket: %w", err)
	}
	return nil
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

// Get asks the agent whose socket lies in dir: what is "status", "sa", "counters", "policy" or "regions".
func Get(ctx context.Context, dir, what string, into any) error {
	return call(ctx, dir, http.MethodGet, what, nil, into)
}

// Ask is Get with a question, for what is "trace".
func Ask(ctx context.Context, dir, what string, question, into any) error {
	return call(ctx, dir, http.MethodPost, what, question, into)
}

func call(ctx context.Context, dir, method, what string, question, into any) error {
	response, err := request(ctx, dir, requestTimeout, method, what, question)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(into)
}

// request asks for what, within the time if that is not 0, and returns the answer, of which the caller closes the
// body. Any other status than OK is an error with the agent's words.
func request(ctx context.Context, dir string, within time.Duration, method, what string, question any) (*http.Response, error) {
	path := filepath.Join(dir, Socket)
	client := &http.Client{Timeout: within, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
		DisableKeepAlives: true,
	}}
	var body io.Reader
	if question != nil {
		text, err := json.Marshal(question)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://agent/v1/"+what, body)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(r)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: permission denied: run this as root", path)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w on %s: start it, or give its --run-dir", ErrNotRunning, path)
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		return nil, fmt.Errorf("the agent answered %s: %s", response.Status, bytes.TrimSpace(text))
	}
	return response, nil
}
