package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/services/daemonlog"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

const (
	defaultStateDir = "/var/lib/sallyport-agent"
	defaultRunDir   = "/run/sallyport-agent"
	// maxTokenFile bounds a join token's file, bytes.
	maxTokenFile = 4096
)

// options is the command line of `run`.
type options struct {
	controllers   []string
	manual        string
	joinToken     string
	joinTokenFile string
	stateDir      string
	runDir        string
	tun           string
	listenPort    uint16
	mtu           int
	mark          uint32
	table         int
	nftTable      string
	metricsListen string
	udpNoChecksum bool
	allowCapture  bool
	log           daemonlog.Options
}

func (o *options) register(f *pflag.FlagSet) {
	f.StringSliceVar(&o.controllers, "controller", nil, "host:port of the controller; several are tried in turn")
	f.StringVar(&o.manual, "manual", "", "file with policies and keys, instead of a controller; SIGHUP reads it again")
	f.StringVar(&o.joinToken, "join-token", "", "join token, for the first start; others can see it in the process list: prefer --join-token-file")
	f.StringVar(&o.joinTokenFile, "join-token-file", "", "file with the join token, for the first start")
	registerDirs(f, &o.stateDir, &o.runDir)
	registerNetwork(f, o)
	f.IntVar(&o.mtu, "mtu", 0, "largest packet in the tunnel, bytes (default: what the controller says; with --manual, what fits)")
	f.StringVar(&o.metricsListen, "metrics-listen", "", "address and port for Prometheus metrics, for example 127.0.0.1:9442 (default: none)")
	f.BoolVar(&o.udpNoChecksum, "udp-no-checksum", false, "send ESP in UDP over IPv4 without UDP checksums (RFC 3948 section 2.1)")
	f.BoolVar(&o.allowCapture, "allow-capture", false, "let root record traffic in clear, and export keys, with sallyport-agent capture")
	o.log.Register(f)
}

func registerDirs(f *pflag.FlagSet, stateDir, runDir *string) {
	f.StringVar(stateDir, "state-dir", defaultStateDir, "directory of the identity key, the certificate and the saved guard")
	f.StringVar(runDir, "run-dir", defaultRunDir, "directory of the agent's unix socket")
}

// registerNetwork has the flags that name what is installed on the system. cleanup needs the same ones.
func registerNetwork(f *pflag.FlagSet, o *options) {
	f.StringVar(&o.tun, "tun", netio.DefaultTUNName, "name of the TUN device")
	f.Uint16Var(&o.listenPort, "listen-port", netio.DefaultPort, "UDP port for ESP")
	f.Uint32Var(&o.mark, "mark", netio.DefaultMark, "mark of the agent's own packets")
	f.IntVar(&o.table, "table", netio.DefaultTable, "route table, and preference of the rules that use it")
	f.StringVar(&o.nftTable, "nft-table", netio.DefaultNFTable, "name of the nftables table")
}

func (o *options) network() netio.Config {
	return netio.Config{
		TUNName: o.tun, Port: o.listenPort, Mark: o.mark, Table: o.table, Preference: o.table,
		NFTable: o.nftTable, StateDir: o.stateDir,
	}
}

// check refuses what cannot work, before anything is touched.
func (o *options) check() error {
	switch {
	case o.manual != "" && len(o.controllers) > 0:
		return usageError{errors.New("keys come from --controller or from a file by --manual, not from both")}
	case o.manual != "" && (o.joinToken != "" || o.joinTokenFile != ""):
		return usageError{errors.New("a join token is for a controller, and --manual does without one")}
	case o.manual == "" && len(o.controllers) == 0:
		return usageError{errors.New("no controller: give --controller HOST:PORT, or --manual FILE to do without one")}
	}
	for _, c := range o.controllers {
		host, port, err := net.SplitHostPort(c)
		if err != nil || host == "" || port == "" {
			return usageError{fmt.Errorf("--controller %q: want HOST:PORT", c)}
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return usageError{fmt.Errorf("--controller %q: want a port from 1 to 65535", c)}
		}
	}
	if err := o.checkNetwork(); err != nil {
		return err
	}
	if o.mtu != 0 && (o.mtu < 1280 || o.mtu > 65535) {
		return usageError{fmt.Errorf("--mtu %d: want 1280 (IPv6's least) to 65535", o.mtu)}
	}
	return nil
}

// checkNetwork refuses names and numbers under which nothing can be installed.
func (o *options) checkNetwork() error {
	switch {
	case o.listenPort == 0:
		return usageError{errors.New("--listen-port 0: the controller must know the port")}
	case o.mark == 0:
		return usageError{errors.New("--mark 0: the agent's own packets would go into the tunnel")}
	case o.table < 1 || o.table > 32765:
		return usageError{fmt.Errorf("--table %d: want 1 to 32765, since the rules have it as their preference", o.table)}
	}
	if err := o.network().Check(); err != nil {
		return usageError{err}
	}
	return nil
}

// token is the join token; nil when none was given. A file that is missing is no error: the host may have
// joined long ago, and the file been deleted.
func (o *options) token() (*enrol.Token, error) {
	if o.joinToken != "" && o.joinTokenFile != "" {
		return nil, usageError{errors.New("give --join-token or --join-token-file, not both")}
	}
	text, from := o.joinToken, "--join-token"
	if o.joinTokenFile != "" {
		from = o.joinTokenFile
		info, err := os.Stat(o.joinTokenFile)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		if err == nil && info.Size() > maxTokenFile {
			err = fmt.Errorf("%s has %d bytes: that is no join token", o.joinTokenFile, info.Size())
		}
		var raw []byte
		if err == nil {
			raw, err = os.ReadFile(o.joinTokenFile)
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("--join-token-file: %w", err)}
		}
		text = string(raw)
	}
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	token, err := enrol.ParseToken(text)
	if err != nil {
		return nil, usageError{fmt.Errorf("join token from %s: %w", from, err)}
	}
	return &token, nil
}
