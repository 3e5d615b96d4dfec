package ikewire

import (
	"errors"
	"strings"
	"testing"
)

const (
	certDER  = "04 3082000a"
	certURL  = "0c 000102030405060708090a0b0c0d0e0f10111213 687474703a2f2f612f62"
	certOCSP = "0e 3003"
)

func TestCERT(t *testing.T) {
	checkPayloads(t, []payloadCase{
		{"X.509", CERT{CertX509Signature, unhex(t, certDER)[1:]}, certDER},
		{"hash and URL", CERT{CertHashAndURL, unhex(t, certURL)[1:]}, certURL},
		{"OCSP", CERT{CertOCSPContent, unhex(t, certOCSP)[1:]}, certOCSP},
		{"raw key", CERT{CertRawPublicKey, []byte{0x30}}, "0f 30"},
		{"unknown", CERT{200, []byte{0x30}}, "c8 30"},
	})
	checkRefused(t, PayloadCERT, []refusedCase{{"empty", "", ErrTruncated}, {"no data", "04", ErrLength}})
	checkUnsendable(t, []unsendableCase{{"no data", CERT{Encoding: CertCRL}, ErrLength}})
}

func TestHashAndURL(t *testing.T) {
	hash, url, err := CERT{CertHashAndURL, unhex(t, certURL)[1:]}.HashAndURL()
	if err != nil || url != "http://a/b" || hash[19] != 0x13 {
		t.Errorf("got %x, %q, %v", hash, url, err)
	}
	long := strings.Repeat("a", 20+2048)
	for _, c := range []struct {
		name string
		cert CERT
		want error
	}{
		{"another encoding", CERT{CertX509Signature, []byte(long)}, ErrValue},
		{"no URL", CERT{CertHashAndURL, []byte(long[:20])}, ErrLength},
		{"long URL", CERT{CertHashAndBundle, []byte(long + "a")}, ErrLength},
		{"NUL in URL", CERT{CertHashAndBundle, []byte(long[:22] + "\x00")}, ErrValue},
	} {
		if _, _, err := c.cert.HashAndURL(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func FuzzCERT(f *testing.F) { fuzzPayload(f, PayloadCERT, certDER, certURL, certOCSP) }
