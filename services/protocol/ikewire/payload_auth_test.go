package ikewire

import (
	"bytes"
	"errors"
	"testing"
)

const (
	authPSK     = "02 000000 8f1c2a"
	authEd25519 = "0e 000000 07 300506032b6570 0102030405"
)

func TestAUTH(t *testing.T) {
	checkPayloads(t, []payloadCase{
		{"shared key", AUTH{AuthSharedKey, []byte{0x8f, 0x1c, 0x2a}}, authPSK},
		{"digital signature", AUTH{AuthDigitalSig, unhex(t, authEd25519)[4:]}, authEd25519},
		{"unknown", AUTH{200, []byte{1}}, "c8 000000 01"},
	})
	checkRefused(t, PayloadAUTH, []refusedCase{
		{"half a header", "02 0000", ErrTruncated},
		{"no data", "02 000000", ErrLength},
		{"no AlgorithmIdentifier", "0e 000000 00 01", ErrLength},
		{"AlgorithmIdentifier past the end", "0e 000000 08 300506032b6570", ErrTruncated},
		{"no signature", "0e 000000 07 300506032b6570", ErrLength},
	})
	checkUnsendable(t, []unsendableCase{
		{"no data", AUTH{Method: AuthRSA}, ErrLength},
		{"no AlgorithmIdentifier", AUTH{AuthDigitalSig, []byte{0, 1}}, ErrLength},
	})
}

func TestDigitalSignature(t *testing.T) {
	algorithm, signature := SignEd25519.AlgorithmIdentifier(), []byte{1, 2, 3, 4, 5}
	p, err := NewDigitalSignature(algorithm, signature)
	if err != nil || !bytes.Equal(p.appendBody(nil), unhex(t, authEd25519)) {
		t.Fatalf("got %x, %v", p.appendBody(nil), err)
	}
	a, s, err := p.DigitalSignature()
	if err != nil || !bytes.Equal(a, algorithm) || !bytes.Equal(s, signature) {
		t.Errorf("got %x, %x, %v", a, s, err)
	}
	if _, _, err := (AUTH{AuthRSA, signature}).DigitalSignature(); !errors.Is(err, ErrValue) {
		t.Errorf("RSA: %v", err)
	}
	for _, n := range []int{0, 256} {
		if _, err := NewDigitalSignature(make([]byte, n), signature); !errors.Is(err, ErrLength) {
			t.Errorf("AlgorithmIdentifier of %d bytes: %v", n, err)
		}
	}
}

func FuzzAUTH(f *testing.F) { fuzzPayload(f, PayloadAUTH, authPSK, authEd25519) }
