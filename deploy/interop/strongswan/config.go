//go:build linux

package strongswan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// place is where both ends are, as the other one sees them.
type place struct {
	ours, theirs string // outer addresses
}

// with adds to settings what they do not say.
func with(settings map[string]string, defaults map[string]string) map[string]string {
	all := maps.Clone(defaults)
	maps.Copy(all, settings)
	return all
}

// section writes a section of strongSwan's configuration.
func section(b *strings.Builder, indent, name string, settings map[string]string, inside ...func(indent string)) {
	fmt.Fprintf(b, "%s%s {\n", indent, name)
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(b, "%s  %s = %s\n", indent, key, settings[key])
	}
	for _, f := range inside {
		f(indent + "  ")
	}
	fmt.Fprintf(b, "%s}\n", indent)
}

// swanctlConf is strongSwan's configuration of the connection. It waits for calls, and makes them when told to.
func (s Scenario) swanctlConf(p place) string {
	var b strings.Builder
	sub := func(name string, settings map[string]string, inside ...func(string)) func(string) {
		return func(indent string) { section(&b, indent, name, settings, inside...) }
	}
	connection := with(s.Theirs.Connection, map[string]string{
		"version": "2", "local_addrs": "%any", "remote_addrs": p.ours, "proposals": "aes256gcm16-prfsha384-x25519",
		"dpd_delay": "30s", "unique": "never",
	})
	child := with(s.Theirs.Child, map[string]string{
		"local_ts": theirNet, "remote_ts": ourNet, "esp_proposals": "aes256gcm16-x25519", "mode": "tunnel",
	})
	ours, theirs := map[string]string{"auth": "psk", "id": p.ours}, map[string]string{"auth": "psk", "id": p.theirs}
	if s.Certificates != "" {
		ours = map[string]string{"auth": "pubkey", "id": ourName, "cacerts": "ca.pem"}
		theirs = map[string]string{"auth": "pubkey", "id": theirName, "certs": "peer.pem"}
	}
	sub("connections", nil,
		sub("peer", connection,
			sub("local", with(s.Theirs.Local, theirs)),
			sub("remote", with(s.Theirs.Remote, ours)),
			sub("children", nil, sub("net", child))))("")
	sub("secrets", nil, sub("ike-peer", map[string]string{"secret": `"` + s.Theirs.Secret + `"`}))("")
	return b.String()
}

// strongswanConf is that of the daemon.
func (s Scenario) strongswanConf(folder string) string {
	var b strings.Builder
	sub := func(name string, settings map[string]string, inside ...func(string)) func(string) {
		return func(indent string) { section(&b, indent, name, settings, inside...) }
	}
	daemon := with(s.Theirs.Charon, map[string]string{
		"load": "random nonce aes sha1 sha2 hmac kdf openssl chapoly curve25519 gmp pem pkcs1 pkcs8 x509 pubkey kernel-libipsec kernel-netlink socket-default vici updown",
	})
	sub("charon-systemd", daemon,
		sub("filelog", nil, sub("stderr", map[string]string{"default": "1", "ike": "2"})),
		sub("plugins", nil, sub("vici", map[string]string{"socket": "unix://" + folder + "/vici"})))("")
	sub("swanctl", map[string]string{"load": "random openssl pem pkcs1 pkcs8 x509"})("")
	return b.String()
}

// Networks behind the two ends, and their machines.
const (
	ourNet       = "10.50.1.0/24"
	theirNet     = "10.50.2.0/24"
	ourMachine   = "10.50.1.2"
	theirMachine = "10.50.2.2"
)

// peerSpec is the Peer's spec, complete.
func (s Scenario) peerSpec(p place) map[string]any {
	spec := map[string]any{
		"hosts": []string{"host-1"}, "remoteAddresses": []string{p.theirs}, "start": "never", "lost": "clear",
		"local":     map[string]any{"id": p.ours, "credential": "peer-psk"},
		"remote":    map[string]any{"id": p.theirs, "credential": "peer-psk"},
		"proposals": []string{"aes256gcm16-prfsha384-x25519"},
		"children":  []any{map[string]any{"name": "net"}},
	}
	if s.Certificates != "" {
		spec["local"] = map[string]any{"id": ourName, "method": "certificate", "credential": "peer-key"}
		spec["remote"] = map[string]any{"id": theirName, "method": "certificate", "credential": "peer-ca"}
	}
	maps.Copy(spec, s.Ours)
	children, _ := spec["children"].([]any)
	for _, c := range children {
		child, _ := c.(map[string]any)
		for key, value := range map[string]any{
			"name": "net", "local": []string{ourNet}, "remote": []string{theirNet}, "proposals": []string{"aes256gcm16-x25519-noesn"},
		} {
			if _, there := child[key]; !there && child != nil {
				child[key] = value
			}
		}
	}
	return spec
}
