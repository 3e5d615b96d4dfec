package ikewire

import (
	"fmt"
	"testing"
)

// TestNames: each number of IANA's registries has its name, and no two numbers share one.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		registry string
		named    int // how many numbers have a name of their own
		unnamed  string
		from     int // the lowest number
		name     func(n int) string
	}{
		{"exchange types", 11, "exchange type", 0, func(n int) string { return ExchangeType(n).String() }},
		{"payload types", 23, "type", 0, func(n int) string { return PayloadType(n).String() }},
		{"protocols", 7, "protocol", 0, func(n int) string { return ProtocolID(n).String() }},
		{"ID types", 9, "ID type", 0, func(n int) string { return IDType(n).String() }},
		{"certificate encodings", 14, "certificate encoding", 0, func(n int) string { return CertEncoding(n).String() }},
		{"authentication methods", 9, "authentication method", 0, func(n int) string { return AuthMethod(n).String() }},
		{"hash algorithms", 7, "hash algorithm", 0, func(n int) string { return HashAlgorithm(n).String() }},
		{"traffic selector types", 4, "traffic selector type", 0, func(n int) string { return TSType(n).String() }},
		{"CFG types", 4, "CFG type", 0, func(n int) string { return ConfigType(n).String() }},
		{"configuration attributes", 26, "configuration attribute", 0, func(n int) string { return ConfigAttributeType(n).String() }},
		{"PPK ID types", 2, "PPK ID type", 0, func(n int) string { return PPKIDType(n).String() }},
		{"signature algorithms", 11, "signature algorithm", 0, func(n int) string { return SignatureAlgorithm(n).String() }},
		{"transform types", 14, "transform type", 0, func(n int) string { return TransformType(n).String() }},
		{"ENCR", 32, "ENCR", 0, func(n int) string { return NewTransform(TransformENCR, uint16(n), 0).String() }},
		{"PRF", 9, "PRF", 0, func(n int) string { return NewTransform(TransformPRF, uint16(n), 0).String() }},
		{"INTEG", 15, "INTEG", 0, func(n int) string { return NewTransform(TransformINTEG, uint16(n), 0).String() }},
		{"KE", 28, "KE", 0, func(n int) string { return NewTransform(TransformKE, uint16(n), 0).String() }},
		{"SN", 3, "SN", 0, func(n int) string { return NewTransform(TransformSN, uint16(n), 0).String() }},
		{"notify errors", 25, "error notify", 0, func(n int) string { return NotifyType(n).String() }},
		{"notify status", 64, "status notify", 16384, func(n int) string { return (firstStatus + NotifyType(n)).String() }},
	} {
		seen := map[string]bool{}
		for n := range 256 {
			name := c.name(n)
			if name == fmt.Sprintf("%s %d", c.unnamed, n+c.from) {
				continue
			}
			if name == "" || seen[name] {
				t.Errorf("%s: %d is %q", c.registry, n, name)
			}
			seen[name] = true
		}
		if len(seen) != c.named {
			t.Errorf("%s: %d names, want %d", c.registry, len(seen), c.named)
		}
	}
}

// TestNotifyNumbers: a few numbers from the RFCs' own IANA sections.
func TestNotifyNumbers(t *testing.T) {
	for n, want := range map[NotifyType]string{
		17: "INVALID_KE_PAYLOAD", 43: "TEMPORARY_FAILURE", 47: "STATE_NOT_FOUND",
		16390: "COOKIE", 16393: "REKEY_SA", 16407: "REDIRECT", 16418: "CHILDLESS_IKEV2_SUPPORTED",
		16430: "IKEV2_FRAGMENTATION_SUPPORTED", 16431: "SIGNATURE_HASH_ALGORITHMS", 16435: "USE_PPK",
		16438: "INTERMEDIATE_EXCHANGE_SUPPORTED", 16441: "ADDITIONAL_KEY_EXCHANGE", 16443: "SUPPORTED_AUTH_METHODS",
		16447: "IKE_SA_INIT_FULL_TRANSCRIPT_AUTH", 40960: "status notify 40960", 8192: "error notify 8192",
	} {
		if n.String() != want || n.IsError() != (n < 16384) {
			t.Errorf("%d is %s, want %s", uint16(n), n, want)
		}
	}
	if got := NewChildNotify(RekeySA, ProtocolESP, 0xc0decafe).String(); got != "REKEY_SA ESP SPI c0decafe" {
		t.Error(got)
	}
	if got := NewCookie([]byte{1}).String(); got != "COOKIE (1 bytes)" {
		t.Error(got)
	}
}
