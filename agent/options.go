package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

const (
	defaultStateDir = "/var/lib/sallyport-agent"
	defaultRunDir   = "/run/sallyport-agent"
)

// network is what the agent installs in the system; `cleanup` needs to know it, too.
type network struct {
	tun      string
	port     uint16
	mark     uint32
	table    int
	nftTable string
	stateDir string
}

func (n *network) register(f *pflag.FlagSet) {
	f.StringVar(&n.tun, "tun", netio.DefaultTUNName, "name of the TUN device")
	f.Uint16Var(&n.port, "listen-port", netio.DefaultPort, "UDP port for ESP; hosts of a fleet may differ")
	f.Uint32Var(&n.mark, "mark", netio.DefaultMark, "fwmark of the agent's own packets")
	f.IntVar(&n.table, "table", netio.DefaultTable, "number of the agent's route table, and preference of its rules")
	f.StringVar(&n.nftTable, "nft-table", netio.DefaultNFTable, "name of the agent's nftables table")
	f.StringVar(&n.stateDir, "state-dir", defaultStateDir, "directory of the host's identity; it never holds a traffic key")
}

func (n *network) config() netio.Config {
	return netio.Config{
		TUNName: n.tun, Port: n.port, Mark: n.mark, Table: n.table, Preference: n.table,
		NFTable: n.nftTable, StateDir: filepath.Join(n.stateDir, "guard"),
	}
}

// options is the command line of `run`.
type options struct {
	network
	controllers   []string
	joinToken     string
	joinTokenFile string
	runDir        string
	mtu           int
	metricsListen string
	logLevel      string
	logFormat     string
}

func (o *options) register(f *pflag.FlagSet) {
	o.network.register(f)
	f.StringSliceVar(&o.controllers, "controller", nil, "host:port of a controller; several are tried in turn")
	f.StringVar(&o.joinToken, "join-token", "", "join token, for the first start; other users can see it in the process list, so prefer --join-token-file")
	f.StringVar(&o.joinTokenFile, "join-token-file", "", "file with the join token, for the first start")
	f.StringVar(&o.runDir, "run-dir", defaultRunDir, "directory of the socket for sallyport-agent's other commands")
	f.IntVar(&o.mtu, "mtu", netio.DefaultMTU, "MTU of the TUN device until the controller says otherwise")
	f.StringVar(&o.metricsListen, "metrics-listen", "", "address and port for Prometheus metrics, for example 127.0.0.1:9442 (default: none)")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
}

func (o *options) check() error {
	if len(o.controllers) == 0 {
		return errors.New("--controller HOST:PORT is missing: it is the controller's --advertise")
	}
	for _, c := range o.controllers {
		if _, _, err := net.SplitHostPort(c); err != nil {
			return fmt.Errorf("--controller %q: want HOST:PORT: %w", c, err)
		}
	}
	if o.joinToken != "" && o.joinTokenFile != "" {
		return errors.New("--join-token and --join-token-file: give one of them")
	}
	if o.mtu < 1280 || o.mtu > 65535 {
		return fmt.Errorf("--mtu %d: want 1280 to 65535", o.mtu)
	}
	return nil
}

// maxTokenFile bounds what is read of a token file, bytes.
const maxTokenFile = 4096

// token is the join token that was given; nil for none.
func (o *options) token() (*enrol.Token, error) {
	text, source := o.joinToken, "--join-token"
	if o.joinTokenFile != "" {
		source = "--join-token-file " + o.joinTokenFile
		raw, err := os.ReadFile(o.joinTokenFile)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil // it may be deleted once the host has joined; if it has not, that is said
		}
		if err != nil {
			return nil, fmt.Errorf("--join-token-file: %w", err)
		}
		if len(raw) > maxTokenFile {
			return nil, fmt.Errorf("%s: %d bytes are no join token", source, len(raw))
		}
		text = string(raw)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	token, err := enrol.ParseToken(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return &token, nil
}

// logger builds the process's logger.
func (o *options) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", o.logLevel)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch o.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", o.logFormat)
}
