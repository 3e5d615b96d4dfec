package enrol_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"testing"

	"sallyport.dev/sallyport/services/protocol/enrol"
)

func TestProof(t *testing.T) {
	secret := enrol.Secret{1, 2, 3}
	exporter := make([]byte, 32)
	csr := []byte("a certificate request")
	proof := enrol.Prove(secret, exporter, csr)

	// The definition, written out once more.
	mac := hmac.New(sha256.New, secret[:])
	sum := sha256.Sum256(csr)
	mac.Write(append(append([]byte("sallyport enrolment proof 1\x00"), exporter...), sum[:]...))
	if want := [32]byte(mac.Sum(nil)); proof != want {
		t.Errorf("proof is %x, want %x", proof, want)
	}
	if !enrol.VerifyProof(secret, exporter, csr, proof[:]) {
		t.Fatal("the right proof is refused")
	}

	other := append([]byte(nil), exporter...)
	other[31] ^= 1
	flipped := proof
	flipped[0] ^= 0x80
	cases := []struct {
		name                 string
		secret               enrol.Secret
		exporter, csr, proof []byte
	}{
		{"another secret", enrol.Secret{1, 2, 4}, exporter, csr, proof[:]},
		{"another connection", secret, other, csr, proof[:]},
		{"another request", secret, exporter, []byte("x"), proof[:]},
		{"a flipped bit", secret, exporter, csr, flipped[:]},
		{"a short proof", secret, exporter, csr, proof[:31]},
		{"no proof", secret, exporter, csr, nil},
	}
	for _, c := range cases {
		if enrol.VerifyProof(c.secret, c.exporter, c.csr, c.proof) {
			t.Errorf("%s: accepted", c.name)
		}
	}
	short := enrol.Prove(secret, nil, csr)
	if enrol.VerifyProof(secret, nil, csr, short[:]) {
		t.Error("a proof without an exporter is accepted")
	}
}

func TestExporterNeedsTLS13(t *testing.T) {
	for _, cs := range []*tls.ConnectionState{nil, {}, {Version: tls.VersionTLS12, HandshakeComplete: true}, {Version: tls.VersionTLS13}} {
		if _, err := enrol.Exporter(cs); !errors.Is(err, enrol.ErrExporter) {
			t.Errorf("%+v: %v", cs, err)
		}
	}
}
