package transform

import (
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
)

// wycheproofHeader reads what stands before a file's vectors; a file of mixed algorithms names none.
func wycheproofHeader(t *testing.T, r io.Reader) (algorithm string, tests int) {
	t.Helper()
	d := json.NewDecoder(r)
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var into any = new(json.RawMessage)
		switch key {
		case "algorithm":
			into = &algorithm
		case "numberOfTests":
			into = &tests
		case "testGroups":
			return algorithm, tests
		}
		if err := d.Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	return algorithm, tests
}

// wycheproofAlgorithm says of an algorithm, by Wycheproof's name, whether a transform is built on it, and if
// none is, why.
func wycheproofAlgorithm(name string) (supported bool, why string) {
	switch name {
	case "AES-GCM", "AES-GMAC", "AES-CCM", "AES-CMAC", "AES-CBC-PKCS5", "CHACHA20-POLY1305",
		"HMACSHA1", "HMACSHA256", "HMACSHA384", "HMACSHA512":
		return true, ""
	case "A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512":
		return false, "composite of JOSE, which has other keys and another MAC input than ESP"
	case "AES-EAX", "AES-FF1", "AES-GCM-SIV", "AES-KWP", "AES-SIV-CMAC", "AEAD-AES-SIV-CMAC", "AES-WRAP", "AES-XTS":
		return false, "mode of AES that is no transform"
	case "XCHACHA20-POLY1305":
		return false, "nonce of 24 bytes, RFC 7634 has 12"
	case "HMACSHA224", "HMACSHA512/224", "HMACSHA512/256", "HMACSM3":
		return false, "HMAC with a hash that is no transform's"
	case "EcCurveTest", "PrimalityTest", "DSA", "ECDH", "ECDSA", "EDDSA", "XDH", "BLS":
		return false, "public keys"
	case "":
		return false, "documents of JOSE"
	}
	for _, of := range []struct{ prefixes, why string }{
		{"AEGIS ARIA- ASCON CAMELLIA- MORUS SEED- SM4-", "cipher that is no transform's"},
		{"HMACSHA3-", "HMAC with a hash that is no transform's"},
		{"KMAC SipHash VMAC-", "MAC that is no transform"},
		{"HKDF- PBKDF2- PbeWith", "derivation of keys"},
		{"Cobblestone-", "encryption of files in chunks"},
		{"ML-DSA- ML-KEM RSAES- RSASSA-", "public keys"},
	} {
		for prefix := range strings.FieldsSeq(of.prefixes) {
			if strings.HasPrefix(name, prefix) {
				return false, of.why
			}
		}
	}
	return false, ""
}

// Every file that Wycheproof has for a primitive of ours is run by a test of wycheproof_test.go, which counts
// its vectors; every other file is left out for a reason that is counted here. A new version of the module
// that brings a file of either kind fails until somebody has looked at it.
func TestWycheproofFiles(t *testing.T) {
	source, err := os.ReadFile("wycheproof_test.go")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`"(\w+_test\.json)"`).FindAllSubmatch(source, -1) {
		named[string(m[1])] = true
	}
	names, err := fs.Glob(wycheproof.TestVectors, "*.json")
	if err != nil {
		t.Fatal(err)
	}
	run, vectors, left := 0, 0, map[string]int{}
	for _, name := range names {
		f, err := wycheproof.TestVectors.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		algorithm, tests := wycheproofHeader(t, f)
		f.Close()
		supported, why := wycheproofAlgorithm(algorithm)
		switch {
		case supported && named[name]:
			run++
			vectors += tests
		case supported:
			t.Errorf("%s: %s is supported, and no test runs it", name, algorithm)
		case named[name]:
			t.Errorf("%s is run, but %s is not known as supported", name, algorithm)
		case why == "":
			t.Errorf("%s: nobody has said whether %s is supported", name, algorithm)
		default:
			left[why]++
		}
		delete(named, name)
	}
	for name := range named {
		t.Errorf("%s is run, but the module does not have it", name)
	}
	t.Logf("%d of %d files are run, with %d vectors; left out: %v", run, len(names), vectors, left)
	want := map[string]int{
		"HMAC with a hash that is no transform's":                                8,
		"MAC that is no transform":                                               9,
		"cipher that is no transform's":                                          24,
		"composite of JOSE, which has other keys and another MAC input than ESP": 3,
		"derivation of keys":                                                     24,
		"documents of JOSE":                                                      4,
		"encryption of files in chunks":                                          2,
		"mode of AES that is no transform":                                       29,
		"nonce of 24 bytes, RFC 7634 has 12":                                     1,
		"public keys":                                                            229,
	}
	if run != 10 || vectors != 2826 || !maps.Equal(left, want) {
		t.Errorf("want 10 files with 2826 vectors, left out: %v", want)
	}
}
