package pad_test

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/identity/pad/revocation"
	"sallyport.dev/sallyport/services/protocol/ikewire"
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
