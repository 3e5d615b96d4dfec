package store

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"
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

// diagnoseTimeout bounds each step of diagnose.
const diagnoseTimeout = time.Second

// diagnose finds out why an endpoint does not answer, since etcd's client only
// says that time ran out.
func diagnose(endpoint string, c *tls.Config) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	network, address := "tcp", u.Host
	if u.Scheme == "unix" {
		network, address = "unix", u.Path
	}
	conn, err := net.DialTimeout(network, address, diagnoseTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if u.Scheme == "https" {
		if err := diagnoseTLS(conn, c, u.Hostname()); err != nil {
			return err
		}
	}
	return errors.New("it accepts connections but does not answer in time: has the cluster lost its quorum?")
}

func diagnoseTLS(conn net.Conn, c *tls.Config, server string) error {
	if err := conn.SetDeadline(time.Now().Add(diagnoseTimeout)); err != nil {
		return err
	}
	c = c.Clone()
	c.NextProtos = []string{"h2"}
	if c.ServerName == "" {
		c.ServerName = server
	}
	secure := tls.Client(conn, c)
	if err := secure.Handshake(); err != nil {
		return err
	}
	// In TLS 1.3 the server judges the client's certificate after the handshake:
	// its alert is what a read returns (RFC 8446 section 4.4.2.4).
	_, err := secure.Read(make([]byte, 1))
	if alert := new(net.OpError); errors.As(err, &alert) && alert.Op == "remote error" {
		return err
	}
	return nil
}
