package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
)

// checkEndpoint refuses what etcd's client would take for something else, and
// plain HTTP to another machine: whoever sits in between could write the fleet's
// state.
func checkEndpoint(endpoint string, haveTLS bool) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return fmt.Errorf("store: etcd endpoint %q: %w", endpoint, err)
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || u.Path == "" {
			return fmt.Errorf("store: etcd endpoint %q: a socket is given as unix:///path", endpoint)
		}
		return nil
	case "https":
		if !haveTLS {
			return fmt.Errorf("store: etcd endpoint %q needs TLS files: a CA, a certificate and its key", endpoint)
		}
	case "http":
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && !ip.IsLoopback() {
			return fmt.Errorf("store: etcd endpoint %q: plain http only to this machine, use https", endpoint)
		}
	default:
		return fmt.Errorf("store: etcd endpoint %q: want https://host:port or unix:///path", endpoint)
	}
	if u.Host == "" || u.Port() == "" || u.Path != "" && u.Path != "/" {
		return fmt.Errorf("store: etcd endpoint %q: want %s://host:port", endpoint, u.Scheme)
	}
	return nil
}

// LoadTLS reads the files with which this process and an external etcd prove who
// they are. certFile and keyFile may both be empty for an etcd that does not ask
// for client certificates.
func LoadTLS(caFile, certFile, keyFile string) (*tls.Config, error) {
	if (certFile == "") != (keyFile == "") {
		return nil, errors.New("store: etcd TLS: give a certificate and its key, or neither")
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("store: etcd TLS: CA: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("store: etcd TLS: %s holds no PEM certificate", caFile)
	}
	if certFile == "" {
		return c, nil
	}
	// Read at each handshake: a renewed certificate needs no restart.
	load := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("store: etcd TLS: client certificate: %w", err)
		}
		return &cert, nil
	}
	if _, err := load(nil); err != nil {
		return nil, err
	}
	c.GetClientCertificate = load
	return c, nil
}
