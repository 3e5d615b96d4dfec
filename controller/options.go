package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"sallyport.dev/sallyport/services/daemonlog"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// Services that a controller can run.
const (
	serviceFleet    = "fleet"
	serviceOperator = "operator"
	servicePlanner  = "planner"
	serviceKeying   = "keying"
)

// allServices is what a controller runs when it is not told.
func allServices() []string {
	return []string{serviceFleet, serviceOperator, servicePlanner, serviceKeying}
}

// options is the command line of `run`.
type options struct {
	name        string
	trustDomain string
	listen      string
	advertise   string
	socket      string
	dataDir     string
	keyDir      string
	credential  string
	poolIPv4    string
	poolIPv6    string
	services    []string

	etcdEndpoints []string
	etcdCA        string
	etcdCert      string
	etcdKey       string

	metricsListen string
	ipseckey      string
	ipseckeyTrust bool
	log           daemonlog.Options
}

func (o *options) register(f *pflag.FlagSet) {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "controller"
	}
	hostname = strings.ToLower(hostname)
	f.StringVar(&o.name, "name", hostname, "name of this controller, unique in the fleet")
	f.StringVar(&o.trustDomain, "trust-domain", "", "SPIFFE trust domain of the fleet; fixed by the first start (default \"sallyport.internal\")")
	f.StringVar(&o.listen, "listen", ":7443", "address and port for agents and operators (TLS)")
	f.StringVar(&o.advertise, "advertise", "", "host and port that agents and operators use (default --name and the port of --listen)")
	f.StringVar(&o.socket, "socket", "/run/sallyport-controller/operator.sock", "unix socket for the local root")
	f.StringVar(&o.dataDir, "data-dir", "/var/lib/sallyport-controller", "directory of the embedded etcd and the audit file")
	f.StringVar(&o.keyDir, "key-dir", "/etc/sallyport/keys", "directory of the keys that seal what etcd holds; outside --data-dir, and in no backup of it")
	f.StringVar(&o.credential, "credential", "/etc/sallyport/operator.yaml", "where the first start writes the operator's credential")
	f.StringVar(&o.poolIPv4, "pool-ipv4", "", "overlay IPv4 prefix; fixed by the first start (default \"100.80.0.0/16\")")
	f.StringVar(&o.poolIPv6, "pool-ipv6", "", "overlay IPv6 prefix; fixed by the first start (default a random fd00::/8 prefix)")
	f.StringSliceVar(&o.services, "services", allServices(), "services that this process runs")
	f.StringSliceVar(&o.etcdEndpoints, "etcd-endpoints", nil, "external etcd cluster, for example https://etcd-1:2379 (default: an embedded etcd)")
	f.StringVar(&o.etcdCA, "etcd-cacert", "", "certificate authority of the external etcd, PEM")
	f.StringVar(&o.etcdCert, "etcd-cert", "", "client certificate for the external etcd, PEM")
	f.StringVar(&o.etcdKey, "etcd-key", "", "key of the client certificate, PEM")
	f.StringVar(&o.metricsListen, "metrics-listen", "", "address and port for Prometheus metrics, for example 127.0.0.1:9443 (default: none)")
	f.StringVar(&o.ipseckey, "ipseckey-resolver", "", "address:port of a validating DNS resolver on this machine or on a trusted path, for peers that DNS has keys of (default: none)")
	f.BoolVar(&o.ipseckeyTrust, "ipseckey-resolver-trusted", false, "the path to --ipseckey-resolver is trusted although it is not on this machine")
	o.log.Register(f)
}

// complete fills what follows from other options, and refuses what cannot work.
func (o *options) complete() error {
	_, port, err := net.SplitHostPort(o.listen)
	if err != nil {
		return fmt.Errorf("--listen %q: want ADDRESS:PORT or :PORT: %w", o.listen, err)
	}
	if !enrol.ValidName(o.name) {
		return fmt.Errorf("--name %q: want lower-case letters, digits, '-' and '.', at most 63 characters", o.name)
	}
	if o.advertise == "" {
		o.advertise = net.JoinHostPort(o.name, port)
	}
	if _, _, err := net.SplitHostPort(o.advertise); err != nil {
		return fmt.Errorf("--advertise %q: want HOST:PORT: %w", o.advertise, err)
	}
	for _, s := range o.services {
		if !slices.Contains(allServices(), s) {
			return fmt.Errorf("--services: there is no service %q: there are %s", s, strings.Join(allServices(), ", "))
		}
	}
	if o.runs(serviceKeying) && !o.runs(serviceFleet) {
		return errors.New("--services: keying goes with fleet: the agents that relay IKE are those that it serves")
	}
	if o.trustDomain != "" && !enrol.ValidTrustDomain(o.trustDomain) {
		return fmt.Errorf("--trust-domain %q: want a DNS name in lower case", o.trustDomain)
	}
	if err := checkPool("--pool-ipv4", o.poolIPv4, netip.Addr.Is4, 8, 29); err != nil {
		return err
	}
	if err := checkPool("--pool-ipv6", o.poolIPv6, netip.Addr.Is6, 32, 112); err != nil {
		return err
	}
	if len(o.etcdEndpoints) == 0 && o.etcdCA+o.etcdCert+o.etcdKey != "" {
		return errors.New("--etcd-cacert, --etcd-cert and --etcd-key go with --etcd-endpoints")
	}
	return nil
}

func checkPool(flag, value string, family func(netip.Addr) bool, widest, narrowest int) error {
	if value == "" {
		return nil
	}
	p, err := netip.ParsePrefix(value)
	switch {
	case err != nil:
		return fmt.Errorf("%s %q: %w", flag, value, err)
	case !family(p.Addr()) || p.Addr().Is4In6():
		return fmt.Errorf("%s %q: wrong address family", flag, value)
	case p != p.Masked():
		return fmt.Errorf("%s %q has host bits: write %s", flag, value, p.Masked())
	case p.Bits() < widest || p.Bits() > narrowest:
		return fmt.Errorf("%s %q: want a prefix length from %d to %d", flag, value, widest, narrowest)
	}
	return nil
}

func (o *options) runs(service string) bool { return slices.Contains(o.services, service) }

// etcdTLS is the TLS configuration for an external cluster; nil without one.
func (o *options) etcdTLS() (*tls.Config, error) {
	if o.etcdCA+o.etcdCert+o.etcdKey == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.etcdCA != "" {
		pem, err := os.ReadFile(o.etcdCA)
		if err != nil {
			return nil, fmt.Errorf("--etcd-cacert: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--etcd-cacert %s holds no PEM certificate", o.etcdCA)
		}
	}
	if (o.etcdCert == "") != (o.etcdKey == "") {
		return nil, errors.New("--etcd-cert and --etcd-key go together")
	}
	if o.etcdCert != "" {
		pair, err := tls.LoadX509KeyPair(o.etcdCert, o.etcdKey)
		if err != nil {
			return nil, fmt.Errorf("--etcd-cert, --etcd-key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func (o *options) etcdDir() string    { return filepath.Join(o.dataDir, "etcd") }
func (o *options) auditFile() string  { return filepath.Join(o.dataDir, "audit.jsonl") }
func (o *options) rootKey() string    { return filepath.Join(o.keyDir, "root.key") }
func (o *options) trafficDir() string { return filepath.Join(o.keyDir, "traffic") }
