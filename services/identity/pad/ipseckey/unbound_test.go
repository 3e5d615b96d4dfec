package ipseckey_test

// The resolver against software that nobody here wrote: a zone that BIND signs and serves, and unbound as the
// validator. All of it on loopback.
//
//	Resolver ──▶ unbound, validates ──▶ named: example. and 2.0.192.in-addr.arpa. are signed,
//	             (trust anchors)               bogus.example. is signed and then changed, plain.test. is not signed

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/identity/pad/ipseckey"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
)

// environmentDNS, when set, makes missing programs an error.
const environmentDNS = "INTEROP_DNS"

// TestUnbound looks records of each kind up, and those that must not count.
func TestUnbound(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	for _, name := range []string{"named", "dnssec-keygen", "dnssec-signzone", "unbound"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv(environmentDNS) != "" {
				t.Fatal(err)
			}
			t.Skipf("%s is not installed; make interop-dns installs BIND and unbound", name)
		}
	}
	s := site{t, t.TempDir()}
	rsaKey, ecKey, edKey := padtest.Key(t, "rsa2048").Public(), padtest.Key(t, "p256").Public(), padtest.Key(t, "ed25519").Public()
	head := "$TTL 60\n@ SOA ns hostmaster 1 60 60 600 60\n@ NS ns\nns A 127.0.0.1\n"
	s.zone("example.", true, head+
		"rsa IPSECKEY 10 0 2 . "+text(t, rsaKey)+"\n"+
		"ec IPSECKEY 10 1 3 192.0.2.38 "+text(t, ecKey)+"\n"+
		"ed IPSECKEY 10 3 4 gw.example.net. "+text(t, edKey)+"\n"+
		"alias CNAME ed\nfar CNAME gw.plain.test.\nnothing A 192.0.2.1\n"+
		big(text(t, rsaKey)))
	s.zone("2.0.192.in-addr.arpa.", true, head+"38 IPSECKEY 10 0 3 . "+text(t, ecKey)+"\n")
	s.zone("bogus.test.", true, head+"gw IPSECKEY 10 0 3 . "+text(t, ecKey)+"\n")
	s.change("bogus.test.", text(t, ecKey)[:8], text(t, ecKey)[4:8]+text(t, ecKey)[:4])
	s.zone("plain.test.", false, head+"gw IPSECKEY 10 0 3 . "+text(t, ecKey)+"\n")
	resolver := s.start()

	for owner, c := range map[string]struct {
		key  crypto.PublicKey
		n    int
		want error
	}{
		"rsa.example": {rsaKey, 1, nil}, "ec.example": {ecKey, 1, nil}, "ed.example": {edKey, 1, nil}, "EC.Example": {ecKey, 1, nil},
		"alias.example": {edKey, 1, nil}, "38.2.0.192.in-addr.arpa": {ecKey, 1, nil},
		"big.example":     {rsaKey, 5, nil}, // by TCP
		"nothing.example": {want: ipseckey.ErrNoRecord}, "absent.example": {want: ipseckey.ErrNoRecord},
		"gw.plain.test": {want: ipseckey.ErrInsecure}, "far.example": {want: ipseckey.ErrInsecure}, "gw.bogus.test": {want: ipseckey.ErrLookup},
	} {
		got, err := resolver.Lookup(t.Context(), owner)
		if !errors.Is(err, c.want) || len(got.Records) != c.n || got.Broken > 0 {
			t.Errorf("%s: %+v, %v, want %v", owner, got, err, c.want)
			continue
		}
		for _, r := range got.Records {
			k, err := r.Key()
			if equal, ok := c.key.(interface{ Equal(crypto.PublicKey) bool }); err != nil || !ok || !equal.Equal(k) {
				t.Errorf("%s has the key %v, %v", owner, k, err)
			}
		}
	}
}

// text is a key as zone files have it.
func text(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	_, raw, err := ipseckey.Encode(key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// big is a set of records that needs more than a datagram.
func big(key string) string {
	var b strings.Builder
	for i := range 5 {
		fmt.Fprintf(&b, "big IPSECKEY %d 0 2 . %s\n", i, key)
	}
	return b.String()
}

// site is a folder with zones, and the two servers over it.
type site struct {
	t   *testing.T
	dir string
}

func (s site) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s site) run(name string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// zone writes ORIGIN.zone; with a key it is signed, and the key becomes a trust anchor.
func (s site) zone(origin string, sign bool, content string) {
	s.t.Helper()
	file := origin + "zone"
	s.write(file, "$ORIGIN "+origin+"\n"+content)
	if !sign {
		return
	}
	s.run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", origin)
	s.run("dnssec-signzone", "-q", "-S", "-z", "-o", origin, "-f", file, file)
	keys, err := filepath.Glob(filepath.Join(s.dir, "K"+origin+"*.key"))
	if err != nil || len(keys) != 1 {
		s.t.Fatalf("keys of %s: %q, %v", origin, keys, err)
	}
	key, err := os.ReadFile(keys[0])
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(origin+"anchor", string(key))
}

// change replaces a text in a zone that has been signed.
func (s site) change(origin, from, to string) {
	s.t.Helper()
	file := filepath.Join(s.dir, origin+"zone")
	b, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if bytes.Count(b, []byte(from)) != 1 {
		s.t.Fatalf("%q is not once in\n%s", from, b)
	}
	s.write(origin+"zone", strings.Replace(string(b), from, to, 1))
}

// start runs both servers until the test ends.
func (s site) start() *ipseckey.Resolver {
	s.t.Helper()
	authority, validator := freePort(s.t), freePort(s.t)
	zones, err := filepath.Glob(filepath.Join(s.dir, "*.zone"))
	if err != nil {
		s.t.Fatal(err)
	}
	named := fmt.Sprintf("options { directory %q; listen-on port %d { 127.0.0.1; }; listen-on-v6 { none; }; recursion no; dnssec-validation no;\n"+
		"pid-file none; session-keyfile none; empty-zones-enable no; };\ncontrols { };\n", s.dir, authority.Port())
	unbound := fmt.Sprintf("server:\n directory: %q\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n interface: %s\n port: %d\n"+
		" do-not-query-localhost: no\n module-config: \"validator iterator\"\n do-daemonize: no\n", s.dir, validator.Addr(), validator.Port())
	stubs := "remote-control:\n control-enable: no\n"
	for _, z := range zones {
		origin := strings.TrimSuffix(filepath.Base(z), "zone")
		named += fmt.Sprintf("zone %q { type primary; file %q; };\n", origin, z)
		unbound += fmt.Sprintf(" local-zone: %q nodefault\n", origin)
		if _, err := os.Stat(filepath.Join(s.dir, origin+"anchor")); err == nil {
			unbound += fmt.Sprintf(" trust-anchor-file: %q\n", origin+"anchor")
		}
		stubs += fmt.Sprintf("stub-zone:\n name: %q\n stub-addr: 127.0.0.1@%d\n", origin, authority.Port())
	}
	s.write("named.conf", named)
	s.write("unbound.conf", unbound+" local-zone: \"test.\" nodefault\n"+stubs)
	s.serve(authority, "named", "-g", "-c", filepath.Join(s.dir, "named.conf"))
	s.serve(validator, "unbound", "-d", "-c", filepath.Join(s.dir, "unbound.conf"))
	resolver, err := ipseckey.New(ipseckey.Config{Server: validator})
	if err != nil {
		s.t.Fatal(err)
	}
	return resolver
}

// serve runs a server, and waits until it listens.
func (s site) serve(at netip.AddrPort, name string, args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &out, &out
	if err := cmd.Start(); err != nil {
		cancel()
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("%s says:\n%s", name, out.String())
		}
	})
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-retry.C {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			c.Close()
			return
		}
	}
	s.t.Fatalf("%s does not listen on %s", name, at)
}

// freePort is one that nobody listens on just now.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}
