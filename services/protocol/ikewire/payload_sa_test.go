package ikewire

import (
	"strings"
	"testing"
)

// A proposal as strongSwan sends it for aes256-sha256-x25519 and an ESP one with ESN.
const (
	saIKE = `00 00 00 2c 01 01 00 04
		03 00 00 0c 01 00 00 0c 80 0e 01 00
		03 00 00 08 03 00 00 0c
		03 00 00 08 02 00 00 05
		00 00 00 08 04 00 00 1f`
	saESP = `02 00 00 28 01 03 04 03 c0 de ca fe
		03 00 00 0c 01 00 00 14 80 0e 00 80
		03 00 00 08 05 00 00 01
		00 00 00 08 06 00 00 24
		00 00 00 1c 02 03 04 02 c0 de ca fe
		03 00 00 08 01 00 00 1c
		00 00 00 08 05 00 00 00`
	// Transform type 241, attribute 99 as TLV, attribute 14 as TLV, an unknown protocol
	// without transforms: all kept.
	saUnknown = `02 00 00 24 01 03 04 02 00 00 01 00
		03 00 00 0c f1 00 ff ff 80 63 12 34
		00 00 00 0c 01 00 00 14 00 0e 00 00
		00 00 00 0a 02 c9 02 00 ab cd`
)

func saCases() []payloadCase {
	spi := []byte{0xc0, 0xde, 0xca, 0xfe}
	return []payloadCase{
		{"IKE", SA{[]Proposal{{1, ProtocolIKE, nil, []Transform{
			NewTransform(TransformENCR, 12, 256),
			NewTransform(TransformINTEG, 12, 0),
			NewTransform(TransformPRF, 5, 0),
			NewTransform(TransformKE, 31, 0),
		}}}}, saIKE},
		{"ESP", SA{[]Proposal{
			{1, ProtocolESP, spi, []Transform{
				NewTransform(TransformENCR, 20, 128),
				NewTransform(TransformSN, 1, 0),
				NewTransform(TransformADDKE1, 36, 0),
			}},
			{2, ProtocolESP, spi, []Transform{
				NewTransform(TransformENCR, 28, 0),
				NewTransform(TransformSN, 0, 0),
			}},
		}}, saESP},
		{"unknown", SA{[]Proposal{
			{1, ProtocolESP, []byte{0, 0, 1, 0}, []Transform{
				{241, 0xffff, []Attribute{{Type: 99, Value: []byte{0x12, 0x34}}}},
				{TransformENCR, 20, []Attribute{{Type: 14, TLV: true, Value: nil}}},
			}},
			{2, 201, []byte{0xab, 0xcd}, nil},
		}}, saUnknown},
	}
}

func TestSA(t *testing.T) { checkPayloads(t, saCases()) }

func TestSARefuses(t *testing.T) {
	checkRefused(t, PayloadSA, []refusedCase{
		{"empty", "", ErrLength},
		{"half a header", "00 00 00", ErrTruncated},
		{"Last Substruc 1", "01 00 00 2c" + saIKE[11:], ErrValue},
		{"not the last, but nothing follows", "02 00 00 2c" + saIKE[11:], ErrValue},
		{"the last, but more follows", saIKE + saIKE, ErrValue},
		{"proposal length 3", "00 00 00 03", ErrLength},
		{"proposal longer than the payload", "00 00 00 2d" + saIKE[11:], ErrTruncated},
		{"SPI longer than the proposal", "00 00 00 08 01 03 04 00", ErrTruncated},
		{"IKE without transforms", "00 00 00 08 01 01 00 00", ErrLength},
		{"ESP without transforms", "00 00 00 0c 01 03 04 00 c0 de ca fe", ErrLength},
		{"ESP with an SPI of 8 bytes", "00 00 00 18 01 03 08 01 00 00 00 00 c0 de ca fe 00 00 00 08 01 00 00 14", ErrLength},
		{"IKE with an SPI of 4 bytes", "00 00 00 14 01 01 04 01 c0 de ca fe 00 00 00 08 01 00 00 14", ErrLength},
		{"fewer transforms than counted", "00 00 00 10 01 01 00 02 00 00 00 08 01 00 00 14", ErrValue},
		{"more transforms than counted", "00 00 00 18 01 01 00 01 00 00 00 08 01 00 00 14 00 00 00 08 01 00 00 14", ErrTrailing},
		{"transform length 7", "00 00 00 0f 01 01 00 01 00 00 00 07 01 00 00", ErrTruncated},
		{"transform mark 2", "00 00 00 18 01 01 00 02 02 00 00 08 01 00 00 14 00 00 00 08 01 00 00 14", ErrValue},
		{"attribute of one byte", "00 00 00 11 01 01 00 01 00 00 00 09 01 00 00 14 80", ErrTruncated},
		{"TV attribute without value", "00 00 00 12 01 01 00 01 00 00 00 0a 01 00 00 14 80 0e", ErrTruncated},
		{"TLV attribute past the end", "00 00 00 14 01 01 00 01 00 00 00 0c 01 00 00 14 00 0e 00 01", ErrTruncated},
		{"17 attributes", "00 00 00 54 01 01 00 01 00 00 00 4c 01 00 00 14" + strings.Repeat("80 0e 00 80", 17), ErrTooMany},
		{"129 proposals", strings.Repeat("02 00 00 08 01 c9 00 00", 128) + "00 00 00 08 01 c9 00 00", ErrTooMany},
	})
}

func TestSAIsNotSent(t *testing.T) {
	one := []Transform{NewTransform(TransformENCR, 20, 128)}
	proposal := func(p Proposal) Payload { return SA{[]Proposal{p}} }
	checkUnsendable(t, []unsendableCase{
		{"empty", SA{}, ErrLength},
		{"129 proposals", SA{make([]Proposal, 129)}, ErrTooMany},
		{"256 transforms", proposal(Proposal{Protocol: ProtocolIKE, Transforms: make([]Transform, 256)}), ErrTooMany},
		{"no SPI", proposal(Proposal{Protocol: ProtocolESP, Transforms: one}), ErrLength},
		{"long SPI", proposal(Proposal{Protocol: 77, SPI: make([]byte, 256)}), ErrLength},
		{"no transform", proposal(Proposal{Protocol: ProtocolAH, SPI: make([]byte, 4)}), ErrLength},
		{"17 attributes", proposal(Proposal{Transforms: []Transform{{Attributes: make([]Attribute, 17)}}}), ErrTooMany},
		{"TV of 3 bytes", proposal(Proposal{Transforms: []Transform{{Attributes: []Attribute{{Value: make([]byte, 3)}}}}}), ErrLength},
		{"attribute type of 16 bits", proposal(Proposal{Transforms: []Transform{{Attributes: []Attribute{{Type: 0x8000, TLV: true}}}}}), ErrValue},
		{"too long", proposal(Proposal{Transforms: []Transform{{Attributes: []Attribute{{TLV: true, Value: make([]byte, 0xffff)}}}}}), ErrTooLong},
	})
}

func TestKeyBits(t *testing.T) {
	key := func(tlv bool, value ...byte) Attribute { return Attribute{Type: 14, TLV: tlv, Value: value} }
	for _, c := range []struct {
		name  string
		attrs []Attribute
		bits  uint16
		ok    bool
	}{
		{"none", nil, 0, true},
		{"256", []Attribute{key(false, 1, 0)}, 256, true},
		{"zero", []Attribute{key(false, 0, 0)}, 0, false},
		{"TLV", []Attribute{key(true, 1, 0)}, 0, false},
		{"twice", []Attribute{key(false, 1, 0), key(false, 1, 0)}, 0, false},
		{"another", []Attribute{{Type: 15, Value: []byte{1, 0}}}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if bits, ok := (Transform{Attributes: c.attrs}).KeyBits(); bits != c.bits || ok != c.ok {
				t.Errorf("got %d, %v; want %d, %v", bits, ok, c.bits, c.ok)
			}
		})
	}
}

func TestTransformString(t *testing.T) {
	for want, transform := range map[string]Transform{
		"ENCR_AES_CBC 256":       NewTransform(TransformENCR, 12, 256),
		"PRF_HMAC_SHA2_512":      NewTransform(TransformPRF, 7, 0),
		"AUTH_HMAC_SHA2_256_128": NewTransform(TransformINTEG, 12, 0),
		"KE MODP-1024":           NewTransform(TransformKE, 2, 0),
		"ADDKE2 ML-KEM-1024":     NewTransform(TransformADDKE2, 37, 0),
		"ESN":                    NewTransform(TransformSN, 1, 0),
		"KE 4711":                NewTransform(TransformKE, 4711, 0),
		"transform type 99 7 with unknown attributes": {99, 7, []Attribute{{Type: 1, Value: []byte{0, 0}}}},
	} {
		if got := transform.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzSA(f *testing.F) { fuzzPayload(f, PayloadSA, saIKE, saESP, saUnknown) }
