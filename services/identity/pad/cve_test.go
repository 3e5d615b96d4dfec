package pad_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"testing"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/identity/pad/revocation"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// More of cve_signature_test.go: faults in what a proven key counts for.

// counting says nothing of any chain, and counts how often it is asked.
type counting struct{ asked int }

func (c *counting) Check(context.Context, revocation.Query) ([]string, error) {
	c.asked++
	return nil, nil
}

// TestCVE_2023_26463_CertificateNotVerified: libtls used the key of a certificate that nothing vouched for. And
// CVE-2022-40617: URLs of such certificates were fetched.
func TestCVE_2023_26463_CertificateNotVerified(t *testing.T) {
	ca, stranger := padtest.NewCA(t, "ca"), padtest.NewCA(t, "ca")
	asked := &counting{}
	d := database(t, pad.Config{Revocation: asked, Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", remoteID, byCA("ca"))}})
	urls := func(c *x509.Certificate) {
		c.OCSPServer, c.CRLDistributionPoints = []string{"http://127.0.0.1/"}, []string{"http://127.0.0.1/"}
	}
	leaf := stranger.Issue(t, "p", "p256", named, urls)
	expect(t, d, peer{remoteID, []pad.Credential{signer(leaf)}}.claim(t), pad.UntrustedCertificate)
	expect(t, d, peer{remoteID, []pad.Credential{signer(leaf, stranger)}}.claim(t), pad.UntrustedCertificate)
	// A trusted certificate beside it, but not first, does not vouch for the signer; nor does one first whose
	// key did not sign.
	good := ca.Issue(t, "p", "p256", named, urls)
	mixed := peer{remoteID, []pad.Credential{signer(leaf)}}.claim(t)
	mixed.Certs = append(mixed.Certs, ikewire.CERT{Encoding: ikewire.CertX509Signature, Data: good.Raw})
	expect(t, d, mixed, pad.UntrustedCertificate)
	mixed.Certs[0], mixed.Certs[1] = mixed.Certs[1], mixed.Certs[0]
	expect(t, d, mixed, pad.BadSignature)
	expect(t, d, peer{remoteID, []pad.Credential{signer(ca.Issue(t, "another", "p256", urls))}}.claim(t), pad.WrongName)
	if asked.asked != 0 {
		t.Errorf("revocation was asked for %d times on the word of who is nobody", asked.asked)
	}
	expect(t, d, peer{remoteID, []pad.Credential{signer(good)}}.claim(t), 0)
	if asked.asked != 1 {
		t.Errorf("revocation was asked for %d times", asked.asked)
	}
}

// TestCVE_2022_4967_AnotherIdentity: a certificate that is valid proved any identity.
func TestCVE_2022_4967_AnotherIdentity(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	d := database(t, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{
		entry(t, "peer", remoteID, byCA("ca")), entry(t, "other", "other.example", byCA("ca"))}})
	leaf := ca.Issue(t, "other", "p256", func(c *x509.Certificate) { c.DNSNames = []string{"other.example"} })
	expect(t, d, peer{"other.example", []pad.Credential{signer(leaf)}}.claim(t), 0)
	expect(t, d, peer{remoteID, []pad.Credential{signer(leaf)}}.claim(t), pad.WrongName)
}

// TestCVE_2021_45079_NoAuthentication: a peer was let in before it had proven anything (also CVE-2015-8023,
// CVE-2019-10155's kind: data that nothing authenticated counted). Nothing but judge makes a Verdict that
// authorises.
func TestCVE_2021_45079_NoAuthentication(t *testing.T) {
	if (pad.Verdict{}).Authorised() || (pad.Verdict{Refusal: &pad.Refusal{}, Entry: pad.Entry{Name: "x"}}).Authorised() {
		t.Error("a verdict of nothing authorises")
	}
	d := database(t, pad.Config{Entries: []pad.Entry{entry(t, "peer", "any", keyed(t, "x"))}})
	for method := range 256 {
		claim := peer{remoteID, []pad.Credential{{Secret: secret(t, "x")}}}.claim(t)
		claim.AUTH = ikewire.AUTH{Method: ikewire.AuthMethod(method)}
		if d.Verify(t.Context(), claim).Authorised() {
			t.Errorf("method %d without data authorises", method)
		}
		claim.AUTH.Data = make([]byte, 32)
		if d.Verify(t.Context(), claim).Authorised() {
			t.Errorf("method %d with zeros authorises", method)
		}
	}
}

// TestCVE_2015_4171_WeakerProof: what an entry demands is demanded, in either role.
func TestCVE_2015_4171_WeakerProof(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	d := database(t, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{
		entry(t, "peer", remoteID, byCA("ca")), entry(t, "any", "any", keyed(t, "everybody's")), entry(t, "null", "null:", pad.Accept{Null: true})}})
	claim := peer{remoteID, []pad.Credential{{Secret: secret(t, "everybody's")}}}.claim(t)
	expect(t, d, claim, pad.MethodNotAccepted)
	claim.Role, claim.Entry = pad.Responder, "peer"
	expect(t, d, claim, pad.MethodNotAccepted)
	claim = peer{remoteID, []pad.Credential{{Null: true}}}.claim(t)
	claim.Role, claim.Entry = pad.Responder, "peer"
	expect(t, d, claim, pad.OtherEntry)
}

// TestCVE_2024_2357_MissingSecret and CVE-2013-2054's kind: Libreswan fell over a connection without its secret.
func TestCVE_2024_2357_MissingSecret(t *testing.T) {
	e := entry(t, "peer", remoteID, pad.Accept{Keys: []crypto.PublicKey{padtest.Key(t, "p256").Public()}})
	e.Local.Credentials = nil
	d := database(t, pad.Config{Entries: []pad.Entry{e}})
	expect(t, d, peer{remoteID, []pad.Credential{{Secret: secret(t, "x")}}}.claim(t), pad.MethodNotAccepted)
	for name, p := range map[string]pad.Proof{
		"no credential": {Entry: "peer", SignedOctets: []byte(octets), PRF: prf(t)},
		"no entry":      {Entry: "x", SignedOctets: []byte(octets), PRF: prf(t)},
		"no octets":     {Entry: "peer", PRF: prf(t)},
		"no PRF":        {Entry: "peer", SignedOctets: []byte(octets)},
	} {
		if a, err := d.Prove(p); err == nil || len(a.Payload.Data) > 0 {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}
