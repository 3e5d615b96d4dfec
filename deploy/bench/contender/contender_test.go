//go:build linux

package contender

import (
	"bytes"
	"crypto/ecdh"
	"strings"
	"testing"
)

func TestManual(t *testing.T) {
	keys := [2][]byte{{0xaa}, {0xbb}}
	const want = `insecure: true
default: bypass
policies:
  - name: bench
    action: protect
    local: ["10.98.2.0/24"]
    remote: ["10.98.1.0/24"]
    protocol: esp
    mode: tunnel
    encapsulation: udp
    proposal: aes128gcm16
    local-address: "192.0.2.2"
    remote-address: "192.0.2.1:4500"
    in: {spi: 4097, key: "0xbb"}
    out: {spi: 4096, key: "0xaa"}
`
	if got := manual(1, Default(), keys); got != want {
		t.Errorf("file is\n%s\nwant\n%s", got, want)
	}
	s := Default()
	s.Mode, s.Encapsulation, s.Outer = "transport", "native", 6
	for _, line := range []string{`local: ["fd16::1"]`, `remote: ["fd16::2"]`, `remote-address: "fd16::2"`} {
		if got := manual(0, s, keys); !strings.Contains(got, line) {
			t.Errorf("transport mode: no %s in\n%s", line, got)
		}
	}
}

func TestKeyLength(t *testing.T) {
	for _, c := range []struct {
		protocol, proposal string
		want               int
	}{{"esp", "aes128gcm16", 20}, {"esp", "chacha20poly1305", 36}, {"ah", "sha256", 32}} {
		if got, err := keyLength(Setup{Protocol: c.protocol, Proposal: c.proposal}); got != c.want || err != nil {
			t.Errorf("%s %s: %d, %v, want %d", c.protocol, c.proposal, got, err, c.want)
		}
	}
	for _, protocol := range []string{"esp", "ah"} {
		if got, err := keyLength(Setup{Protocol: protocol, Proposal: "rot13"}); err == nil {
			t.Errorf("%s rot13: %d", protocol, got)
		}
	}
}

// The two ends of WireGuard know each other's public key, and have ends of their own.
func TestConfiguration(t *testing.T) {
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{byte(i + 1)}, 32)); err != nil {
			t.Fatal(err)
		}
	}
	const want = `set=1
private_key=0101010101010101010101010101010101010101010101010101010101010101
listen_port=51820
public_key=ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59
endpoint=192.0.2.2:51820
allowed_ip=10.98.2.0/24
allowed_ip=fd98:2::/64

`
	if got := configuration(0, Default(), keys); got != want {
		t.Errorf("configuration is\n%s\nwant\n%s", got, want)
	}
}

func TestAddress(t *testing.T) {
	s := Default()
	if got := s.Address(1).String(); got != "10.98.2.1" {
		t.Errorf("in a tunnel: %s", got)
	}
	s.Mode = "transport"
	if got := s.Address(1).String(); got != "192.0.2.2" {
		t.Errorf("in transport mode: %s", got)
	}
}
