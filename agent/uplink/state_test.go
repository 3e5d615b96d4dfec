package uplink

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
)

func openState(t *testing.T, dir string) *State {
	t.Helper()
	s, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// selfSigned makes a certificate for that URI, and the key's own root.
func selfSigned(t *testing.T, key *Key, uri string, ca bool) []byte {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, URIs: []*url.URL{u}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Unix(1_700_000_000, 0), NotAfter: time.Unix(1_700_000_000, 0).Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Signer().Public(), key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestStateRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := openState(t, dir)
	if id, err := s.identity(); id != nil || err != nil {
		t.Fatalf("an empty directory has identity %v, %v", id, err)
	}
	key, err := s.Key()
	if err != nil {
		t.Fatal(err)
	}
	root := selfSigned(t, key, "spiffe://test.example/controller/c", true)
	leaf := selfSigned(t, key, "spiffe://test.example/host/web-1", false)
	id, err := newIdentity(key, [][]byte{leaf}, [][]byte{root})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.saveIdentity(id); err != nil {
		t.Fatal(err)
	}
	position := &typesv1.Position{Incarnation: 3, Revision: 1 << 40, Proof: []byte{1, 2}}
	config := &fleetv1.HostConfig{OverlayPrefixes: []string{"100.64.0.0/16"}, Mtu: 1400}
	if err := errors.Join(s.savePosition(position), s.saveHostConfig(config), s.Close()); err != nil {
		t.Fatal(err)
	}

	s = openState(t, dir)
	back, err := s.identity()
	if err != nil {
		t.Fatal(err)
	}
	if back.Host() != "web-1" || back.TrustDomain() != "test.example" || !bytes.Equal(back.chain[0], leaf) || !back.sameRoots([][]byte{root}) {
		t.Errorf("identity = %+v", back)
	}
	if want := time.Unix(1_700_000_000, 0).Add(12 * time.Hour); !back.RenewAt().Equal(want) {
		t.Errorf("renew at %v, want half of the life, %v", back.RenewAt(), want)
	}
	again, err := s.Key()
	if err != nil || !again.private.Equal(key.private) {
		t.Errorf("the key is another one: %v", err)
	}
	if p, err := s.position(); err != nil || !proto.Equal(p, position) {
		t.Errorf("position = %v, %v", p, err)
	}
	if c, err := s.hostConfig(); err != nil || !proto.Equal(c, config) {
		t.Errorf("config = %v, %v", c, err)
	}
	checkModes(t, dir)
}

// checkModes: nothing is for others.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStateIsLocked(t *testing.T) {
	dir := t.TempDir()
	openState(t, dir)
	if _, err := OpenState(dir); !errors.Is(err, ErrStateInUse) {
		t.Errorf("a second agent: %v", err)
	}
}

func TestStateOfAProcessThatIsDyingIsAwaited(t *testing.T) {
	dir := t.TempDir()
	old := openState(t, dir)
	timer := time.AfterFunc(5*lockAgain, func() { old.Close() })
	defer timer.Stop()
	openState(t, dir)
}

func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	s := openState(t, dir)
	key, err := s.Key()
	if err != nil {
		t.Fatal(err)
	}
	other := &Key{must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	leaf := selfSigned(t, key, "spiffe://test.example/host/web-1", false)
	root := selfSigned(t, key, "spiffe://test.example/x", true)
	cases := []struct {
		name        string
		chain, root []byte
	}{
		{"no roots", leaf, nil},
		{"a root that is no authority", leaf, leaf},
		{"another key", selfSigned(t, other, "spiffe://test.example/host/web-1", false), root},
		{"an operator", selfSigned(t, key, "spiffe://test.example/operator/web-1", false), root},
		{"a deeper path", selfSigned(t, key, "spiffe://test.example/host/a/b", false), root},
		{"no SPIFFE", selfSigned(t, key, "https://test.example/host/a", false), root},
		{"garbage", []byte{1, 2, 3}, root},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			write(t, dir, identityFile, encodeCertificates([][]byte{c.chain}))
			write(t, dir, trustFile, nil)
			if c.root != nil {
				write(t, dir, trustFile, encodeCertificates([][]byte{c.root}))
			}
			if id, err := s.identity(); err == nil {
				t.Errorf("taken as %v", id.Host())
			}
		})
	}
}

func TestKeyFileIsChecked(t *testing.T) {
	dir := t.TempDir()
	s := openState(t, dir)
	if _, err := s.Key(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, keyFile), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Key(); err == nil || !strings.Contains(err.Error(), "readable by others") {
		t.Errorf("a key that others can read: %v", err)
	}
	for name, content := range map[string][]byte{
		"cut": good[:len(good)/2], "empty": {}, "twice": append(bytes.Clone(good), good...),
	} {
		write(t, dir, keyFile, content)
		if _, err := s.Key(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestKeyDoesNotPrint(t *testing.T) {
	key := &Key{must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, key); text != "[redacted]" {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

func write(t *testing.T, dir, file string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, file)
	if err := errors.Join(os.WriteFile(path, content, 0o600), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
