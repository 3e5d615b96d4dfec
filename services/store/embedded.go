package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const (
	quotaBytes      = 8 << 30
	compactionEvery = "5m"
	snapshotEvery   = 10_000 // transactions between raft snapshots
	catchUpEntries  = 1_000
	startTimeout    = 60 * time.Second
	maxSocketPath   = 103 // sun_path is 104 bytes on macOS, 108 on Linux
)

// EmbeddedConfig says where the embedded etcd member keeps its data.
type EmbeddedConfig struct {
	DataDir string // created 0700; the member's alone
	// SocketDir holds the client socket, created 0700; default DataDir. Give a
	// short path where DataDir is too long for a unix socket.
	SocketDir string
	// Listen is a TCP listener for clients instead of the unix socket. It must
	// be a loopback address and port: 127.0.0.1:2379. Any local user can reach
	// it, so the socket is better.
	Listen string
	Log    *slog.Logger // default: discard
}

// Embedded is a single etcd member in this process. It has no peer listener.
type Embedded struct {
	etcd     *embed.Etcd
	endpoint string
	unlock   func() error
	once     sync.Once
	closed   atomic.Bool
}

// StartEmbedded starts the member and waits until it serves. Errors say what is
// wrong with the data directory: in use, not writable, readable by others.
func StartEmbedded(c EmbeddedConfig) (*Embedded, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	endpoint, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	if err := c.prepareDirs(); err != nil {
		return nil, err
	}
	unlock, err := lockDir(c.DataDir)
	if err != nil {
		return nil, err
	}
	e := &Embedded{endpoint: endpoint.String(), unlock: unlock}
	if err := e.start(c, endpoint); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Embedded) start(c EmbeddedConfig, endpoint url.URL) error {
	cfg := c.etcdConfig(endpoint)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapLoggerUntil(c.Log, &e.closed))
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("store: start etcd in %s: %w", c.DataDir, err)
	}
	e.etcd = server
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-server.Server.ReadyNotify():
		return nil
	case err := <-server.Err():
		return fmt.Errorf("store: etcd in %s stopped: %w", c.DataDir, err)
	case <-timeout.C:
		return fmt.Errorf("store: etcd in %s did not become ready in %v: is the disk very slow?", c.DataDir, startTimeout)
	}
}

// etcdConfig: no peer listener at all, since the member is the whole cluster;
// its peer URL is a name that nothing dials.
func (c EmbeddedConfig) etcdConfig(endpoint url.URL) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name = "sallyport"
	cfg.Dir = c.DataDir
	cfg.ListenPeerUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "unix", Host: "sallyport.embedded"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ListenClientUrls = []url.URL{endpoint}
	cfg.AdvertiseClientUrls = []url.URL{endpoint}
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	cfg.AutoCompactionRetention = compactionEvery
	cfg.QuotaBackendBytes = quotaBytes
	cfg.SnapshotCount = snapshotEvery
	cfg.SnapshotCatchUpEntries = catchUpEntries
	cfg.EnableGRPCGateway = false
	return cfg
}

// endpoint is where clients connect.
func (c EmbeddedConfig) endpoint() (url.URL, error) {
	if c.DataDir == "" {
		return url.URL{}, errors.New("store: the embedded etcd needs a data directory")
	}
	if c.Listen != "" {
		host, _, err := net.SplitHostPort(c.Listen)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			return url.URL{}, fmt.Errorf("store: embedded etcd must listen on a loopback address such as 127.0.0.1:2379, not %q", c.Listen)
		}
		return url.URL{Scheme: "http", Host: c.Listen}, nil
	}
	path, err := filepath.Abs(filepath.Join(c.socketDir(), "etcd.sock"))
	if err != nil {
		return url.URL{}, fmt.Errorf("store: socket path: %w", err)
	}
	if len(path) > maxSocketPath {
		return url.URL{}, fmt.Errorf("store: the socket path %s has %d bytes, a unix socket at most %d: choose a shorter socket directory",
			path, len(path), maxSocketPath)
	}
	u := url.URL{Scheme: "unix", Path: path}
	if u.String() != "unix://"+path {
		return url.URL{}, fmt.Errorf("store: the socket path %q has characters that a URL cannot carry: choose another socket directory", path)
	}
	return u, nil
}

func (c EmbeddedConfig) socketDir() string {
	if c.SocketDir != "" {
		return c.SocketDir
	}
	return c.DataDir
}

func (c EmbeddedConfig) prepareDirs() error {
	if err := privateDir(c.DataDir); err != nil {
		return err
	}
	if c.Listen != "" {
		return nil
	}
	return privateDir(c.socketDir())
}

// Endpoints are for Config.Endpoints.
func (e *Embedded) Endpoints() []string { return []string{e.endpoint} }

// Wait returns an error when the member stops by itself, and nil when ctx ends.
func (e *Embedded) Wait(ctx context.Context) error {
	select {
	case err := <-e.etcd.Err():
		return fmt.Errorf("store: the embedded etcd stopped: %w", err)
	case <-e.etcd.Server.StopNotify():
		return errors.New("store: the embedded etcd stopped by itself: see its last log lines")
	case <-ctx.Done():
		return nil
	}
}

// Close stops the member. Close its Stores first: open watches delay it.
func (e *Embedded) Close() error {
	var err error
	e.once.Do(func() {
		e.closed.Store(true)
		if e.etcd != nil {
			e.etcd.Close()
		}
		err = e.unlock()
	})
	return err
}

// privateDir makes sure that dir exists, is ours, writable, and closed to others.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store: make directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("store: %s has mode %04o and is open to other users: chmod 0700 it", dir, perm)
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("store: %s is not writable: %w", dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
