package pad_test

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/ipseckey"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// signing are the ways to sign: the hashes that the verifier announced, and what must come of it.
func signing() []struct {
	key    string
	hashes []ikewire.HashAlgorithm
	method ikewire.AuthMethod
	want   ikewire.SignatureAlgorithm
} {
	sha1 := []ikewire.HashAlgorithm{ikewire.HashSHA1}
	only := func(h ikewire.HashAlgorithm) []ikewire.HashAlgorithm {
		return []ikewire.HashAlgorithm{ikewire.HashSHA1, h}
	}
	return []struct {
		key    string
		hashes []ikewire.HashAlgorithm
		method ikewire.AuthMethod
		want   ikewire.SignatureAlgorithm
	}{
		{"rsa2048", pad.Announce(), ikewire.AuthDigitalSig, ikewire.SignRSAPSSSHA256},
		{"rsa2048", only(ikewire.HashSHA384), ikewire.AuthDigitalSig, ikewire.SignRSAPSSSHA384},
		{"rsa2048", only(ikewire.HashSHA512), ikewire.AuthDigitalSig, ikewire.SignRSAPSSSHA512},
		{"rsa2048", nil, ikewire.AuthRSA, 0},
		{"rsa2048", sha1, ikewire.AuthRSA, 0},
		{"p256", pad.Announce(), ikewire.AuthDigitalSig, ikewire.SignECDSASHA256},
		{"p256", only(ikewire.HashSHA512), ikewire.AuthDigitalSig, ikewire.SignECDSASHA512},
		{"p256", nil, ikewire.AuthECDSAP256, 0},
		{"p384", pad.Announce(), ikewire.AuthDigitalSig, ikewire.SignECDSASHA384},
		{"p384", sha1, ikewire.AuthECDSAP384, 0},
		{"p521", pad.Announce(), ikewire.AuthDigitalSig, ikewire.SignECDSASHA512},
		{"p521", nil, ikewire.AuthECDSAP521, 0},
		{"ed25519", pad.Announce(), ikewire.AuthDigitalSig, ikewire.SignEd25519},
	}
}

// TestSignatures: each key proves an identity by certificate, as a pinned key, and by DNS.
func TestSignatures(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	keys := map[string]crypto.Signer{}
	for _, c := range signing() {
		if keys[c.key] == nil {
			keys[c.key] = padtest.Key(t, c.key)
		}
		t.Run(fmt.Sprintf("%s %v", c.key, c.hashes), func(t *testing.T) {
			leaf := ca.IssueFor(t, "peer", keys[c.key], named)
			claim := peer{remoteID, []pad.Credential{signer(leaf)}}.claim(t, func(p *pad.Proof) { p.PeerHashes = c.hashes })
			checkMethod(t, claim.AUTH, c.method, c.want)
			config := pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", remoteID, byCA("ca"))}}
			v := expect(t, database(t, config), claim, 0)
			if v.Expires != leaf.NotAfter || !strings.Contains(v.Proof, "CN=peer") || v.Entry.Name != "peer" {
				t.Errorf("verdict %+v", v)
			}
			config.Entries[0].Accept = pad.Accept{Keys: []crypto.PublicKey{keys[c.key].Public()}}
			expect(t, database(t, config), claim, 0)
			if c.key == "p521" {
				return // IPSECKEY has no form for it
			}
			algorithm, raw, err := ipseckey.Encode(keys[c.key].Public())
			if err != nil {
				t.Fatal(err)
			}
			config.Entries[0].Accept = pad.Accept{IPSECKEY: true}
			config.Resolver = &dns{owner: "peer.example", records: []ipseckey.Record{{Algorithm: algorithm, PublicKey: raw}}}
			expect(t, database(t, config), claim, 0)
		})
	}
}

func checkMethod(t *testing.T, a ikewire.AUTH, method ikewire.AuthMethod, want ikewire.SignatureAlgorithm) {
	t.Helper()
	if a.Method != method {
		t.Fatalf("signed by %s, want %s", a.Method, method)
	}
	if method != ikewire.AuthDigitalSig {
		return
	}
	der, _, err := a.DigitalSignature()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ikewire.ParseSignatureAlgorithm(der); err != nil || got != want {
		t.Errorf("signed by %s, %v, want %s", got, err, want)
	}
}

// TestPreferences: a credential's order and a peer's wishes (RFC 9593) choose among what both can.
func TestPreferences(t *testing.T) {
	c := pad.Credential{Signer: padtest.Key(t, "rsa2048")}
	for name, step := range map[string]struct {
		prefer []ikewire.SignatureAlgorithm
		wishes []ikewire.AuthAnnouncement
		want   ikewire.SignatureAlgorithm
	}{
		"our order":         {nil, nil, ikewire.SignRSAPSSSHA256},
		"another order":     {[]ikewire.SignatureAlgorithm{ikewire.SignRSAPKCS1SHA512, ikewire.SignRSAPSSSHA256}, nil, ikewire.SignRSAPKCS1SHA512},
		"a wish":            {nil, []ikewire.AuthAnnouncement{{Method: 14, Algorithm: ikewire.SignRSAPKCS1SHA256.AlgorithmIdentifier()}}, ikewire.SignRSAPKCS1SHA256},
		"a wish for any":    {nil, []ikewire.AuthAnnouncement{{Method: 14}}, ikewire.SignRSAPSSSHA256},
		"a wish in vain":    {nil, []ikewire.AuthAnnouncement{{Method: 14, Algorithm: ikewire.SignEd25519.AlgorithmIdentifier()}}, ikewire.SignRSAPSSSHA256},
		"a wish of nothing": {nil, []ikewire.AuthAnnouncement{{Method: 2}}, ikewire.SignRSAPSSSHA256},
	} {
		t.Run(name, func(t *testing.T) {
			c.Prefer = step.prefer
			claim := peer{remoteID, []pad.Credential{c}}.claim(t, func(p *pad.Proof) { p.Methods = step.wishes })
			checkMethod(t, claim.AUTH, ikewire.AuthDigitalSig, step.want)
		})
	}
}

// TestSharedKey: every PRF; the second of two secrets; and the same secret in the other role.
func TestSharedKey(t *testing.T) {
	accept := pad.Accept{Secrets: []pad.Secret{secret(t, "an older secret"), secret(t, "the secret")}}
	d := database(t, pad.Config{Entries: []pad.Entry{entry(t, "peer", remoteID, accept)}})
	for _, p := range transform.PRFs() {
		claim := peer{remoteID, []pad.Credential{{Secret: secret(t, "the secret")}}}.claim(t, func(proof *pad.Proof) { proof.PRF = p })
		claim.PRF = p
		expect(t, d, claim, 0)
		claim.Role, claim.Entry = pad.Responder, "peer"
		expect(t, d, claim, 0)
	}
}

func TestNull(t *testing.T) {
	accept := pad.Accept{Null: true}
	d := database(t, pad.Config{Entries: []pad.Entry{entry(t, "anybody", "null:", accept)}})
	claim := peer{remoteID, []pad.Credential{{Null: true}}}.claim(t)
	if v := expect(t, d, claim, 0); v.Identity.Type != ikewire.IDNull {
		t.Errorf("an anonymous peer is believed to be %s", v.Identity)
	}
	claim.Remote = ikewire.Identification{Type: ikewire.IDNull}
	expect(t, d, claim, 0)
	claim.NullKey = []byte("SK_pr")
	expect(t, d, claim, pad.BadSignature)
	claim.NullKey = nil
	expect(t, d, claim, pad.Misuse)
}

// TestNames: each ID type, in certificates that have it and that have another.
func TestNames(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	leaf := ca.Issue(t, "", "p256", func(c *x509.Certificate) {
		c.Subject = pkix.Name{Country: []string{"CH"}, Organization: []string{"Example"}, CommonName: "gw"}
		c.DNSNames, c.EmailAddresses = []string{"gw.example", "*.wild.example"}, []string{"Ops@gw.example"}
		c.IPAddresses = append(c.IPAddresses, ip("192.0.2.7"), ip("2001:db8::7"))
	})
	d := database(t, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", "any", byCA("ca"))}})
	for id, want := range map[string]pad.Code{
		"fqdn:gw.example": 0, "fqdn:GW.Example.": 0, "ipv4:192.0.2.7": 0, "ipv6:2001:db8::7": 0, "rfc822:Ops@GW.example": 0,
		"dn:CN=gw,O=Example,C=CH": 0,
		"fqdn:a.gw.example":       pad.WrongName, "fqdn:example": pad.WrongName, "ipv4:192.0.2.8": pad.WrongName,
		"ipv6:2001:db8::8": pad.WrongName, "rfc822:ops@gw.example": pad.WrongName, "dn:C=CH,O=Example,CN=gw": pad.WrongName,
		"dn:CN=gw,O=Example": pad.WrongName, "dn:CN=gw": pad.WrongName, "fqdn:gw": pad.WrongName, // no subject CN for a name
		"fqdn:a.wild.example": pad.WrongName, // a star in a certificate is no wildcard
		"keyid:gw.example":    pad.WrongName,
	} {
		t.Run(id, func(t *testing.T) {
			expect(t, d, peer{id, []pad.Credential{signer(leaf)}}.claim(t), want)
		})
	}
	for name, id := range map[string]ikewire.Identification{
		"a star":      {Type: ikewire.IDFQDN, Data: []byte("*.wild.example")},
		"NUL":         {Type: ikewire.IDFQDN, Data: []byte("gw.example\x00.evil")},
		"GN":          {Type: ikewire.IDDERASN1GN, Data: []byte{0x82, 0x02, 'g', 'w'}},
		"empty":       {Type: ikewire.IDFQDN},
		"v4 of 16":    {Type: ikewire.IDIPv4Addr, Data: make([]byte, 16)},
		"mapped":      {Type: ikewire.IDIPv6Addr, Data: netip.MustParseAddr("::ffff:192.0.2.7").AsSlice()},
		"bad DER":     {Type: ikewire.IDDERASN1DN, Data: []byte("\x30\x02\x31\x00")},
		"ID_NULL":     {Type: ikewire.IDNull},
		"FC":          {Type: ikewire.IDFCName, Data: []byte("x")},
		"long key ID": {Type: ikewire.IDKeyID, Data: make([]byte, 2000)},
	} {
		t.Run(name, func(t *testing.T) {
			claim := peer{remoteID, []pad.Credential{signer(leaf)}}.claim(t)
			claim.Remote = id
			expect(t, d, claim, pad.BadIdentity)
		})
	}
}
