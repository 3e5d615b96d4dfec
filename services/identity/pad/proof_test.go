package pad_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// TestSecretsRedactThemselves: in every way that something is printed, logged or encoded.
func TestSecretsRedactThemselves(t *testing.T) {
	const text = "correct horse battery staple"
	s := secret(t, text)
	e := entry(t, "peer", remoteID, pad.Accept{Secrets: []pad.Secret{s}})
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&shown, verb+verb+verb, s, &s, e)
	}
	raw, err := json.Marshal(map[string]any{"s": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(raw)
	slog.New(slog.NewTextHandler(&shown, nil)).Info("x", "s", s, "e", e)
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("x", "s", s)
	shown.WriteString(s.String())
	for _, leak := range []string{text, fmt.Sprintf("%x", text), "correct", fmt.Sprint([]byte(text))[1:20]} {
		if strings.Contains(shown.String(), leak) {
			t.Errorf("%q is shown in %s", leak, shown.String())
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 1025)} {
		if _, err := pad.NewSecret(b); err == nil {
			t.Errorf("a secret of %d bytes", len(b))
		}
	}
	own := []byte(text)
	if s, err = pad.NewSecret(own); err != nil {
		t.Fatal(err)
	}
	clear(own)
	expect(t, database(t, pad.Config{Entries: []pad.Entry{entry(t, "peer", remoteID, pad.Accept{Secrets: []pad.Secret{s}})}}),
		peer{remoteID, []pad.Credential{{Secret: secret(t, text)}}}.claim(t), 0)
}

func TestStrength(t *testing.T) {
	for s, strong := range map[string]bool{
		"secret": false, "19 bytes are too few": true, "aaaaaaaaaaaaaaaaaaaaaaaaaaaa": false, "0123456789012345678901234567": true, "abcabcabcabcabcabcabcabcabc": false,
	} {
		if err := secret(t, s).CheckStrength(); (err == nil) != strong {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	ca := padtest.NewCA(t, "ca", func(c *x509.Certificate) { c.NotAfter = padtest.Now().Add(-time.Second) })
	leaf := ca.Issue(t, "p", "p256", named)
	weak := entry(t, "weak", "fqdn:*.example", keyed(t, "secret"))
	certified := entry(t, "certified", "gw.example", byCA("ca"))
	certified.Local.Credentials = []pad.Credential{signer(leaf)}
	bare := entry(t, "bare", "a.example", keyed(t, "a secret that is long enough for us"))
	bare.Local.Credentials = nil
	fine := entry(t, "fine", "b.example", keyed(t, "another secret that is long enough"))
	d := database(t, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{weak, certified, bare, fine}})
	got := d.Warnings(padtest.Now())
	for _, want := range []string{
		"peer weak: the pre-shared key has 6 bytes", "peer weak: whoever has", "peer certified: the authority's certificate \"CN=ca\" has expired",
		"peer certified: our certificate \"CN=p\" expires", "peer certified: our identity is fqdn:us.example, and", "peer bare: we have no credential",
	} {
		if !slices.ContainsFunc(got, func(w string) bool { return strings.HasPrefix(w, want) }) {
			t.Errorf("no warning %q in %q", want, got)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d warnings: %q", len(got), got)
	}
}

// TestCertRequests: what we ask for, and which of our credentials answers what a peer asks for.
func TestCertRequests(t *testing.T) {
	one, two := padtest.NewCA(t, "one"), padtest.NewCA(t, "two")
	a, b := entry(t, "a", "a.example", byCA("one")), entry(t, "b", "b.example", byCA("one", "two"))
	a.Hosts, b.Hosts = []string{"h1"}, []string{"h2"}
	raw := entry(t, "raw", "raw.example", pad.Accept{Keys: []crypto.PublicKey{padtest.Key(t, "p256").Public()}})
	raw.Hosts = []string{"h2"}
	d := database(t, pad.Config{Authorities: []pad.Authority{authority("one", one), authority("two", two)}, Entries: []pad.Entry{a, b, raw}})
	for _, c := range []struct {
		host, entry string
		authorities []padtest.Cert
		encodings   []ikewire.CertEncoding
	}{
		{"h1", "", []padtest.Cert{one}, []ikewire.CertEncoding{4, 14}},
		{"h2", "", []padtest.Cert{one, two}, []ikewire.CertEncoding{4, 14, 15}},
		{"h2", "raw", nil, []ikewire.CertEncoding{15}},
		{"h3", "", nil, nil},
	} {
		var encodings []ikewire.CertEncoding
		for _, r := range d.CertRequests(c.host, c.entry) {
			encodings = append(encodings, r.Encoding)
			if r.Encoding != ikewire.CertX509Signature {
				continue
			}
			hashes, err := r.Authorities()
			if err != nil || len(hashes) != len(c.authorities) {
				t.Errorf("%s %s: authorities %x, %v", c.host, c.entry, hashes, err)
			}
			for i, ca := range c.authorities {
				if hashes[i] != ikewire.HashKey(ca.RawSubjectPublicKeyInfo) {
					t.Errorf("%s %s: authority %d is %x", c.host, c.entry, i, hashes[i])
				}
			}
		}
		if !slices.Equal(encodings, c.encodings) {
			t.Errorf("%s %s: asks for %v", c.host, c.entry, encodings)
		}
	}
	below := two.Sub(t, "below")
	first, second := one.Issue(t, "p1", "p256", named), below.Issue(t, "p2", "p256", named)
	both := peer{remoteID, []pad.Credential{signer(first, one), signer(second, below, two)}}
	for ca, want := range map[*x509.Certificate][]string{one.Certificate: {"CN=p1"}, two.Certificate: {"CN=p2", "CN=below"}, padtest.NewCA(t, "x").Certificate: {"CN=p1"}} {
		claim := both.claim(t, func(p *pad.Proof) {
			p.Requests = []ikewire.CERTREQ{ikewire.NewCERTREQ(ikewire.CertX509Signature, []ikewire.KeyHash{ikewire.HashKey(ca.RawSubjectPublicKeyInfo)})}
		})
		var got []string
		for _, c := range claim.Certs {
			x, err := x509.ParseCertificate(c.Data)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, x.Subject.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("asked for %s: sent %q, want %q", ca.Subject, got, want)
		}
	}
}

// faulty is a signer that errs.
type faulty struct {
	crypto.Signer
	err error
}

func (f faulty) Sign(random io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	s, err := f.Signer.Sign(random, digest, o)
	s[len(s)-1] ^= 1
	return s, err
}

// TestProofRefused: nothing wrong leaves, and the next credential is tried.
func TestProofRefused(t *testing.T) {
	key := padtest.Key(t, "rsa2048")
	prove := func(hashes []ikewire.HashAlgorithm, all ...pad.Credential) (pad.AUTH, error) {
		e := entry(t, "peer", remoteID, keyed(t, "x"))
		e.Local.Credentials = all
		return database(t, pad.Config{Entries: []pad.Entry{e}}).Prove(pad.Proof{Entry: "peer", SignedOctets: []byte(octets), PRF: prf(t), PeerHashes: hashes})
	}
	for name, c := range map[string]struct {
		hashes     []ikewire.HashAlgorithm
		credential pad.Credential
	}{
		"a signature of a fault":  {pad.Announce(), pad.Credential{Signer: faulty{key, nil}}},
		"the same, method 1":      {nil, pad.Credential{Signer: faulty{key, nil}}},
		"the same, method 9":      {nil, pad.Credential{Signer: faulty{padtest.Key(t, "p256"), nil}}},
		"a signer away":           {pad.Announce(), pad.Credential{Signer: faulty{key, io.ErrUnexpectedEOF}}},
		"Ed25519 not announced":   {[]ikewire.HashAlgorithm{ikewire.HashSHA256}, pad.Credential{Signer: padtest.Key(t, "ed25519")}},
		"only what is not wanted": {[]ikewire.HashAlgorithm{ikewire.HashSHA256}, pad.Credential{Signer: key, Prefer: []ikewire.SignatureAlgorithm{ikewire.SignRSAPSSSHA512}}},
		"NULL without SK_p":       {nil, pad.Credential{Null: true}},
	} {
		if a, err := prove(c.hashes, c.credential); !errors.Is(err, pad.ErrProof) || len(a.Payload.Data) > 0 {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if a, err := prove(c.hashes, c.credential, pad.Credential{Secret: secret(t, "x")}); err != nil || a.Payload.Method != ikewire.AuthSharedKey {
			t.Errorf("%s, and a secret: %+v, %v", name, a, err)
		}
	}
}

// FuzzClaim: nothing that a peer sends crashes, and nothing but the right signature authorises.
func FuzzClaim(f *testing.F) {
	ca := padtest.NewCA(f, "ca")
	accept := byCA("ca")
	accept.Secrets = []pad.Secret{secret(f, "the secret")}
	d := database(f, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(f, "peer", "any", accept)}})
	good := peer{remoteID, []pad.Credential{signer(ca.Issue(f, "p", "p256", named))}}.claim(f)
	f.Add(uint8(good.Remote.Type), good.Remote.Data, uint8(good.AUTH.Method), good.AUTH.Data, uint8(4), good.Certs[0].Data, uint8(14), []byte{0x30, 0})
	f.Fuzz(func(t *testing.T, kind uint8, id []byte, method uint8, auth []byte, e1 uint8, c1 []byte, e2 uint8, c2 []byte) {
		claim := good
		claim.Remote = ikewire.Identification{Type: ikewire.IDType(kind), Data: id}
		claim.AUTH = ikewire.AUTH{Method: ikewire.AuthMethod(method), Data: auth}
		claim.Certs = []ikewire.CERT{{Encoding: ikewire.CertEncoding(e1), Data: c1}, {Encoding: ikewire.CertEncoding(e2), Data: c2}}
		v := d.Verify(t.Context(), claim)
		if v.Authorised() && (method != uint8(good.AUTH.Method) || !pad.SameIdentity(claim.Remote, good.Remote) && claim.Remote.Type != ikewire.IDDERASN1DN) {
			t.Fatalf("%v is authorised", claim)
		}
	})
}
