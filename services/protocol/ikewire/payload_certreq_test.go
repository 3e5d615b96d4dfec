package ikewire

import (
	"errors"
	"slices"
	"testing"
)

const certreqTwo = `04 000102030405060708090a0b0c0d0e0f10111213
	da39a3ee5e6b4b0d3255bfef95601890afd80709`

func TestCERTREQ(t *testing.T) {
	first := KeyHash{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}
	authorities := []KeyHash{first, HashKey(nil)} // da39a3ee… is the SHA-1 of nothing
	request := NewCERTREQ(CertX509Signature, authorities)
	checkPayloads(t, []payloadCase{
		{"X.509", request, certreqTwo},
		{"any authority", CERTREQ{CertX509Signature, nil}, "04"},
		{"raw key", CERTREQ{CertRawPublicKey, nil}, "0f"},
		{"unknown", CERTREQ{200, []byte{1}}, "c8 01"},
	})
	checkRefused(t, PayloadCERTREQ, []refusedCase{
		{"empty", "", ErrTruncated},
		{"half a hash", "04 0001020304050607", ErrLength},
		{"21 bytes for OCSP", "0e 000102030405060708090a0b0c0d0e0f1011121314", ErrLength},
	})
	checkUnsendable(t, []unsendableCase{{"half a hash", CERTREQ{CertX509Signature, []byte{1}}, ErrLength}})

	got, err := request.Authorities()
	if err != nil || !slices.Equal(got, authorities) {
		t.Errorf("got %x, %v", got, err)
	}
	if _, err := (CERTREQ{Encoding: CertRawPublicKey}).Authorities(); !errors.Is(err, ErrValue) {
		t.Errorf("raw key: %v", err)
	}
}

func FuzzCERTREQ(f *testing.F) { fuzzPayload(f, PayloadCERTREQ, certreqTwo, "0f") }
