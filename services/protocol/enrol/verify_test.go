package enrol_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/enrol"
)

// epoch is the tests' "now".
var epoch = time.Date(2030, 1, 7, 9, 0, 0, 0, time.UTC)

func now() time.Time { return epoch }

type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, name string) authority {
	key := ecKey(t, elliptic.P256())
	a := authority{t, key, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	a.cert = a.sign(a.cert, key)
	return a
}

// sign signs template for key with the authority's key.
func (a authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

func (a authority) hash() [32]byte { return sha256.Sum256(a.cert.RawSubjectPublicKeyInfo) }

// leaf issues a certificate for uri that is valid from 12 h ago to in 12 h.
func (a authority) leaf(uri string, change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		NotBefore: epoch.Add(-12 * time.Hour), NotAfter: epoch.Add(12 * time.Hour), URIs: []*url.URL{u},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(template)
	}
	key := ecKey(a.t, elliptic.P256())
	cert := a.sign(template, key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw, a.cert.Raw}, PrivateKey: key, Leaf: cert}
}

// handshake runs a real TLS handshake and returns the client's state and error. The server tries to
// read one byte of application data and reports whether any came.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error, bool) {
	t.Helper()
	near, far := loopback(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	received := make(chan bool, 1)
	go func() {
		s := tls.Server(far, server)
		defer far.Close()
		if s.HandshakeContext(ctx) != nil {
			received <- false
			return
		}
		n, _ := s.Read(make([]byte, 1))
		received <- n > 0
	}()
	c := tls.Client(near, client)
	err := c.HandshakeContext(ctx)
	if err == nil {
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	near.Close()
	return c.ConnectionState(), err, <-received
}

// loopback returns both ends of a TCP connection.
func loopback(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func TestPinnedConfig(t *testing.T) {
	fleet, foreign := newAuthority(t, "fleet"), newAuthority(t, "foreign")
	const controller = "spiffe://fleet.example/controller/c1"
	good := fleet.leaf(controller, nil)
	withChain := func(c tls.Certificate, chain ...[]byte) tls.Certificate {
		c.Certificate = append([][]byte{c.Certificate[0]}, chain...)
		return c
	}
	// A root that claims the fleet's name and key identifier, but has its own key.
	lookalike := newAuthority(t, "fleet")
	lookalike.cert = lookalike.sign(&x509.Certificate{
		Subject: fleet.cert.Subject, SubjectKeyId: fleet.cert.SubjectKeyId, NotBefore: fleet.cert.NotBefore,
		NotAfter: fleet.cert.NotAfter, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, lookalike.key)
	// The next root, signed by the first one too.
	next := newAuthority(t, "next")
	cross := fleet.sign(&x509.Certificate{
		Subject: next.cert.Subject, NotBefore: next.cert.NotBefore, NotAfter: next.cert.NotAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, next.key)
	cases := []struct {
		name string
		cert tls.Certificate
		want error
	}{
		{"the fleet's controller", good, nil},
		{"root repeated", withChain(good, fleet.cert.Raw, fleet.cert.Raw), nil},
		{"cross-signed by the token's root", withChain(next.leaf(controller, nil), cross.Raw, fleet.cert.Raw, next.cert.Raw), nil},
		{"root not shown", withChain(good), enrol.ErrForeignRoot},
		{"foreign root", foreign.leaf(controller, nil), enrol.ErrForeignRoot},
		{"foreign root, the fleet's shown too", withChain(foreign.leaf(controller, nil), foreign.cert.Raw, fleet.cert.Raw), enrol.ErrForeignRoot},
		{"root that looks alike", lookalike.leaf(controller, nil), enrol.ErrForeignRoot},
		{"root that looks alike, the fleet's shown too", withChain(lookalike.leaf(controller, nil), lookalike.cert.Raw, fleet.cert.Raw), enrol.ErrForeignRoot},
		{"next root without the cross certificate", withChain(next.leaf(controller, nil), next.cert.Raw, fleet.cert.Raw), enrol.ErrForeignRoot},
		{"a host", fleet.leaf("spiffe://fleet.example/host/c1", nil), enrol.ErrWrongKind},
		{"an operator", fleet.leaf("spiffe://fleet.example/operator/c1", nil), enrol.ErrWrongKind},
		{"a controller for clients only", fleet.leaf(controller, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), enrol.ErrForeignRoot},
		{"no SPIFFE name", fleet.leaf("https://fleet.example/", nil), enrol.ErrName},
		{"expired", fleet.leaf(controller, func(c *x509.Certificate) { c.NotAfter = epoch.Add(-time.Second) }), enrol.ErrExpired},
		{"not yet valid", fleet.leaf(controller, func(c *x509.Certificate) { c.NotBefore = epoch.Add(time.Second) }), enrol.ErrExpired},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cs, err, received := handshake(t, &tls.Config{Certificates: []tls.Certificate{c.cert}}, enrol.PinnedConfig(fleet.hash(), now))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if received != (c.want == nil) {
				t.Errorf("application data sent: %v", received)
			}
			if c.want == nil {
				if name, err := enrol.VerifyPinned(cs, fleet.hash(), epoch); err != nil || name.String() != controller {
					t.Errorf("name %v, %v", name, err)
				}
			}
		})
	}
}

func TestPinnedConfigRefusesTLS12(t *testing.T) {
	fleet := newAuthority(t, "fleet")
	cert := fleet.leaf("spiffe://fleet.example/controller/c1", nil)
	server := &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12}
	client := enrol.PinnedConfig(fleet.hash(), now)
	if _, err, received := handshake(t, server, client); err == nil || received {
		t.Errorf("TLS 1.2: %v, sent %v", err, received)
	}
	// The check itself, should a configuration allow TLS 1.2.
	cs := tls.ConnectionState{Version: tls.VersionTLS12, PeerCertificates: []*x509.Certificate{cert.Leaf, fleet.cert}}
	if _, err := enrol.VerifyPinned(cs, fleet.hash(), epoch); !errors.Is(err, enrol.ErrNotTLS13) {
		t.Errorf("VerifyPinned: %v", err)
	}
	cs = tls.ConnectionState{Version: tls.VersionTLS13}
	if _, err := enrol.VerifyPinned(cs, fleet.hash(), epoch); !errors.Is(err, enrol.ErrNoCertificate) {
		t.Errorf("no certificate: %v", err)
	}
	cs.PeerCertificates = make([]*x509.Certificate, 41)
	for i := range cs.PeerCertificates {
		cs.PeerCertificates[i] = cert.Leaf
	}
	if _, err := enrol.VerifyPinned(cs, fleet.hash(), epoch); !errors.Is(err, enrol.ErrForeignRoot) {
		t.Errorf("a long chain: %v", err)
	}
}

func TestMemberConfig(t *testing.T) {
	one, two, foreign := newAuthority(t, "one"), newAuthority(t, "two"), newAuthority(t, "foreign")
	const controller = "spiffe://fleet.example/controller/c1"
	host := one.leaf("spiffe://fleet.example/host/web-1", nil)
	trust := enrol.Trust{Domain: "fleet.example", Roots: []*x509.Certificate{one.cert}}
	client := enrol.MemberConfig(
		func() (*tls.Certificate, error) { return &host, nil },
		func() enrol.Trust { return trust }, now)
	cases := []struct {
		name  string
		roots []*x509.Certificate
		cert  tls.Certificate
		want  error
	}{
		{"known root", []*x509.Certificate{one.cert}, one.leaf(controller, nil), nil},
		{"root to come", []*x509.Certificate{one.cert}, two.leaf(controller, nil), enrol.ErrForeignRoot},
		{"root that came", []*x509.Certificate{one.cert, two.cert}, two.leaf(controller, nil), nil},
		{"root that went", []*x509.Certificate{two.cert}, one.leaf(controller, nil), enrol.ErrForeignRoot},
		{"foreign", []*x509.Certificate{one.cert, two.cert}, foreign.leaf(controller, nil), enrol.ErrForeignRoot},
		{"no roots", nil, one.leaf(controller, nil), enrol.ErrForeignRoot},
		{"other trust domain", []*x509.Certificate{one.cert}, one.leaf("spiffe://other/controller/c1", nil), enrol.ErrForeignRoot},
		{"another host", []*x509.Certificate{one.cert}, one.leaf("spiffe://fleet.example/host/web-2", nil), enrol.ErrWrongKind},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			trust.Roots = c.roots
			var shown []*x509.Certificate
			server := &tls.Config{
				Certificates: []tls.Certificate{c.cert}, ClientAuth: tls.RequestClientCert,
				VerifyConnection: func(cs tls.ConnectionState) error {
					shown = cs.PeerCertificates
					return nil
				},
			}
			_, err, received := handshake(t, server, client)
			if !errors.Is(err, c.want) || received != (c.want == nil) {
				t.Errorf("got %v, sent %v, want %v", err, received, c.want)
			}
			if c.want == nil && (len(shown) == 0 || !shown[0].Equal(host.Leaf)) {
				t.Error("the host did not show its certificate")
			}
		})
	}
}

func TestVerifyMember(t *testing.T) {
	one, two, foreign := newAuthority(t, "one"), newAuthority(t, "two"), newAuthority(t, "foreign")
	roots := []*x509.Certificate{one.cert, two.cert}
	const uri = "spiffe://fleet.example/host/web-1"
	middle := newAuthority(t, "middle")
	middle.cert = one.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "middle"}, NotBefore: one.cert.NotBefore, NotAfter: one.cert.NotAfter,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, middle.key)
	weekend := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = epoch.AddDate(0, 0, -3), epoch.AddDate(0, 0, -2)
	}
	old := newAuthority(t, "old")
	old.cert = old.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "old"}, NotBefore: epoch.AddDate(-1, 0, 0), NotAfter: epoch.AddDate(0, 0, -1),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, old.key)
	cases := []struct {
		name    string
		leaf    tls.Certificate
		want    error
		expired bool
		root    *x509.Certificate
	}{
		{"first root", one.leaf(uri, nil), nil, false, one.cert},
		{"second root", two.leaf(uri, nil), nil, false, two.cert},
		{"a weekend offline", one.leaf(uri, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = epoch.Add(-30*time.Minute), epoch.Add(-time.Minute)
		}), nil, true, one.cert},
		{"older than its root", one.leaf(uri, weekend), enrol.ErrExpired, false, nil},
		{"expired, of a root that expired too", old.leaf(uri, weekend), enrol.ErrExpired, false, nil},
		{"of the future", one.leaf(uri, func(c *x509.Certificate) { c.NotBefore = epoch.Add(time.Minute) }), enrol.ErrExpired, false, nil},
		{"foreign", foreign.leaf(uri, nil), enrol.ErrForeignRoot, false, nil},
		{"foreign and expired", foreign.leaf(uri, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = epoch.Add(-30*time.Minute), epoch.Add(-time.Minute)
		}), enrol.ErrForeignRoot, false, nil},
		{"under an intermediate", middle.leaf(uri, nil), enrol.ErrForeignRoot, false, nil},
		{"for servers only", one.leaf(uri, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), enrol.ErrForeignRoot, false, nil},
		{"other trust domain", one.leaf("spiffe://other/host/web-1", nil), enrol.ErrForeignRoot, false, nil},
		{"no name", one.leaf("https://fleet.example", nil), enrol.ErrName, false, nil},
		{"a CA as a leaf", one.leaf(uri, func(c *x509.Certificate) {
			c.IsCA, c.BasicConstraintsValid = true, true
		}), enrol.ErrName, false, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := enrol.VerifyMember(c.leaf.Leaf, append(roots, old.cert), "fleet.example", epoch)
			if c.want != nil {
				if !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			hash, _ := enrol.PublicKeyHash(c.leaf.Leaf.PublicKey)
			if m.Name.String() != uri || m.Expired != c.expired || m.PublicKeyHash != hash || !m.Root.Equal(c.root) {
				t.Errorf("got %+v", m)
			}
		})
	}
}
