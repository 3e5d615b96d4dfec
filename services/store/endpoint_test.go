package store_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"sallyport.dev/sallyport/services/store"
)

func TestOpenRefusesEndpoints(t *testing.T) {
	for endpoint, want := range map[string]string{
		"":                           "want https",
		"10.0.0.1:2379":              "etcd endpoint",
		"etcd.example:2379":          "want https",
		"http://10.0.0.1:2379":       "use https",
		"http://etcd.example:2379":   "use https",
		"http://[2001:db8::1]:2379":  "use https",
		"https://10.0.0.1:2379":      "needs TLS files",
		"unix://relative/path":       "unix:///path",
		"unix://":                    "unix:///path",
		"unixs:///path":              "want https",
		"http://127.0.0.1":           "host:port",
		"http://127.0.0.1:2379/path": "host:port",
		"http://:2379":               "use https",
	} {
		if _, err := store.Open(bounded(t), store.Config{Endpoints: []string{endpoint}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", endpoint, err, want)
		}
	}
	if _, err := store.Open(bounded(t), store.Config{}); err == nil || !strings.Contains(err.Error(), "no etcd endpoint") {
		t.Errorf("no endpoints: %v", err)
	}
}

// authority issues certificates into a directory.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca", nil)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.pem and name-key.pem; the first call makes the root.
func (a *authority) issue(t *testing.T, name string, ips []net.IP) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage |= x509.KeyUsageCertSign
		parent, signer = template, key
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer))(t)
	writePEM(t, a.path(name+".pem"), "CERTIFICATE", der)
	writePEM(t, a.path(name+"-key.pem"), "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))(t))
	return must(x509.ParseCertificate(der))(t), key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// externalEtcd is an etcd that asks for client certificates, as an external
// cluster does.
func externalEtcd(t *testing.T, a *authority) string {
	t.Helper()
	a.issue(t, "server", []net.IP{net.IPv4(127, 0, 0, 1)})
	probe := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	endpoint := url.URL{Scheme: "https", Host: probe.Addr().String()}
	probe.Close()
	cfg := embed.NewConfig()
	cfg.Dir = shortDir(t)
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{endpoint}, []url.URL{endpoint}
	cfg.ClientTLSInfo = transport.TLSInfo{
		CertFile: a.path("server.pem"), KeyFile: a.path("server-key.pem"), TrustedCAFile: a.path("ca.pem"), ClientCertAuth: true,
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e := must(embed.StartEtcd(cfg))(t)
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	return endpoint.String()
}

func TestExternalEtcdWithTLS(t *testing.T) {
	a := newAuthority(t)
	endpoint := externalEtcd(t, a)
	a.issue(t, "client", nil)
	tlsConfig := must(store.LoadTLS(a.path("ca.pem"), a.path("client.pem"), a.path("client-key.pem")))(t)
	s := must(store.Open(bounded(t), store.Config{Endpoints: []string{endpoint}, TLS: tlsConfig}))(t)
	t.Cleanup(func() { s.Close() })
	must(s.Begin(bounded(t)))(t)
	v := view(t, s)
	if err := v.WaitRevision(bounded(t), put(t, s, "fleet", "x")); err != nil {
		t.Error(err)
	}

	foreign := newAuthority(t)
	foreign.issue(t, "client", nil)
	for name, files := range map[string][4]string{
		"a foreign CA":          {foreign.path("ca.pem"), a.path("client.pem"), a.path("client-key.pem"), "unknown authority"},
		"a foreign certificate": {a.path("ca.pem"), foreign.path("client.pem"), foreign.path("client-key.pem"), "remote error: tls"},
		"no certificate":        {a.path("ca.pem"), "", "", "certificate required"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := store.Open(ctx, store.Config{Endpoints: []string{endpoint}, TLS: must(store.LoadTLS(files[0], files[1], files[2]))(t)})
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), endpoint) || !strings.Contains(err.Error(), files[3]) {
			t.Errorf("%s: %v, want ErrUnavailable with the endpoint and %q", name, err, files[3])
		}
	}
}

func TestLoadTLSRefuses(t *testing.T) {
	a := newAuthority(t)
	a.issue(t, "client", nil)
	empty := a.path("empty.pem")
	keyFile(t, empty, 0, 0o600)
	for name, files := range map[string][3]string{
		"no CA":              {a.path("none"), "", ""},
		"an empty CA":        {empty, "", ""},
		"a certificate only": {a.path("ca.pem"), a.path("client.pem"), ""},
		"a key only":         {a.path("ca.pem"), "", a.path("client-key.pem")},
		"another's key":      {a.path("ca.pem"), a.path("client.pem"), a.path("ca-key.pem")},
	} {
		if _, err := store.LoadTLS(files[0], files[1], files[2]); err == nil || !strings.Contains(err.Error(), "etcd TLS") {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
}
