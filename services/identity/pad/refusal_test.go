package pad_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/ipseckey"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/identity/pad/revocation"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// TestCertificatesRefused: each is a certificate that the CA has signed, or a chain to it.
func TestCertificatesRefused(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	sub := ca.Sub(t, "sub")
	rsaCA := func(e padtest.Edit) padtest.Cert {
		return ca.Issue(t, "short", "rsa1024", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign; e(c) })
	}
	usage := func(u ...x509.ExtKeyUsage) padtest.Edit {
		return func(c *x509.Certificate) { named(c); c.ExtKeyUsage = u }
	}
	oid := func(o ...int) padtest.Edit {
		return func(c *x509.Certificate) { named(c); c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{o} }
	}
	constrained := ca.Sub(t, "constrained", func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"other.example"}, true
	})
	forbidden := ca.Sub(t, "forbidden", func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"peer.example"} })
	deep := ca.Sub(t, "flat", func(c *x509.Certificate) { c.MaxPathLenZero = true })
	deeper := deep.Sub(t, "deeper")
	noCA := ca.Issue(t, "no CA", "p256")
	noSign := ca.Sub(t, "no sign", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	web := ca.Sub(t, "web", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	oldCA := ca.Sub(t, "old", func(c *x509.Certificate) { c.NotAfter = padtest.Now().Add(-time.Minute) })
	short := rsaCA(func(*x509.Certificate) {})
	other := padtest.NewCA(t, "ca") // the same name, another key
	for name, c := range map[string]struct {
		chain []padtest.Cert
		want  pad.Code
	}{
		"good":                          {[]padtest.Cert{ca.Issue(t, "p", "p256", named)}, 0},
		"good, below a CA between":      {[]padtest.Cert{sub.Issue(t, "p", "p256", named), sub}, 0},
		"good, with the root":           {[]padtest.Cert{sub.Issue(t, "p", "p256", named), sub, ca}, 0},
		"without the CA between":        {[]padtest.Cert{sub.Issue(t, "p", "p256", named)}, pad.UntrustedCertificate},
		"another CA of the same name":   {[]padtest.Cert{other.Issue(t, "p", "p256", named)}, pad.UntrustedCertificate},
		"expired":                       {[]padtest.Cert{ca.Issue(t, "p", "p256", named, func(c *x509.Certificate) { c.NotAfter = padtest.Now().Add(-time.Second) })}, pad.ExpiredCertificate},
		"not yet valid":                 {[]padtest.Cert{ca.Issue(t, "p", "p256", named, func(c *x509.Certificate) { c.NotBefore = padtest.Now().Add(time.Second) })}, pad.CertificateNotYetValid},
		"expired CA":                    {[]padtest.Cert{oldCA.Issue(t, "p", "p256", named), oldCA}, pad.ExpiredCertificate},
		"a CA itself":                   {[]padtest.Cert{ca.Sub(t, "p", named)}, pad.BadCertificate},
		"below no CA":                   {[]padtest.Cert{noCA.Issue(t, "p", "p256", named), noCA}, pad.UntrustedCertificate},
		"below a CA without certSign":   {[]padtest.Cert{noSign.Issue(t, "p", "p256", named), noSign}, pad.UntrustedCertificate},
		"path too long":                 {[]padtest.Cert{deeper.Issue(t, "p", "p256", named), deeper, deep}, pad.NameNotAllowed},
		"name not permitted":            {[]padtest.Cert{constrained.Issue(t, "p", "p256", named), constrained}, pad.NameNotAllowed},
		"name excluded":                 {[]padtest.Cert{forbidden.Issue(t, "p", "p256", named), forbidden}, pad.NameNotAllowed},
		"another name":                  {[]padtest.Cert{ca.Issue(t, "peer.example", "p256")}, pad.WrongName},
		"key for encipherment":          {[]padtest.Cert{ca.Issue(t, "p", "p256", named, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })}, pad.BadCertificate},
		"key for non-repudiation":       {[]padtest.Cert{ca.Issue(t, "p", "p256", named, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment })}, 0},
		"no keyUsage":                   {[]padtest.Cert{ca.Issue(t, "p", "p256", named, func(c *x509.Certificate) { c.KeyUsage = 0 })}, 0},
		"usage any":                     {[]padtest.Cert{ca.Issue(t, "p", "p256", usage(x509.ExtKeyUsageAny))}, 0},
		"usage ipsecIKE":                {[]padtest.Cert{ca.Issue(t, "p", "p256", oid(1, 3, 6, 1, 5, 5, 7, 3, 17))}, 0},
		"usage iKEIntermediate":         {[]padtest.Cert{ca.Issue(t, "p", "p256", oid(1, 3, 6, 1, 5, 5, 8, 2, 2))}, 0},
		"usage serverAuth":              {[]padtest.Cert{ca.Issue(t, "p", "p256", usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth))}, pad.BadCertificate},
		"usage code signing":            {[]padtest.Cert{ca.Issue(t, "p", "p256", usage(x509.ExtKeyUsageCodeSigning))}, pad.BadCertificate},
		"CA between for the web":        {[]padtest.Cert{web.Issue(t, "p", "p256", named), web}, pad.BadCertificate},
		"key of 1024 bits":              {[]padtest.Cert{ca.Issue(t, "p", "rsa1024", named)}, pad.WeakKey},
		"key on P-224":                  {[]padtest.Cert{ca.Issue(t, "p", "p224", named)}, pad.WeakKey},
		"CA between with 1024 bits":     {[]padtest.Cert{short.Issue(t, "p", "p256", named), short}, pad.WeakKey},
		"unknown critical extension":    {[]padtest.Cert{ca.Issue(t, "p", "p256", named, padtest.Critical)}, pad.BadCertificate},
		"self-signed, of the CA's name": {[]padtest.Cert{padtest.NewCA(t, "ca", named, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, 0 })}, pad.UntrustedCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			d := database(t, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", remoteID, byCA("ca"))}})
			claim := signedBy(t, c.chain[0])
			for _, x := range c.chain {
				claim.Certs = append(claim.Certs, ikewire.CERT{Encoding: ikewire.CertX509Signature, Data: x.Raw})
			}
			v := expect(t, d, claim, c.want)
			if r := v.Refusal; r != nil && r.Entry != "peer" {
				t.Errorf("the refusal does not name the entry: %v", r)
			}
		})
	}
}

// signedBy is a claim signed by a key that Prove would not use.
func signedBy(t *testing.T, c padtest.Cert) pad.Claim {
	t.Helper()
	claim := peer{remoteID, []pad.Credential{{Secret: secret(t, "x")}}}.claim(t)
	hash := crypto.SHA256.New()
	hash.Write([]byte(octets))
	value, err := c.Key.Sign(nil, hash.Sum(nil), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	algorithm := ikewire.SignECDSASHA256
	if strings.HasPrefix(pad.KeyName(c.Key.Public()), "RSA") {
		algorithm = ikewire.SignRSAPKCS1SHA256
	}
	if claim.AUTH, err = ikewire.NewDigitalSignature(algorithm.AlgorithmIdentifier(), value); err != nil {
		t.Fatal(err)
	}
	return claim
}

// TestTLSUsages: certificates for the web count where the entry says so.
func TestTLSUsages(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	leaf := ca.Issue(t, "p", "p256", named, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	accept := byCA("ca")
	accept.Certificate.TLSUsages = true
	d := database(t, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", remoteID, accept)}})
	expect(t, d, peer{remoteID, []pad.Credential{signer(leaf)}}.claim(t), 0)
}

// TestConfiguredIntermediates: a peer may leave out a CA that the operator gave, which is no anchor by itself.
func TestConfiguredIntermediates(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	sub := ca.Sub(t, "sub")
	a := authority("ca", ca)
	a.Intermediates = []*x509.Certificate{sub.Certificate}
	d := database(t, pad.Config{Authorities: []pad.Authority{a}, Entries: []pad.Entry{entry(t, "peer", remoteID, byCA("ca"))}})
	v := expect(t, d, peer{remoteID, []pad.Credential{signer(sub.Issue(t, "p", "p256", named))}}.claim(t), 0)
	if !strings.Contains(v.Proof, `"CN=ca"`) {
		t.Errorf("the chain does not end at the anchor: %s", v.Proof)
	}
}

// TestClaimsRefused: one thing is wrong with each claim.
func TestClaimsRefused(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	leaf := ca.Issue(t, "p", "p256", named)
	psk, cert := pad.Accept{Secrets: []pad.Secret{secret(t, "the secret")}}, byCA("ca")
	bySecret, bySign := peer{remoteID, []pad.Credential{{Secret: secret(t, "the secret")}}}, peer{remoteID, []pad.Credential{signer(leaf)}}
	for name, c := range map[string]struct {
		accept pad.Accept
		peer   peer
		edit   func(*pad.Claim)
		want   pad.Code
	}{
		"another secret":             {psk, peer{remoteID, []pad.Credential{{Secret: secret(t, "another secret")}}}, nil, pad.WrongSecret},
		"a MAC cut short":            {psk, bySecret, func(c *pad.Claim) { c.AUTH.Data = c.AUTH.Data[:31] }, pad.WrongSecret},
		"a MAC with a byte more":     {psk, bySecret, func(c *pad.Claim) { c.AUTH.Data = append(c.AUTH.Data, 0) }, pad.WrongSecret},
		"other octets":               {psk, bySecret, func(c *pad.Claim) { c.SignedOctets = []byte("other") }, pad.WrongSecret},
		"another identity":           {psk, peer{"fqdn:x.example", bySecret.credentials}, nil, pad.UnknownIdentity},
		"an unknown one, signing":    {cert, peer{"fqdn:x.example", bySign.credentials}, nil, pad.UnknownIdentity},
		"our identity":               {psk, bySecret, func(c *pad.Claim) { c.Remote = identity(t, localID) }, pad.UnknownIdentity},
		"asks for another of ours":   {psk, bySecret, func(c *pad.Claim) { c.Local = identity(t, "fqdn:x.example") }, pad.OtherLocalIdentity},
		"a secret for a signature":   {cert, bySecret, nil, pad.MethodNotAccepted},
		"a signature for a secret":   {psk, bySign, nil, pad.MethodNotAccepted},
		"NULL for a secret":          {psk, bySecret, func(c *pad.Claim) { c.AUTH.Method = ikewire.AuthNull }, pad.UnknownIdentity},
		"EAP":                        {psk, bySecret, func(c *pad.Claim) { c.AUTH.Method = ikewire.AuthPassword }, pad.MethodUnknown},
		"DSS":                        {cert, bySign, func(c *pad.Claim) { c.AUTH.Method = ikewire.AuthDSS }, pad.MethodUnknown},
		"method 0":                   {psk, bySecret, func(c *pad.Claim) { c.AUTH.Method = 0 }, pad.MethodUnknown},
		"no AUTH data":               {psk, bySecret, func(c *pad.Claim) { c.AUTH.Data = nil }, pad.BadSignature},
		"no octets":                  {psk, bySecret, func(c *pad.Claim) { c.SignedOctets = nil }, pad.Misuse},
		"no time":                    {psk, bySecret, func(c *pad.Claim) { c.Now = time.Time{} }, pad.Misuse},
		"no PRF":                     {psk, bySecret, func(c *pad.Claim) { c.PRF = transform.PRF{} }, pad.Misuse},
		"no role":                    {psk, bySecret, func(c *pad.Claim) { c.Role = 0 }, pad.Misuse},
		"a responder nobody called":  {psk, bySecret, func(c *pad.Claim) { c.Role = pad.Responder }, pad.Misuse},
		"an entry that is not there": {psk, bySecret, func(c *pad.Claim) { c.Entry = "x" }, pad.Misuse},
		"no certificate":             {cert, bySign, func(c *pad.Claim) { c.Certs = nil }, pad.NoCertificate},
		"hash and URL":               {cert, bySign, func(c *pad.Claim) { c.Certs[0].Encoding = ikewire.CertHashAndURL }, pad.NoCertificate},
		"junk for a certificate":     {cert, bySign, func(c *pad.Claim) { c.Certs[0].Data = []byte("junk") }, pad.BadCertificate},
		"junk before a certificate":  {cert, bySign, junkFirst, pad.BadCertificate},
		"a certificate with a tail":  {cert, bySign, func(c *pad.Claim) { c.Certs[0].Data = append(c.Certs[0].Data, 0) }, pad.BadCertificate},
		"many certificates":          {cert, bySign, func(c *pad.Claim) { c.Certs = append(c.Certs, make([]ikewire.CERT, 16)...) }, pad.TooManyCertificates},
		"a long certificate":         {cert, bySign, func(c *pad.Claim) { c.Certs[0].Data = make([]byte, 1<<15) }, pad.TooManyCertificates},
		"another's certificate":      {cert, bySign, func(c *pad.Claim) { c.Certs[0].Data = ca.Issue(t, "p", "p256", named).Raw }, pad.BadSignature},
		"a hash not announced":       {cert, bySign, func(c *pad.Claim) { c.Announced = []ikewire.HashAlgorithm{ikewire.HashSHA512} }, pad.HashNotAnnounced},
		"nothing announced":          {cert, bySign, func(c *pad.Claim) { c.Announced = nil }, pad.HashNotAnnounced},
		"junk for an algorithm":      {cert, bySign, func(c *pad.Claim) { c.AUTH.Data[3] ^= 1 }, pad.BadAlgorithm},
		"no signature behind it":     {cert, bySign, func(c *pad.Claim) { c.AUTH.Data = c.AUTH.Data[:1+c.AUTH.Data[0]] }, pad.BadAlgorithm},
		"a signature cut short":      {cert, bySign, func(c *pad.Claim) { c.AUTH.Data = c.AUTH.Data[:len(c.AUTH.Data)-1] }, pad.BadSignature},
		"a signature with a tail":    {cert, bySign, func(c *pad.Claim) { c.AUTH.Data = append(c.AUTH.Data, 0) }, pad.BadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			d := database(t, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", remoteID, c.accept)}})
			claim := c.peer.claim(t)
			if c.edit != nil {
				expect(t, d, claim, 0) // the edit is all that is wrong
				c.edit(&claim)
			}
			expect(t, d, claim, c.want)
		})
	}
}

func junkFirst(c *pad.Claim) {
	c.Certs = append([]ikewire.CERT{{Encoding: ikewire.CertX509Signature, Data: []byte("junk")}}, c.Certs...)
}

// TestRevocation: the peer's own word, the operator's CRL, and what the policy makes of silence.
func TestRevocation(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	leaf := ca.Issue(t, "p", "p256", named)
	good, gone := ca.OCSP(t, ca, leaf, nil), ca.CRL(t, nil, leaf)
	for name, c := range map[string]struct {
		policy revocation.Policy
		sent   []ikewire.CERT
		crl    []byte
		want   pad.Code
		notes  int
	}{
		"silence":               {revocation.IfAvailable, nil, nil, 0, 1},
		"silence, strict":       {revocation.Strict, nil, nil, pad.RevocationUnknown, 0},
		"good in band":          {revocation.Strict, []ikewire.CERT{{Encoding: ikewire.CertOCSPContent, Data: good}}, nil, 0, 0},
		"revoked in band":       {revocation.IfAvailable, []ikewire.CERT{{Encoding: ikewire.CertCRL, Data: gone}}, nil, pad.RevokedCertificate, 0},
		"revoked by the CRL":    {revocation.IfAvailable, []ikewire.CERT{{Encoding: ikewire.CertOCSPContent, Data: good}}, gone, pad.RevokedCertificate, 0},
		"not listed by the CRL": {revocation.Strict, nil, ca.CRL(t, nil), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, accept := authority("ca", ca), byCA("ca")
			accept.Certificate.Revocation = c.policy
			if c.crl != nil {
				crl, err := revocation.ParseCRL(c.crl)
				if err != nil {
					t.Fatal(err)
				}
				a.CRLs = append(a.CRLs, crl)
			}
			d := database(t, pad.Config{Authorities: []pad.Authority{a}, Entries: []pad.Entry{entry(t, "peer", remoteID, accept)}})
			claim := peer{remoteID, []pad.Credential{signer(leaf)}}.claim(t)
			claim.Certs = append(claim.Certs, c.sent...)
			if v := expect(t, d, claim, c.want); len(v.Notes) != c.notes {
				t.Errorf("notes %q", v.Notes)
			}
		})
	}
}

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

func TestCodesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for c := pad.BadIdentity; c <= pad.Misuse; c++ {
		if s := c.String(); s == "" || strings.HasPrefix(s, "code ") || seen[s] {
			t.Errorf("code %d is called %q", uint8(c), s)
		}
		seen[c.String()] = true
	}
	if pad.Code(0).String() != "code 0" || pad.Misuse.String() != "misuse" || (pad.Misuse+1).String() == "misuse" {
		t.Error("codes out of range have names")
	}
	var r error = &pad.Refusal{Entry: "a", Reason: "b", Remedy: "c"}
	if r.Error() != "peer a: b; c" || !errors.As(r, new(*pad.Refusal)) || bytes.Contains([]byte(r.Error()), []byte("%!")) {
		t.Errorf("a refusal reads %q", r)
	}
}
