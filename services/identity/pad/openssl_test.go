package pad_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/identity/pad/revocation"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// openssl runs the command in a folder of its own.
type openssl struct {
	t    *testing.T
	path string
	dir  string
}

func newOpenSSL(t *testing.T) openssl {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	return openssl{t, path, t.TempDir()}
}

func (o openssl) run(args ...string) {
	o.t.Helper()
	cmd := exec.Command(o.path, args...)
	cmd.Dir = o.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		o.t.Fatalf("openssl %q: %v\n%s", args, err, out)
	}
}

func (o openssl) write(name string, b []byte) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), b, 0o600); err != nil {
		o.t.Fatal(err)
	}
}

func (o openssl) read(name string) []byte {
	o.t.Helper()
	b, err := os.ReadFile(filepath.Join(o.dir, name))
	if err != nil {
		o.t.Fatal(err)
	}
	return b
}

// der reads a PEM file.
func (o openssl) der(name string) []byte {
	o.t.Helper()
	block, _ := pem.Decode(o.read(name))
	if block == nil {
		o.t.Fatalf("%s is no PEM", name)
	}
	return block.Bytes
}

func (o openssl) cert(name string) *x509.Certificate {
	o.t.Helper()
	c, err := x509.ParseCertificate(o.der(name))
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

// key writes a key for openssl: private and public.
func (o openssl) key(k crypto.Signer) {
	o.t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		o.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		o.t.Fatal(err)
	}
	o.write("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	o.write("pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

// TestSignaturesAgainstOpenSSL: openssl verifies what we sign, and we what it signs, by every algorithm of method 14.
func TestSignaturesAgainstOpenSSL(t *testing.T) {
	o := newOpenSSL(t)
	o.write("octets", []byte(octets))
	pss := []string{"-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest", "-pkeyopt", "rsa_mgf1_md:"}
	for _, c := range []struct {
		key       string
		algorithm ikewire.SignatureAlgorithm
		hash      string
		pss       bool
	}{
		{"rsa2048", ikewire.SignRSAPKCS1SHA256, "sha256", false}, {"rsa2048", ikewire.SignRSAPKCS1SHA384, "sha384", false},
		{"rsa3072", ikewire.SignRSAPKCS1SHA512, "sha512", false}, {"rsa2048", ikewire.SignRSAPSSSHA256, "sha256", true},
		{"rsa2048", ikewire.SignRSAPSSSHA384, "sha384", true}, {"rsa3072", ikewire.SignRSAPSSSHA512, "sha512", true},
		{"p256", ikewire.SignECDSASHA256, "sha256", false}, {"p384", ikewire.SignECDSASHA384, "sha384", false},
		{"p521", ikewire.SignECDSASHA512, "sha512", false}, {"p521", ikewire.SignECDSASHA256, "sha256", false},
		{"ed25519", ikewire.SignEd25519, "", false},
	} {
		t.Run(c.key+" "+c.algorithm.String(), func(t *testing.T) {
			o := openssl{t, o.path, o.dir}
			key := padtest.Key(t, c.key)
			o.key(key)
			options := []string{"-rawin", "-in", "octets"}
			if c.hash != "" {
				options = append(options, "-digest", c.hash)
			}
			if c.pss {
				options = append(append(options, pss[:5]...), pss[5]+c.hash)
			}
			o.run(append([]string{"pkeyutl", "-sign", "-inkey", "key", "-out", "theirs"}, options...)...)
			d := pinned(t, key.Public())
			expect(t, d, signed(t, ikewire.AuthDigitalSig, c.algorithm.AlgorithmIdentifier(), o.read("theirs")), 0)
			claim := peer{remoteID, []pad.Credential{{Signer: key, Prefer: []ikewire.SignatureAlgorithm{c.algorithm}}}}.claim(t)
			_, ours, err := claim.AUTH.DigitalSignature()
			if err != nil {
				t.Fatal(err)
			}
			o.write("ours", ours)
			o.run(append([]string{"pkeyutl", "-verify", "-pubin", "-inkey", "pub", "-sigfile", "ours"}, options...)...)
		})
	}
}

// TestSharedKeyAgainstOpenSSL: prf(prf(secret, "Key Pad for IKEv2"), octets) of RFC 7296 section 2.15 with
// HMAC-SHA2-256, computed by openssl.
func TestSharedKeyAgainstOpenSSL(t *testing.T) {
	o := newOpenSSL(t)
	mac := func(key []byte, in string) []byte {
		o.write("in", []byte(in))
		o.run("dgst", "-sha256", "-mac", "HMAC", "-macopt", fmt.Sprintf("hexkey:%x", key), "-binary", "-out", "out", "in")
		return o.read("out")
	}
	want := mac(mac([]byte("the secret"), "Key Pad for IKEv2"), octets)
	claim := peer{remoteID, []pad.Credential{{Secret: secret(t, "the secret")}}}.claim(t)
	if !bytes.Equal(claim.AUTH.Data, want) {
		t.Errorf("AUTH is %x, openssl's %x", claim.AUTH.Data, want)
	}
}

// pkiConfig is what `openssl ca` needs.
const pkiConfig = `
[ca]
default_ca = d
[d]
database = index
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 7
policy = p
copy_extensions = copy
unique_subject = no
crlnumber = crlnumber
crl_extensions = crl
[p]
organizationName = optional
commonName = supplied
[req]
distinguished_name = n
[n]
[v3ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[crl]
authorityKeyIdentifier = keyid:always
`

// TestPKIOfOpenSSL: a CA, certificates, a CRL and OCSP responses made by openssl.
func TestPKIOfOpenSSL(t *testing.T) {
	o := newOpenSSL(t)
	o.write("cnf", []byte(pkiConfig))
	o.write("index", nil)
	o.write("serial", []byte("1000\n"))
	o.write("crlnumber", []byte("01\n"))
	o.run("req", "-x509", "-newkey", "rsa:3072", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "60", "-config", "cnf",
		"-extensions", "v3ca", "-subj", "/O=Example/CN=ca")
	issue := func(name, extension string) {
		o.run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name+".key", "-out", name+".csr",
			"-config", "cnf", "-subj", "/O=Example/CN="+name, "-addext", extension)
		o.run("ca", "-batch", "-notext", "-config", "cnf", "-in", name+".csr", "-out", name+".pem")
	}
	issue("good", "subjectAltName = DNS:peer.example, IP:192.0.2.7")
	issue("gone", "subjectAltName = DNS:peer.example")
	issue("responder", "extendedKeyUsage = OCSPSigning")
	o.run("ca", "-config", "cnf", "-revoke", "gone.pem")
	o.run("ca", "-config", "cnf", "-gencrl", "-out", "crl.pem")
	response := func(name string) []byte {
		o.run("ocsp", "-issuer", "ca.pem", "-cert", name+".pem", "-no_nonce", "-reqout", "request")
		o.run("ocsp", "-index", "index", "-CA", "ca.pem", "-rsigner", "responder.pem", "-rkey", "responder.key", "-reqin", "request",
			"-respout", "response", "-ndays", "1")
		return o.read("response")
	}
	stapled := map[string][]byte{"good": response("good"), "gone": response("gone")}
	crl, err := revocation.ParseCRL(o.der("crl.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]pad.Code{"good": 0, "gone": pad.RevokedCertificate} {
		for _, by := range []string{"CRL", "OCSP"} {
			accept := byCA("ca")
			accept.Certificate.Revocation = revocation.Strict
			a := pad.Authority{Name: "ca", Certificates: []*x509.Certificate{o.cert("ca.pem")}}
			key, err := x509.ParsePKCS8PrivateKey(o.der(name + ".key"))
			if err != nil {
				t.Fatal(err)
			}
			credential := pad.Credential{Signer: key.(crypto.Signer), Chain: []*x509.Certificate{o.cert(name + ".pem")}}
			asks := func(*pad.Proof) {}
			if by == "CRL" {
				a.CRLs = []*revocation.CRL{crl}
			} else {
				credential.Staple = stapled[name]
				asks = func(p *pad.Proof) { p.Requests = []ikewire.CERTREQ{{Encoding: ikewire.CertOCSPContent}} }
			}
			d := database(t, pad.Config{Authorities: []pad.Authority{a}, Entries: []pad.Entry{entry(t, "peer", "any", accept)}})
			for _, id := range []string{remoteID, "dn:CN=" + name + ",O=Example"} {
				claim := peer{id, []pad.Credential{credential}}.claim(t, asks)
				claim.Now = time.Now().Add(time.Second)
				expect(t, d, claim, want)
			}
		}
	}
}
