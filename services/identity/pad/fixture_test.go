package pad_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/ipseckey"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/identity/pad/revocation"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

const (
	remoteID = "fqdn:peer.example"
	localID  = "fqdn:us.example"
	octets   = "what the peer's AUTH covers"
)

func identity(t testing.TB, s string) ikewire.Identification {
	t.Helper()
	id, err := pad.ParseIdentity(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func pattern(t testing.TB, s string) pad.Pattern {
	t.Helper()
	p, err := pad.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func secret(t testing.TB, s string) pad.Secret {
	t.Helper()
	made, err := pad.NewSecret([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func prf(t testing.TB) transform.PRF {
	t.Helper()
	p, err := transform.PRFByID(transform.PRFHMACSHA2_256)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func database(t testing.TB, c pad.Config) *pad.Database {
	t.Helper()
	if c.Revocation == nil {
		c.Revocation = revocation.New(nil)
	}
	d, err := pad.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// entry is a peer with our usual identity and a secret to prove it.
func entry(t testing.TB, name, remote string, accept pad.Accept) pad.Entry {
	return pad.Entry{Name: name, Remote: pattern(t, remote), Accept: accept, Local: pad.Local{
		ID: identity(t, localID), Credentials: []pad.Credential{{Secret: secret(t, "the secret that proves who we are")}}}}
}

// peer is the other end: it proves an identity by credentials.
type peer struct {
	id          string
	credentials []pad.Credential
}

// claim is what the peer says to us, as initiator. The edits change what it proves with.
func (p peer) claim(t testing.TB, edits ...func(*pad.Proof)) pad.Claim {
	t.Helper()
	d := database(t, pad.Config{Entries: []pad.Entry{{
		Name: "us", Remote: pad.AnyIdentity(), Accept: pad.Accept{Secrets: []pad.Secret{secret(t, "x")}},
		Local: pad.Local{ID: identity(t, p.id), Credentials: p.credentials},
	}}})
	proof := pad.Proof{Entry: "us", SignedOctets: []byte(octets), PRF: prf(t), PeerHashes: pad.Announce(), NullKey: []byte("SK_pi")}
	for _, e := range edits {
		e(&proof)
	}
	a, err := d.Prove(proof)
	if err != nil {
		t.Fatal(err)
	}
	return pad.Claim{
		Host: "h1", Role: pad.Initiator, Remote: identity(t, p.id), AUTH: a.Payload, Certs: a.Certs, SignedOctets: []byte(octets),
		PRF: prf(t), NullKey: []byte("SK_pi"), Announced: pad.Announce(), Source: netip.MustParseAddr("192.0.2.7"), Now: padtest.Now(),
	}
}

// signer is a credential of a certificate and the CAs above it.
func signer(c padtest.Cert, above ...padtest.Cert) pad.Credential {
	made := pad.Credential{Signer: c.Key, Chain: []*x509.Certificate{c.Certificate}}
	for _, a := range above {
		made.Chain = append(made.Chain, a.Certificate)
	}
	return made
}

func authority(name string, c padtest.Cert) pad.Authority {
	return pad.Authority{Name: name, Certificates: []*x509.Certificate{c.Certificate}}
}

func byCA(names ...string) pad.Accept {
	return pad.Accept{Certificate: &pad.CertificatePolicy{Authorities: names}}
}

// named puts the usual identity into a certificate.
func named(c *x509.Certificate) { c.DNSNames = []string{"peer.example"} }

// dns is a resolver that knows one owner.
type dns struct {
	owner   string
	records []ipseckey.Record
	err     error
	asked   []string
}

func (d *dns) Lookup(_ context.Context, owner string) (ipseckey.Answer, error) {
	d.asked = append(d.asked, owner)
	if d.err == nil && owner != d.owner {
		return ipseckey.Answer{}, fmt.Errorf("%w: %s", ipseckey.ErrNoRecord, owner)
	}
	if d.err != nil {
		return ipseckey.Answer{}, d.err
	}
	return ipseckey.Answer{Owner: owner, Records: d.records}, nil
}

// expect wants a code, 0 for an authorised peer.
func expect(t testing.TB, d *pad.Database, c pad.Claim, want pad.Code) pad.Verdict {
	t.Helper()
	v := d.Verify(t.Context(), c)
	var got pad.Code
	if v.Refusal != nil {
		got = v.Refusal.Code
	}
	if got != want || v.Authorised() != (want == 0) {
		t.Errorf("got %q, want %q: %v", got, want, v.Refusal)
	}
	if want != 0 && (v.Entry.Name != "" || len(v.Selectors) > 0 || v.Refusal != nil && v.Refusal.Reason == "") {
		t.Errorf("a refusal with an entry, or without a reason: %+v", v)
	}
	if v.Notify() != ikewire.AuthenticationFailed {
		t.Errorf("the peer is told %s", v.Notify())
	}
	return v
}

func ip(s string) net.IP { return net.IP(netip.MustParseAddr(s).AsSlice()) }
