package cmd

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// authority is a fleet's certificate authority, good for an hour.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{key, cert}
}

func (a authority) issue(public crypto.PublicKey, path string) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: "example.net", Path: path}},
	}
	return x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
}

// issuing adds IssueOperator to the controller in memory.
type issuing struct {
	*fake
	authority authority
	role      string
}

func (s *issuing) IssueOperator(_ context.Context, in *operatorv1.IssueOperatorRequest) (*operatorv1.IssueOperatorResponse, error) {
	public, _, err := enrol.ParseRequest(in.GetCertificateRequest())
	if err != nil {
		return nil, err
	}
	s.role = in.GetRole()
	leaf, err := s.authority.issue(public, "/operator/"+in.GetName())
	return &operatorv1.IssueOperatorResponse{CertificateChain: [][]byte{leaf}, TrustBundle: [][]byte{s.authority.cert.Raw}}, err
}

// serveTLS serves on a port of the loopback to operators of the fleet only.
func (s *issuing) serveTLS(t *testing.T) (address string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := s.authority.issue(key.Public(), "/controller/c1")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.authority.cert)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf, s.authority.cert.Raw}, PrivateKey: key}},
	})))
	s.register(server)
	go func() { _ = server.Serve(l) }() // ends when stopped
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

func (s *issuing) register(r grpc.ServiceRegistrar) {
	operatorv1.RegisterResourceServiceServer(r, s)
	operatorv1.RegisterAdminServiceServer(r, s)
}

// serveUnix serves on a unix socket, as to the local root.
func (s *issuing) serveUnix(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	s.register(server)
	go func() { _ = server.Serve(l) }() // ends when stopped
	t.Cleanup(server.Stop)
	return path
}

func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, notes bytes.Buffer
	status = Run(t.Context(), Config{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &notes, Getenv: func(string) string { return "" },
		Now: func() time.Time { return testNow }, Poll: time.Millisecond,
	}, args)
	return status, out.String(), notes.String()
}

// TestOperatorCreate: the credential that the local root makes opens the controller's TLS port.
func TestOperatorCreate(t *testing.T) {
	s := &issuing{fake: newFake(), authority: newAuthority(t)}
	socket, address := s.serveUnix(t), s.serveTLS(t)
	file := filepath.Join(t.TempDir(), "alice.yaml")
	create := []string{"operator", "create", "alice", "--role", "operator", "-o", file, "--socket", socket}

	if status, _, stderr := call(t, create...); status != exit.Usage || !strings.Contains(stderr, "--address") {
		t.Errorf("without an address: status %d, %s", status, stderr)
	}
	status, stdout, stderr := call(t, append(create, "--address", address)...)
	if status != exit.OK || stdout != "" || !strings.Contains(stderr, "operator alice may now use the fleet example.net") {
		t.Fatalf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	if s.role != "operator" {
		t.Errorf("asked for the role %q", s.role)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the credential has mode %v", info.Mode())
	}

	if status, stdout, stderr := call(t, "status", "--credential", file); status != exit.OK || !strings.Contains(stdout, "fleet example.net") {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	// Over TLS the address is known, so the agent's command is complete.
	if status, _, stderr := call(t, "join-token", "create", "--host", "web-1", "--credential", file); status != exit.OK ||
		!strings.Contains(stderr, "sallyport-agent run --controller "+address+" --join-token-file /dev/stdin") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if status, _, stderr := call(t, append(create, "--address", address)...); status != exit.Conflict || !strings.Contains(stderr, "--force") {
		t.Errorf("an existing file: status %d, %s", status, stderr)
	}
	if status, _, stderr := call(t, append(create, "--address", address, "--force")...); status != exit.OK {
		t.Errorf("--force: status %d, %s", status, stderr)
	}
}

func (s *issuing) RevokeOperator(_ context.Context, in *operatorv1.RevokeOperatorRequest) (*operatorv1.RevokeOperatorResponse, error) {
	if in.GetName() != "alice" {
		return nil, refusal(codes.NotFound, `there is no operator "bob"`)
	}
	return &operatorv1.RevokeOperatorResponse{}, nil
}

func TestOperatorRevoke(t *testing.T) {
	s := &issuing{fake: newFake(), authority: newAuthority(t)}
	socket := s.serveUnix(t)
	if status, stdout, stderr := call(t, "operator", "revoke", "alice", "--socket", socket); status != exit.OK || stdout != "operator alice revoked\n" {
		t.Errorf("status %d, %q, %s", status, stdout, stderr)
	}
	if status, _, stderr := call(t, "operator", "revoke", "bob", "--socket", socket); status != exit.NotFound || !strings.Contains(stderr, `no operator "bob"`) {
		t.Errorf("status %d, %s", status, stderr)
	}
}

// TestForeignController: a controller of another fleet is refused, and the user told why.
func TestForeignController(t *testing.T) {
	own := &issuing{fake: newFake(), authority: newAuthority(t)}
	foreign := &issuing{fake: newFake(), authority: newAuthority(t)}
	file := filepath.Join(t.TempDir(), "alice.yaml")
	if status, _, stderr := call(t, "operator", "create", "alice", "--role", "viewer", "-o", file, "--socket", own.serveUnix(t),
		"--address", foreign.serveTLS(t)); status != exit.OK {
		t.Fatalf("status %d, %s", status, stderr)
	}
	status, _, stderr := call(t, "status", "--credential", file)
	if status != exit.Unavailable || !strings.Contains(stderr, "cannot reach the controller at 127.0.0.1:") {
		t.Errorf("status %d, %s", status, stderr)
	}
	status, _, stderr = call(t, "status", "--credential", file, "--server", own.serveTLS(t))
	if status != exit.OK {
		t.Errorf("--server: status %d, %s", status, stderr)
	}
}

func TestOperatorUsage(t *testing.T) {
	for _, args := range [][]string{
		{"operator", "create"},
		{"operator", "create", "a"},
		{"operator", "create", "a", "--role", "king"},
		{"operator", "create", "A_B", "--role", "viewer"},
	} {
		if status, _, stderr := call(t, append(args, "--socket", "/none")...); status != exit.Usage {
			t.Errorf("%v: status %d, %s", args, status, stderr)
		}
	}
}
