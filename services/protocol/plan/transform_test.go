package plan

import (
	"errors"
	"testing"

	"sallyport.dev/sallyport/services/protocol/transform"
)

func TestParseTransform(t *testing.T) {
	for _, tt := range []struct {
		proposal string
		insecure bool
		want     Transform
		shown    string
	}{
		{"aes256gcm16", false, Transform{ID: 20, KeyBits: 256, ESN: true}, "aes256gcm16-esn"},
		{"aes256gcm16-esn", false, Transform{ID: 20, KeyBits: 256, ESN: true}, "aes256gcm16-esn"},
		{"chacha20poly1305-noesn", false, Transform{ID: 28}, "chacha20poly1305-noesn"},
		{"aes256-sha512", false, Transform{ID: 12, KeyBits: 256, Integrity: 14, ESN: true}, "aes256-sha512-esn"},
		{"aes128ctr-sha256-noesn", false, Transform{ID: 13, KeyBits: 128, Integrity: 12}, "aes128ctr-sha256-noesn"},
		{"null-sha256", false, Transform{ID: 11, Integrity: 12, ESN: true}, "null-sha256-esn"},
		{"aes256-blake2s128", false, Transform{ID: 12, KeyBits: 256, Integrity: transform.IntegBLAKE2s128, ESN: true}, "aes256-blake2s128-esn"},
		{"3des-sha1", true, Transform{ID: 3, Integrity: 2, ESN: true}, "3des-sha1-esn"},
	} {
		got, err := ParseTransform(tt.proposal, tt.insecure)
		if err != nil || got != tt.want || got.String() != tt.shown {
			t.Errorf("%s: %+v, %v, shown as %v; want %+v, %s", tt.proposal, got, err, got, tt.want, tt.shown)
		}
		if again, err := ParseTransform(got.String(), tt.insecure); err != nil || again != got {
			t.Errorf("%v: read back as %+v, %v", got, again, err)
		}
		if got.Insecure() != tt.insecure {
			t.Errorf("%v: insecure %t", got, got.Insecure())
		}
	}
}

// What RFC 8221 forbids gets transform's own answer.
func TestParseTransformErrors(t *testing.T) {
	for _, tt := range []struct {
		proposal string
		insecure bool
		want     error
	}{
		{"", false, transform.ErrUnknown},
		{"-esn", false, transform.ErrUnknown},
		{"aes256gcm16-esn-noesn", false, transform.ErrUnknown},
		{"aes256", false, transform.ErrNoIntegrity},
		{"aes256-esn", true, transform.ErrNoIntegrity},
		{"des-sha256", true, transform.ErrForbidden},
		{"aes128-md5", true, transform.ErrForbidden},
		{"3des-sha1", false, transform.ErrInsecure},
		{"aes128gcm16-sha256", false, transform.ErrTwoIntegrities},
	} {
		if got, err := ParseTransform(tt.proposal, tt.insecure); !errors.Is(err, tt.want) || got != (Transform{}) {
			t.Errorf("%q: %+v, %v, want %v", tt.proposal, got, err, tt.want)
		}
	}
	unknown := Transform{ID: 4, KeyBits: 40, Integrity: 9}
	if got := unknown.String(); got != "encr4-40-integ9-noesn" || unknown.Insecure() {
		t.Errorf("what is not known is shown as %q, insecure %t", got, unknown.Insecure())
	}
}
