package ikeproposal

import (
	"errors"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		text, want string
	}{
		{IKE, "aes256gcm16-prfsha384-x25519", "ENCR_AES_GCM_16 256, PRF_HMAC_SHA2_384, KE Curve25519"},
		{IKE, "aes256-sha256-modp2048", "ENCR_AES_CBC 256, PRF_HMAC_SHA2_256, AUTH_HMAC_SHA2_256_128, KE MODP-2048"},
		{IKE, "aes128gcm16-sha256-x25519", "ENCR_AES_GCM_16 128, PRF_HMAC_SHA2_256, KE Curve25519"},
		{ESP, "aes256gcm16", "ENCR_AES_GCM_16 256, ESN, 32-bit sequential numbers"},
		{ESP, "aes256-sha512-x25519-noesn", "ENCR_AES_CBC 256, AUTH_HMAC_SHA2_512_256, KE Curve25519, 32-bit sequential numbers"},
	} {
		ts, err := Parse(c.kind, c.text, false)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		var names []string
		for _, tr := range ts {
			names = append(names, tr.String())
		}
		if got := strings.Join(names, ", "); got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
		again, err := Parse(c.kind, Text(ts), false)
		if err != nil || Text(again) != Text(ts) {
			t.Errorf("%s comes back as %s: %v", Text(ts), Text(again), err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		kind       Kind
		text, says string
	}{
		{IKE, "", "no algorithm"},
		{IKE, "prfsha256-x25519", "no encryption"},
		{IKE, "aes256gcm16-x25519", "no PRF"},
		{IKE, "aes256gcm16-prfsha256", "no key exchange"},
		{IKE, "aes256-prfsha256-x25519", "no integrity"},
		{IKE, "aes256-aes256gcm16-sha256-x25519", "mixes"},
		{IKE, "aes256gcm16-aes256gcm16-prfsha256-x25519", "twice"},
		{IKE, "aes256gcm16-prfsha256-modp1024", "modp1024"},
		{IKE, "3des-sha256-x25519", "3des"},
		{IKE, "aes256gcm16-prfsha256-ke1_nothing-x25519", "nothing"},
		{ESP, "aes256gcm16-sha256", "leave"},
		{ESP, "aes256gcm16-prfsha256", "PRF"},
		{ESP, strings.Repeat("aes256gcm16-", maxAlgorithms) + "esn", "at most"},
	} {
		if _, err := Parse(c.kind, c.text, false); !errors.Is(err, ErrProposal) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.text, err, c.says)
		}
	}
	if _, err := Parse(IKE, "3des-sha256-x25519", true); err != nil {
		t.Errorf("with insecure: %v", err)
	}
}

func TestTextOfWhatNobodyKnows(t *testing.T) {
	ts := []ikewire.Transform{
		{Type: ikewire.TransformENCR, ID: 999}, {Type: ikewire.TransformKE, ID: 2}, {Type: ikewire.TransformSN, ID: 9}, {Type: 99, ID: 1},
	}
	for _, tr := range ts {
		if s := word(tr); s == "" || strings.Contains(s, " ") {
			t.Errorf("%v: %q", tr, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"aes256gcm16-prfsha384-x25519", "aes256-sha256-ke1_mlkem768-x25519", "esn", "-", "ke7_"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, ike bool) {
		kind := ESP
		if ike {
			kind = IKE
		}
		ts, err := Parse(kind, text, true)
		if err != nil {
			return
		}
		if again, err := Parse(kind, Text(ts), true); err != nil || Text(again) != Text(ts) {
			t.Errorf("%q: %q comes back as %q: %v", text, Text(ts), Text(again), err)
		}
	})
}
