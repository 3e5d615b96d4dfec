package transform

import (
	"maps"
	"testing"
)

// A vector that falls out of a file of testdata is missed here, by the transform that it is for.
func TestVectorCounts(t *testing.T) {
	for _, tt := range []struct {
		file    string
		columns int
		want    map[string]int
	}{
		{"macs.txt", 4, map[string]int{
			"aescmac": 8, "aesxcbc": 12, "blake2s128": 6, "sha1": 8, "sha256": 15, "sha384": 15, "sha512": 15,
		}},
		{"ciphers.txt", 5, map[string]int{
			"null": 2, "aes128": 5, "aes192": 1, "aes256": 1, "aes128ctr": 3, "aes192ctr": 3, "aes256ctr": 3, "3des": 2,
		}},
		{"nist-ciphers.txt", 5, map[string]int{"aes128": 20, "aes192": 20, "aes256": 20, "3des": 40}},
		{"aeads.txt", 6, map[string]int{
			"aes128gcm16": 3, "aes128gcm12": 2, "aes128gcm8": 2, "aes192gcm16": 2, "aes192gcm12": 2, "aes192gcm8": 2,
			"aes256gcm16": 2, "aes256gcm12": 2, "aes256gcm8": 2,
			"aes128ccm16": 2, "aes192ccm16": 2, "aes256ccm16": 1, "aes256ccm12": 1,
			"aes128ccm8": 1, "aes192ccm8": 2, "aes256ccm8": 2,
			"aes128gmac": 1, "chacha20poly1305": 3,
		}},
	} {
		got, total := map[string]int{}, 0
		for _, row := range readVectors(t, tt.file, tt.columns, 1) {
			got[row[0]]++
			total++
		}
		t.Logf("%s: %d vectors", tt.file, total)
		if !maps.Equal(got, tt.want) {
			t.Errorf("%s has %v, want %v", tt.file, got, tt.want)
		}
	}
	if n := len(readVectors(t, "ccm.txt", 6, 1)); n != 27 {
		t.Errorf("ccm.txt has %d vectors, want 27", n)
	}
}
