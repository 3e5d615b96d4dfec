package pad_test

import (
	"crypto"
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/ipseckey"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// TestKeysInDNS: what the records say, and what they do not.
func TestKeysInDNS(t *testing.T) {
	key, other := padtest.Key(t, "p256"), padtest.Key(t, "p256")
	record := func(k crypto.Signer, kind ipseckey.GatewayType, addr, name string) ipseckey.Record {
		a, raw, err := ipseckey.Encode(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		r := ipseckey.Record{Type: kind, Algorithm: a, Name: name, PublicKey: raw}
		if addr != "" {
			r.Addr = netip.MustParseAddr(addr)
		}
		return r
	}
	plain, wrong := record(key, 0, "", ""), record(other, 0, "", "")
	for name, c := range map[string]struct {
		id, owner string
		records   []ipseckey.Record
		err       error
		want      pad.Code
	}{
		"a name":               {remoteID, "peer.example", []ipseckey.Record{plain}, nil, 0},
		"the second record":    {remoteID, "peer.example", []ipseckey.Record{wrong, plain}, nil, 0},
		"an address":           {"192.0.2.7", "7.2.0.192.in-addr.arpa", []ipseckey.Record{plain}, nil, 0},
		"an IPv6 address":      {"2001:db8::7", "7." + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa", []ipseckey.Record{plain}, nil, 0},
		"its own gateway":      {remoteID, "peer.example", []ipseckey.Record{record(key, 3, "", "peer.example")}, nil, 0},
		"the gateway it is at": {remoteID, "peer.example", []ipseckey.Record{record(key, 1, "192.0.2.7", "")}, nil, 0},
		"another gateway":      {remoteID, "peer.example", []ipseckey.Record{record(key, 1, "192.0.2.8", "")}, nil, pad.OtherGateway},
		"another's gateway":    {remoteID, "peer.example", []ipseckey.Record{record(key, 3, "", "x.example")}, nil, pad.OtherGateway},
		"another key":          {remoteID, "peer.example", []ipseckey.Record{wrong}, nil, pad.BadSignature},
		"a key of 1024 bits":   {remoteID, "peer.example", []ipseckey.Record{record(padtest.Key(t, "rsa1024"), 0, "", "")}, nil, pad.WeakKey},
		"no key":               {remoteID, "peer.example", []ipseckey.Record{{}}, nil, pad.NoKeyInDNS},
		"no record":            {remoteID, "x", nil, nil, pad.NoKeyInDNS},
		"insecure":             {remoteID, "peer.example", []ipseckey.Record{plain}, ipseckey.ErrInsecure, pad.InsecureDNS},
		"no answer":            {remoteID, "peer.example", []ipseckey.Record{plain}, ipseckey.ErrLookup, pad.DNSFailed},
		"no name in DNS":       {"rfc822:a@peer.example", "peer.example", []ipseckey.Record{plain}, nil, pad.NoKeyInDNS},
	} {
		t.Run(name, func(t *testing.T) {
			resolver := &dns{owner: c.owner, records: c.records, err: c.err}
			d := database(t, pad.Config{Resolver: resolver, Entries: []pad.Entry{entry(t, "peer", "any", pad.Accept{IPSECKEY: true})}})
			expect(t, d, peer{c.id, []pad.Credential{{Signer: key}}}.claim(t), c.want)
		})
	}
}

// TestOnlyPermittedNamesAreLookedUp: what no entry permits never reaches DNS.
func TestOnlyPermittedNamesAreLookedUp(t *testing.T) {
	resolver := &dns{}
	d := database(t, pad.Config{Resolver: resolver, Entries: []pad.Entry{
		entry(t, "inside", "fqdn:*.in.example", pad.Accept{IPSECKEY: true}),
		entry(t, "psk", "fqdn:psk.in.example", pad.Accept{Secrets: []pad.Secret{secret(t, "x")}}),
	}})
	key := padtest.Key(t, "p256")
	for id, want := range map[string]pad.Code{
		"fqdn:a.in.example": pad.NoKeyInDNS, "fqdn:a.out.example": pad.UnknownIdentity, "fqdn:psk.in.example": pad.MethodNotAccepted,
	} {
		expect(t, d, peer{id, []pad.Credential{{Signer: key}}}.claim(t), want)
	}
	if len(resolver.asked) != 1 || resolver.asked[0] != "a.in.example" {
		t.Errorf("looked up: %q", resolver.asked)
	}
}

// TestRawKeys: RFC 7670. What a peer sends is never trusted; it is named for the operator.
func TestRawKeys(t *testing.T) {
	key, other := padtest.Key(t, "ed25519"), padtest.Key(t, "ed25519")
	d := database(t, pad.Config{Entries: []pad.Entry{entry(t, "peer", remoteID, pad.Accept{Keys: []crypto.PublicKey{key.Public()}})}})
	asks := func(p *pad.Proof) { p.Requests = []ikewire.CERTREQ{{Encoding: ikewire.CertRawPublicKey}} }
	claim := peer{remoteID, []pad.Credential{{Signer: key}}}.claim(t, asks)
	if len(claim.Certs) != 1 || claim.Certs[0].Encoding != ikewire.CertRawPublicKey {
		t.Errorf("the key is sent as %v", claim.Certs)
	}
	expect(t, d, claim, 0)
	v := expect(t, d, peer{remoteID, []pad.Credential{{Signer: other}}}.claim(t, asks), pad.KeyNotPinned)
	if !strings.Contains(v.Refusal.Reason, pad.Fingerprint(other.Public())) {
		t.Errorf("the reason does not name the key: %v", v.Refusal)
	}
	if unasked := (peer{remoteID, []pad.Credential{{Signer: key}}}).claim(t); len(unasked.Certs) != 0 {
		t.Errorf("a raw key is sent to who did not ask: %v", unasked.Certs)
	}
	leaf := padtest.NewCA(t, "unknown").IssueFor(t, "p", key)
	expect(t, d, peer{remoteID, []pad.Credential{signer(leaf)}}.claim(t), 0) // a pinned key counts in a certificate too
}

// TestSeveralWays: any way that the entry accepts is enough; the refusal is of the one that was tried.
func TestSeveralWays(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	accept := byCA("ca")
	accept.Keys = []crypto.PublicKey{padtest.Key(t, "p256").Public()}
	accept.Secrets = []pad.Secret{secret(t, "the secret")}
	accept.IPSECKEY = true
	d := database(t, pad.Config{Resolver: &dns{}, Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", remoteID, accept)}})
	expect(t, d, peer{remoteID, []pad.Credential{signer(ca.Issue(t, "p", "p256", named))}}.claim(t), 0)
	expect(t, d, peer{remoteID, []pad.Credential{{Secret: secret(t, "the secret")}}}.claim(t), 0)
	expect(t, d, peer{remoteID, []pad.Credential{signer(ca.Issue(t, "p", "p256"))}}.claim(t), pad.WrongName)
	expect(t, d, peer{remoteID, []pad.Credential{{Signer: padtest.Key(t, "p256")}}}.claim(t), pad.NoKeyInDNS)
}
