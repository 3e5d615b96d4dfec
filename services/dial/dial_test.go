package dial_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// fleet is a CA.
type fleet struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	root *x509.Certificate
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	f.root = template
	f.root = f.sign(template, f.key)
	return f
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (f *fleet) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	f.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, f.root, key.Public(), f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		f.t.Fatal(err)
	}
	return cert
}

func (f *fleet) issue(path string, serial int64) (*ecdsa.PrivateKey, *x509.Certificate) {
	key := newKey(f.t)
	return key, f.sign(&x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: f.root.NotBefore, NotAfter: f.root.NotAfter,
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "fleet.example", Path: path}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, key)
}

func (f *fleet) certificate(path string, serial int64) *tls.Certificate {
	key, cert := f.issue(path, serial)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// server is a controller that remembers which certificate it was shown last.
type server struct {
	address string
	grpc    *grpc.Server
	shown   atomic.Int64
}

func (f *fleet) serve() *server {
	f.t.Helper()
	s := new(server)
	config := &tls.Config{
		Certificates: []tls.Certificate{*f.certificate("/controller/c1", 2)}, MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequestClientCert,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) > 0 {
				s.shown.Store(cs.PeerCertificates[0].SerialNumber.Int64())
			}
			return nil
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	s.address = l.Addr().String()
	s.grpc = serveHealth(f.t, l, credentials.NewTLS(config))
	return s
}

func serveHealth(t *testing.T, l net.Listener, creds credentials.TransportCredentials) *grpc.Server {
	g := grpc.NewServer(grpc.Creds(creds))
	healthv1.RegisterHealthServer(g, health.NewServer())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(l)
	}()
	t.Cleanup(func() {
		g.Stop()
		<-done
	})
	return g
}

func check(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	_, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	return err
}

func TestMemberTriesAllControllers(t *testing.T) {
	f := newFleet(t)
	s := f.serve()
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	conn, err := dial.Member(dial.MemberConfig{
		Addresses:   []string{dead.Addr().String(), s.address},
		Certificate: func() (*tls.Certificate, error) { return f.certificate("/host/web-1", 7), nil },
		Trust:       func() enrol.Trust { return enrol.Trust{Roots: []*x509.Certificate{f.root}, Domain: "fleet.example"} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := check(t, conn); err != nil {
		t.Fatal(err)
	}
	if s.shown.Load() != 7 {
		t.Error("no client certificate was shown")
	}
}

// TestMemberReloads: a renewed certificate and a rotated root count from the next connection on.
func TestMemberReloads(t *testing.T) {
	f := newFleet(t)
	s := f.serve()
	var cert atomic.Pointer[tls.Certificate]
	var trust atomic.Pointer[enrol.Trust]
	cert.Store(f.certificate("/host/web-1", 7))
	trust.Store(&enrol.Trust{Roots: []*x509.Certificate{newFleet(t).root}, Domain: "fleet.example"})
	open := func() *grpc.ClientConn {
		conn, err := dial.Member(dial.MemberConfig{
			Addresses:   []string{s.address},
			Certificate: func() (*tls.Certificate, error) { return cert.Load(), nil },
			Trust:       func() enrol.Trust { return *trust.Load() },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	if err := check(t, open()); err == nil || !strings.Contains(err.Error(), enrol.ErrForeignRoot.Error()) {
		t.Errorf("another fleet's root: %v", err)
	}
	trust.Store(&enrol.Trust{Roots: []*x509.Certificate{f.root}, Domain: "fleet.example"})
	for _, serial := range []int64{7, 8} {
		cert.Store(f.certificate("/host/web-1", serial))
		if err := check(t, open()); err != nil {
			t.Fatal(err)
		}
		if s.shown.Load() != serial {
			t.Errorf("shown %d, want %d", s.shown.Load(), serial)
		}
	}
}

func TestMemberRefusesAddresses(t *testing.T) {
	if _, err := dial.Member(dial.MemberConfig{}); !errors.Is(err, dial.ErrNoAddress) {
		t.Errorf("no address: %v", err)
	}
	for _, address := range []string{"", "controller", ":8443", "controller:", "a:b:c"} {
		if _, err := dial.Member(dial.MemberConfig{Addresses: []string{address}}); err == nil {
			t.Errorf("%q was accepted", address)
		}
	}
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	serveHealth(t, l, insecure.NewCredentials())
	conn, err := dial.Unix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := check(t, conn); err != nil {
		t.Error(err)
	}
	if _, err := dial.Unix(""); err == nil {
		t.Error("no path was accepted")
	}
}

func (f *fleet) credential(address string) dial.Credential {
	f.t.Helper()
	key, cert := f.issue("/operator/ann", 9)
	c, err := dial.NewCredential(address, "fleet.example", key, [][]byte{cert.Raw}, [][]byte{f.root.Raw})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func TestCredentialRoundTrip(t *testing.T) {
	f := newFleet(t)
	s := f.serve()
	want := f.credential(s.address)
	path := filepath.Join(t.TempDir(), "credential.yaml")
	for range 2 { // the second time over the first
		if err := want.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	got, err := dial.LoadCredential(path)
	if err != nil || got != want {
		t.Fatalf("got %v, %v", got, err)
	}
	conn, err := got.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := check(t, conn); err != nil {
		t.Error(err)
	}
	if s.shown.Load() != 9 {
		t.Error("the operator's certificate was not shown")
	}
}

func TestCredentialIsRefused(t *testing.T) {
	f := newFleet(t)
	good := f.credential("127.0.0.1:8443")
	other := f.credential("127.0.0.1:8443")
	text := func(c dial.Credential) string {
		path := filepath.Join(t.TempDir(), "c")
		if err := c.Save(path); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	change := func(f func(*dial.Credential)) string {
		c := good
		f(&c)
		return text(c)
	}
	cases := []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"readable by others", text(good), 0o644, "chmod 600"},
		{"readable by the group", text(good), 0o640, "chmod 600"},
		{"unknown field", "server: x\nsever: x\n", 0o600, `line 2: unknown field "sever"`},
		{"twice", "server: x\nserver: x\n", 0o600, "line 2: "},
		{"a list", "server: x\nkey: [x]\n", 0o600, "line 2: key must be text"},
		{"empty", "", 0o600, "not a YAML document with the fields"},
		{"not YAML", "\t:::", 0o600, "line 1: not YAML"},
		{"only the key", good.Key, 0o600, "not a YAML document with the fields"},
		{"key not indented", "server: x\nkey: |\n" + good.Key, 0o600, "line 3: not YAML"},
		{"server", change(func(c *dial.Credential) { c.Server = "controller" }), 0o600, "server"},
		{"trust domain", change(func(c *dial.Credential) { c.TrustDomain = "Fleet!" }), 0o600, "trust_domain"},
		{"key of another", change(func(c *dial.Credential) { c.Key = other.Key }), 0o600, "certificate and key"},
		{"no bundle", change(func(c *dial.Credential) { c.TrustBundle = "" }), 0o600, "trust_bundle"},
		{"bundle of keys", change(func(c *dial.Credential) { c.TrustBundle = c.Key }), 0o600, "trust_bundle"},
		{"huge", strings.Repeat("#", 300<<10), 0o600, "longer than"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "credential")
			if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := dial.LoadCredential(path)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE") {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
	if _, err := dial.LoadCredential(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := dial.LoadCredential(t.TempDir()); err == nil {
		t.Error("a folder was accepted")
	}
}

func TestCredentialHidesItsKey(t *testing.T) {
	c := newFleet(t).credential("127.0.0.1:8443")
	asJSON, err := json.Marshal(map[string]any{"c": c, "p": &c})
	if err != nil {
		t.Fatal(err)
	}
	shown := string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		shown += fmt.Sprintf(verb+verb, c, &c)
	}
	if strings.Contains(shown, "PRIVATE") || strings.Contains(shown, "50524956") {
		t.Errorf("the key shows in %s", shown)
	}
	if !strings.Contains(shown, "fleet.example") {
		t.Error("nothing shows")
	}
}
